"""``winnow rules``: what is wrong with a rule folder, and what its rules match in files."""

from __future__ import annotations

import argparse
import gzip
import os
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import zstandard

from analyzers.rules import LogSource, RuleSet
from flows.settings import Settings, load_settings
from flows.telling import since, user
from flows.usage import UsageError
from operators.files import open_lines, read_line
from operators.formats import Decoder, fields
from state.alerts import iso

#: Lines and bytes that are decoded and judged at once, at most.
BATCH_LINES = 2_000
BATCH_BYTES = 16_000_000
#: Seconds between two lines of progress on stderr.
PROGRESS_SECONDS = 5.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    rules = subparsers.add_parser(
        "rules", help="check Sigma rules, or match them against files", description="Work with Sigma rules."
    )
    actions = rules.add_subparsers(metavar="ACTION", required=True, dest="action")
    check = actions.add_parser(
        "check",
        help="say which rules are not in force, and why",
        description="Compile every rule under DIR. Exit status 1 if any rule is broken or unsupported.",
    )
    check.add_argument("directory", type=Path, metavar="DIR", help="folder (or file) of Sigma rules")
    check.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    check.set_defaults(run=run)
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
    activate.add_argument(
        "--from",
        dest="since",
        default="now",
        metavar="TIME",
        help="event time from which they hold: ISO time with zone, or now (default), which is two seconds ahead",
    )
    activate.add_argument("--reason", default="rules activated", metavar="TEXT", help="why, in one line")
    activate.add_argument("--author", metavar="NAME", help="who (default: the user of this machine)")
    activate.add_argument("--config", type=Path, metavar="FILE", help="settings file")
    activate.set_defaults(run=run_activate)


def run(args: argparse.Namespace) -> int:
    """Check or match; return the exit status."""
    return _check(args) if args.action == "check" else _match(args)


def _load(path: Path, cache: Path | None = None) -> RuleSet:
    try:
        rules = RuleSet.load(path, cache=cache)
    except FileNotFoundError as error:
        raise UsageError(str(error)) from error
    if not rules.rules and not rules.problems:
        raise UsageError(f"{path}: no rule found")
    return rules


# -------------------------------------------------------------------------------------------------------------- check


def _check(args: argparse.Namespace) -> int:
    started = time.perf_counter()
    rules = _load(args.directory)
    seconds = time.perf_counter() - started
    unserved = sorted(
        ((source, len(found)) for source, found in rules.unserved().items()), key=lambda s: (-s[1], str(s[0]))
    )
    if args.json:
        sys.stdout.write(orjson.dumps(_report(rules, unserved, seconds), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        _table(rules, unserved, seconds)
    return 1 if rules.problems else 0


def _report(rules: RuleSet, unserved: list[tuple[LogSource, int]], seconds: float) -> dict[str, Any]:
    return {
        "version": rules.version,
        "compiled": len(rules.rules),
        "seconds": round(seconds, 3),
        "problems": [
            {"path": p.path, "line": p.line or None, "id": p.id, "title": p.title, "reason": p.reason}
            for p in rules.problems
        ],
        "unserved_log_sources": [
            {"product": s.product, "category": s.category, "service": s.service, "rules": count}
            for s, count in unserved
        ],
    }


def _table(rules: RuleSet, unserved: list[tuple[LogSource, int]], seconds: float) -> None:
    waiting = sum(count for _, count in unserved)
    print(f"version       {rules.version}")
    print(f"compiled      {len(rules.rules):,} rules in {seconds:.1f} s")
    print(f"not in force  {len(rules.problems):,}")
    print(f"never fed     {waiting:,} rules on {len(unserved):,} log sources that no format yields")
    if rules.problems:
        print("\nNot in force, and why:")
        for problem in rules.problems:
            print(f"  {problem}")
    if unserved:
        print("\nLog sources that no format yields (rules):")
        for source, count in unserved:
            print(f"  {count:>5,}  {source}")


# ----------------------------------------------------------------------------------------------------------- activate


def run_activate(args: argparse.Namespace) -> int:
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


# -------------------------------------------------------------------------------------------------------------- match


def _match(args: argparse.Namespace) -> int:
    settings = load_settings(args.config)
    for name in args.files:
        if not Path(name).is_file() or not os.access(name, os.R_OK):
            raise UsageError(f"{name}: no such file, or not readable")
    rules = _load(args.rules, settings.rules.cache_folder)
    print(f"{len(rules.rules):,} rules in force, {len(rules.problems):,} not (see winnow rules check)", file=sys.stderr)
    for name in args.files:
        try:
            _match_file(name, args.format, rules, settings)
        except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            raise UsageError(f"{name}: {error}") from error
    return 0


def _match_file(name: str, format: str, rules: RuleSet, settings: Settings) -> None:
    path = Path(name)
    try:
        decoder = Decoder(f"{path.name}-0", settings.formats, format, default_host=path.name.split(".")[0])
    except ValueError as error:
        raise UsageError(str(error)) from error
    reference = int(path.stat().st_mtime * 1_000_000)
    started = said = time.monotonic()
    events = matches = start = 0
    rejected: Counter[str] = Counter()
    failures = rules.failures
    with open_lines(path) as stream:
        for lines in _batches(stream, settings.formats.max_raw_bytes):
            decoded = decoder.decode_batch(lines, range(start, start + len(lines)), reference)
            start += len(lines)
            events += len(decoded.events)
            rejected.update(each.reason for each in decoded.rejected)
            found = rules.match_batch(decoded.events, fields)
            matches += len(found)
            sys.stdout.write(
                "".join(
                    orjson.dumps({"file": name, "line": decoded.events[m.index].offset, "rule": m.rule.id}).decode()
                    + "\n"
                    for m in found
                )
            )
            if time.monotonic() - said >= PROGRESS_SECONDS:
                said = time.monotonic()
                print(f"{name}: {start:,} lines, {start / (said - started):,.0f}/s", file=sys.stderr)
    sys.stdout.flush()
    seconds = max(time.monotonic() - started, 1e-9)
    print(
        f"{name}: {start:,} lines, {events:,} events, {matches:,} matches, {sum(rejected.values()):,} rejected"
        f"{f' {dict(rejected)}' if rejected else ''}; {start / seconds:,.0f} lines/s",
        file=sys.stderr,
    )
    if rules.failures > failures:
        print(f"{name}: {rules.failures - failures:,} events could not be judged", file=sys.stderr)


def _batches(stream: BinaryIO, limit: int) -> Iterator[list[bytes]]:
    """Yield the lines in batches; of a line longer than the limit as much as the decoder needs to refuse it."""
    lines: list[bytes] = []
    size = 0
    while line := read_line(stream, limit):
        lines.append(b"" if line == b"\n" else line)
        size += len(line)
        if len(lines) >= BATCH_LINES or size >= BATCH_BYTES:
            yield lines
            lines, size = [], 0
    if lines:
        yield lines
