"""``winnow rules check``: what is wrong with a rule folder, and whether its rules pass the tests that they carry."""

from __future__ import annotations

import argparse
import sys
import time
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import orjson

from analyzers.rules import LogSource, Problem, RuleSet
from analyzers.rules.cases import Failure, Outcome
from analyzers.rules.cases import run as run_cases
from analyzers.rules.explanation import shown
from analyzers.rules.loading import load
from analyzers.rules.prose import tree
from flows.commands.rules.telemetry import decoder
from flows.settings import Settings, load_settings
from flows.usage import UsageError
from operators.formats import fields
from state.events import Event

#: January 2026, µs: the time that stamps without a year are read near, so that a test says the same every year.
REFERENCE = 1_767_225_600_000_000


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action."""
    check = actions.add_parser(
        "check",
        help="say which rules are not in force and why, and run their tests",
        description="Compile every rule under DIR and run the tests beside them (foo.test.yaml beside foo.yml). Exit "
        "status 1 if any rule is broken or unsupported, or a test fails.",
    )
    check.add_argument("directory", type=Path, metavar="DIR", help="folder (or file) of Sigma rules")
    check.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    check.add_argument(
        "--no-cache", action="store_true", help="compile every rule, also those that did not change (see rules.cache)"
    )
    check.add_argument(
        "--config", type=Path, metavar="FILE", help="settings file (values of placeholders, rules.cache)"
    )
    check.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check; return the exit status."""
    settings = load_settings(args.config)
    cache = None if args.no_cache else settings.rules.cache_folder
    started = time.perf_counter()
    try:
        loaded = load([args.directory], settings.rules.placeholders, cache)
    except FileNotFoundError as error:
        raise UsageError(str(error)) from error
    rules = RuleSet.of(loaded.compiled, loaded.problems, loaded.version, loaded.correlations)
    seconds = time.perf_counter() - started
    if not rules.rules and not rules.correlations and not rules.problems:
        raise UsageError(f"{args.directory}: no rule found")

    def decode(raw: bytes, format: str) -> Event | str:
        return _decode(raw, format, settings)

    tests = run_cases([args.directory], loaded.compiled, settings.rules.placeholders, decode, fields)
    unserved = sorted(
        ((source, len(found)) for source, found in rules.unserved().items()), key=lambda s: (-s[1], str(s[0]))
    )
    if args.json:
        report = _report(rules, unserved, seconds, tests)
        sys.stdout.write(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        _print(args.directory, rules, unserved, seconds, tests)
    return 1 if rules.problems or tests.failures else 0


def _decode(raw: bytes, format: str, settings: Settings) -> Event | str:
    try:
        decoded = decoder("test", settings, format).decode_batch([raw], [0], REFERENCE)
    except UsageError as error:
        return str(error)
    if decoded.events:
        return decoded.events[0]
    return f"{decoded.rejected[0].reason}: {decoded.rejected[0].detail}" if decoded.rejected else "a header or comment"


def _report(
    rules: RuleSet, unserved: list[tuple[LogSource, int]], seconds: float, tests: Outcome
) -> dict[str, Any]:  # fmt: skip
    return {
        "version": rules.version,
        "compiled": len(rules.rules),
        "correlations": len(rules.correlations),
        "only_correlated": sorted(rules.feeds.silent),
        "seconds": round(seconds, 3),
        "problems": [
            {"path": p.path, "line": p.line or None, "id": p.id, "title": p.title, "reason": p.reason}
            for p in rules.problems
        ],
        "unserved_log_sources": [
            {"product": s.product, "category": s.category, "service": s.service, "rules": count}
            for s, count in unserved
        ],
        "tests": {
            "cases": tests.cases,
            "files": tests.files,
            "rules": tests.rules,
            "failures": [
                {
                    "path": failure.path,
                    "line": failure.line or None,
                    "said": failure.said,
                    "why": failure.why,
                    "explanation": msgspec.to_builtins(failure.explanation),
                }
                for failure in tests.failures
            ],
        },
    }


def _print(folder: Path, rules: RuleSet, unserved: list[tuple[LogSource, int]], seconds: float, tests: Outcome) -> None:
    waiting = sum(count for _, count in unserved)
    fed = len(rules.rules) - waiting
    print(f"folder        {folder}")
    print(f"version       {rules.version}")
    print(f"compiled      {len(rules.rules):,} rules in {seconds:.1f} s, {fed:,} on log sources that a format yields")
    if rules.correlations:
        silent = sum(rule.id in rules.feeds.silent for rule in rules.rules)
        print(f"correlations  {len(rules.correlations):,}, and {silent:,} rules only for them, which say nothing")
    print(f"not in force  {len(rules.problems):,}")
    print(f"never fed     {waiting:,} rules on {len(unserved):,} log sources that no format yields")
    if tests.files:
        print(f"tests         {tests.cases:,} of {tests.rules:,} rules, {len(tests.failures):,} failed")
    else:
        print("tests         none (foo.test.yaml beside foo.yml)")
    if rules.problems:
        _print_problems(folder, rules.problems)
    if tests.failures:
        print("\nFailed tests:")
        for failure in tests.failures:
            _print_failure(folder, failure)
    if unserved:
        print("\nLog sources that no format yields (rules):")
        for source, count in unserved:
            print(f"  {count:>5,}  {shown(str(source))}")


def _print_problems(folder: Path, problems: tuple[Problem, ...]) -> None:
    """Print what is not in force, by reason, commonest first."""
    print("\nNot in force, by reason:")
    ordered = sorted(problems, key=lambda problem: problem.reason)
    grouped = [(reason, list(found)) for reason, found in groupby(ordered, key=lambda problem: problem.reason)]
    for reason, found in sorted(grouped, key=lambda group: (-len(group[1]), group[0])):
        print(f"  {len(found):,} × {shown(reason, 400)}")
        for each in found:
            name = " ".join(part for part in (shown(each.title), f"({shown(each.id)})" if each.id else "") if part)
            print(f"      {_place(folder, each.path, each.line)}{f': {name}' if name else ''}")


def _print_failure(folder: Path, failure: Failure) -> None:
    print(f"  {_place(folder, failure.path, failure.line)}: {failure.said}")
    if failure.why:
        print(f"      why it must: {shown(failure.why, 400)}")
    explanation = failure.explanation
    if explanation is None:
        return
    if not explanation.source.met:
        print(f"      log source {explanation.source.logsource}: {explanation.source.said}")
    for gap in explanation.gaps:
        print(f"      {'one of: ' if gap.alternative else ''}{gap.said}")
    if explanation.matched:
        for line in tree(explanation.tree):
            print(f"      {line}")


def _place(folder: Path, path: str, line: int) -> str:
    """Return where something stands, by the folder that was checked."""
    inside = Path(path)
    name = str(inside.relative_to(folder)) if folder.is_dir() and inside.is_relative_to(folder) else path
    return f"{shown(name, 400)}:{line}" if line else shown(name, 400)
