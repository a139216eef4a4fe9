"""``winnow calibration``: bring a calibration into force while the flow runs, or say which there are."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import orjson

from flows.settings import Settings, load_settings
from flows.telling import add_saying


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "calibration",
        help="bring a calibration into force while the flow runs, or list those there are",
        description="Bring a calibration of winnow calibrate into force while the flow runs, or list those there are.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    activate = actions.add_parser(
        "activate",
        help="bring a calibration into force while the flow runs",
        description="Check a calibration, store it for the workers and tell the flow through the control topic. Prints "
        "one JSON object. One that is damaged, or of another model than the one in force, is refused and changes "
        "nothing; exit status 2.",
    )
    activate.add_argument(
        "calibration",
        metavar="FILE|VERSION",
        help="file of winnow calibrate, or a version that winnow calibration list shows; uncalibrated: none any more",
    )
    add_saying(activate, "calibration activated")
    activate.add_argument("--config", type=Path, metavar="FILE", help="settings file")
    activate.set_defaults(run=run_activate)
    listing = actions.add_parser(
        "list",
        help="say which calibrations are stored, and which was activated when",
        description="Print one JSON object a calibration that is stored: version, model, claim, thresholds, and when "
        "it was activated, by whom and why.",
    )
    listing.add_argument("--config", type=Path, metavar="FILE", help="settings file")
    listing.set_defaults(run=run_list)


def run_activate(args: argparse.Namespace) -> int:
    """Activate a calibration; print what came of it; return the exit status."""
    settings = load_settings(args.config)
    told = args.calibration
    # A version is of 12 hexadecimal digits; a file of such a name is given as ./NAME.
    stored = told == "uncalibrated" or (len(told) == 12 and set(told) <= set("0123456789abcdef"))
    print(activated(settings, told if stored else Path(told), args))
    return 0


def activated(settings: Settings, wanted: Path | str, args: argparse.Namespace) -> str:
    """Activate a calibration by what a command was told; return the line that says what came of it."""
    from flows.calibrations import activate
    from flows.telling import since, user
    from state.alerts import iso

    from_time = since(args.since, time.time_ns() // 1000)
    version, message = activate(settings, wanted, from_time, args.author or user(), args.reason)
    line = {
        "version": version,
        "activated": message is not None,
        "from": iso(message.from_time) if message is not None else None,
        "id": message.id if message is not None else None,
    }
    return orjson.dumps(line).decode()


def run_list(args: argparse.Namespace) -> int:
    """Print what there is; return the exit status."""
    from flows.calibrations import listing

    for row in listing(load_settings(args.config)):
        print(orjson.dumps(row).decode())
    return 0
