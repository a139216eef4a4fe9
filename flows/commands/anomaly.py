"""``winnow anomaly``: score recorded series."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from flows.usage import UsageError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "anomaly",
        help="score recorded series",
        description="Score series of timestamp,value, each value before it is learned, all with one configuration. "
        "Writes to DIR a file of the same name a series: the same rows with anomaly_score, 0 to 1. Times are ISO 8601, "
        "UTC unless they say otherwise, or seconds since 1970. A row that cannot be scored keeps an empty score, and "
        "the exit status is 1.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a CSV file with a header")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the results go")
    parser.add_argument("--scorer", default="rich", metavar="NAME", help="which scorer (default: rich)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Score each file; return 1 if a row could not be."""
    from analyzers.anomaly.scorers.registry import make_scorer
    from flows.series import Series

    try:
        make_scorer(args.scorer)
    except ValueError as error:
        raise UsageError(str(error)) from None
    series = [Series(path) for path in args.files]
    _check_names(args.files, args.out)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{args.out}: {error.strerror}") from None
    failed = 0
    for number, one in enumerate(series, 1):
        scorer = make_scorer(args.scorer)
        summary = one.score(scorer, args.out / one.path.name)
        failed += summary.failed
        print(f"[{number}/{len(series)}] {summary}", file=sys.stderr)
    return 1 if failed else 0


def _check_names(files: list[Path], out: Path) -> None:
    """Refuse to write two series into one file, or over what is read."""
    seen: dict[str, Path] = {}
    inputs = {path.resolve() for path in files}
    for path in files:
        if path.name in seen:
            raise UsageError(f"{seen[path.name]} and {path} have the same name; both cannot go to {out}")
        seen[path.name] = path
        if (out / path.name).resolve() in inputs:
            raise UsageError(f"{out / path.name}: would be written over; name another folder by --out")
