"""``winnow run``: the detect flow against configured services."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from flows.settings import load_settings
from flows.usage import UsageError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "run",
        help="run the detect flow",
        description="Read telemetry from Kafka; write alerts and dead letters to Kafka and all else to Postgres. "
        "A worker that dies or stands still ends all workers, which start again from recovery. "
        "SIGTERM and Ctrl-C drain what was read, then end.",
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default 1)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run until told to end; return the exit status."""
    from flows.activation import begin
    from flows.calibrations import begin as begin_calibration
    from flows.live import prepare
    from flows.models import begin as begin_model
    from flows.supervisor import Supervisor

    if args.workers < 1:
        raise UsageError("--workers must be at least 1")
    settings = load_settings(args.config)
    lock = prepare(settings)
    rules, model = begin(settings), begin_model(settings)
    calibration = begin_calibration(settings, model)
    print(f"winnow: detecting on {', '.join(settings.kafka.telemetry)} with {args.workers} workers", file=sys.stderr)
    return Supervisor(settings, args.workers, lock, rules, model, calibration).run()
