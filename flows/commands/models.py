"""``winnow models``: check a text model, or bring one into force while the flow runs."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import orjson

from flows.settings import load_settings
from flows.telling import add_saying


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "models",
        help="check a text model, or bring one into force while the flow runs",
        description="Check a text model, or bring one into force while the flow runs.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    check = actions.add_parser(
        "check",
        help="say whether a model can be used",
        description="Load a model as the flow would and print one JSON object: version, labels, thresholds, sources. "
        "Exit status 2, with the reason, if it is refused.",
    )
    check.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="default: the model of the settings")
    check.add_argument("--config", type=Path, metavar="FILE", help="settings file")
    check.set_defaults(run=run_check)
    activate = actions.add_parser(
        "activate",
        help="bring a model into force while the flow runs",
        description="Check a model, store it for the workers and tell the flow through the control topic. Prints one "
        "JSON object. A model that is refused changes nothing.",
    )
    activate.add_argument("folder", type=Path, metavar="DIR", help="the model")
    add_saying(activate, "model activated")
    activate.add_argument("--config", type=Path, metavar="FILE", help="settings file")
    activate.set_defaults(run=run_activate)


def run_check(args: argparse.Namespace) -> int:
    """Load a model; print what it is; return the exit status."""
    from flows.texts import load_judge

    settings = load_settings(args.config).bert
    judge = load_judge(settings if args.folder is None else settings.model_copy(update={"model": args.folder}))
    manifest = judge.encoder.manifest
    line = {
        "version": manifest.version,
        "labels": dict(zip(manifest.labels, manifest.thresholds, strict=True)),
        "sources": manifest.sources,
        "max_tokens": manifest.max_tokens,
        "canonical_version": manifest.canonical_version,
        "batches": judge.encoder.together,
    }
    print(orjson.dumps(line).decode())
    return 0


def run_activate(args: argparse.Namespace) -> int:
    """Activate a model; print what came of it; return the exit status."""
    from flows.models import activate
    from flows.telling import since, user
    from state.alerts import iso

    settings = load_settings(args.config)
    from_time = since(args.since, time.time_ns() // 1000)
    manifest, message = activate(settings, args.folder, from_time, args.author or user(), args.reason)
    line = {
        "version": manifest.version,
        "activated": message is not None,
        "from": iso(message.from_time) if message is not None else None,
        "id": message.id if message is not None else None,
    }
    print(orjson.dumps(line).decode())
    return 0
