"""``winnow rules activate``: bring changed rules into force while the flow runs."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import orjson

from flows.settings import load_settings
from flows.telling import add_saying, since, user
from flows.usage import UsageError
from state.alerts import iso


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action."""
    activate = actions.add_parser(
        "activate",
        help="bring changed rules into force while the flow runs",
        description="Compile rules in a process of their own, store them and tell the flow through the control topic; "
        "a rule that is now broken keeps its former form. Prints one JSON object. Exit status 1 if a rule that was in "
        "force is broken, or if nothing can be compiled; then nothing changes.",
    )
    activate.add_argument(
        "directories",
        nargs="*",
        type=Path,
        metavar="DIR",
        help="folder (or file) of Sigma rules, beside those that are shipped (default: rules.paths)",
    )
    add_saying(activate, "rules activated")
    activate.add_argument("--config", type=Path, metavar="FILE", help="settings file")
    activate.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Activate rules; print what came of it; return the exit status."""
    from flows.activation import activate  # Kafka and the flow's own parts; checking rules does without

    settings = load_settings(args.config)
    for path in args.directories:
        if not path.exists():
            raise UsageError(f"no such file or folder: {path}")
    from_time = since(args.since, time.time_ns() // 1000)
    paths = [path.absolute() for path in args.directories] or None
    done = activate(settings, paths, from_time, args.author or user(), args.reason)
    outcome, message = done.outcome, done.message
    for problem in outcome.problems:
        print(problem, file=sys.stderr)
    if outcome.error:
        print(f"winnow: {outcome.error}; nothing is activated", file=sys.stderr)
        return 1
    line = {
        "version": outcome.version,
        "activated": message is not None,
        "from": iso(message.from_time) if message is not None else None,
        "id": message.id if message is not None else None,
        "rules": outcome.rules,
        "problems": len(outcome.problems),
        "kept": outcome.kept,
        "seconds": round(outcome.seconds, 3),
    }
    print(orjson.dumps(line).decode())
    return 1 if outcome.kept else 0
