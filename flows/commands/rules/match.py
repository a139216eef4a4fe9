"""``winnow rules match``: one JSON line a match."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import orjson

from analyzers.rules import RuleSet
from flows.commands.rules.folder import load
from flows.commands.rules.telemetry import Recording, decoder, require_files
from flows.settings import load_settings
from operators.formats import UNDECODED, fields


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action."""
    match = actions.add_parser(
        "match",
        help="match rules against recorded telemetry",
        description='Print one JSON line a match: {"file":…, "line":N, "rule":"<id>"}, lines from 0.',
    )
    match.add_argument("files", nargs="+", metavar="FILE", help="a file of lines; .gz and .zst are unpacked")
    match.add_argument("--rules", type=Path, required=True, metavar="DIR", help="folder (or file) of Sigma rules")
    match.add_argument(
        "--format", default="auto", metavar="F", help="format of all files (default: each line is sniffed)"
    )
    match.add_argument("--config", type=Path, metavar="FILE", help="settings file")
    match.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the matches; return the exit status."""
    settings = load_settings(args.config)
    require_files(args.files)
    decoder("", settings, args.format)
    rules = load([args.rules], settings)
    print(f"{len(rules.rules):,} rules in force, {len(rules.problems):,} not (see winnow rules check)", file=sys.stderr)
    if rules.correlations:
        print(
            f"{len(rules.correlations):,} correlations are not matched here: winnow replay counts events over time",
            file=sys.stderr,
        )
    for name in args.files:
        _match_file(Recording(name, settings, args.format), rules)
    return 0


def _match_file(recording: Recording, rules: RuleSet) -> None:
    matches = 0
    failures = rules.failures
    for events in recording.batches():
        found = rules.match_batch(events, fields, UNDECODED)
        matches += len(found)
        sys.stdout.write(
            "".join(
                orjson.dumps({"file": recording.name, "line": events[m.index].offset, "rule": m.rule.id}).decode()
                + "\n"
                for m in found
            )
        )
    sys.stdout.flush()
    print(recording.summary(f"{matches:,} matches"), file=sys.stderr)
    if rules.failures > failures:
        print(f"{recording.name}: {rules.failures - failures:,} events could not be judged", file=sys.stderr)
