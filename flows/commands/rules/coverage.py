"""``winnow rules coverage``: ATT&CK coverage of rules and of what fired, as a table and as a Navigator layer."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import orjson

from analyzers.rules.attack import Coverage, Fired, Row, coverage, layer
from analyzers.rules.explanation import shown
from flows.commands.rules.folder import load
from flows.commands.rules.telemetry import readable, require_files
from flows.settings import Settings, load_settings
from flows.usage import UsageError
from operators.files import open_lines, read_line

#: Largest alert message, bytes.
MAX_ALERT = 4_000_000
#: Techniques that the table lists; rules that fired from outside the folders.
MAX_LISTED = 60
MAX_FOREIGN = 20


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action."""
    parser = actions.add_parser(
        "coverage",
        help="say which ATT&CK tactics and techniques rules cover, and which fired",
        description="Count the rules in force by ATT&CK tactic and technique, and what they raised. A rule counts "
        "where a format yields its log source.",
    )
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIR", help="folder (or file) of Sigma rules")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--fired", metavar="FILE", help="alerts.jsonl of a replay, or what winnow alerts tail printed")
    what.add_argument("--postgres", action="store_true", help="count the alerts in Postgres")
    parser.add_argument("--navigator", type=Path, metavar="OUT", help="write an ATT&CK Navigator layer to this file")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the coverage; return the exit status."""
    settings = load_settings(args.config)
    fired: Sequence[Fired] | None = None
    if args.fired is not None:
        require_files([args.fired])
        fired = fired_in_file(args.fired)
    elif args.postgres:
        fired = fired_in_postgres(settings)
    rules = load(args.directories, settings)
    unfed = {rule.id for found in rules.unserved().values() for rule in found}
    correlated = [each.rule for each in rules.correlations if not each.silent]
    found = coverage([*rules.rules, *correlated], unfed, fired)
    if args.navigator is not None:
        made = layer(found, f"Winnow: {', '.join(path.name or str(path) for path in args.directories)}")
        try:
            args.navigator.write_bytes(orjson.dumps(made, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        except OSError as error:
            raise UsageError(f"--navigator {args.navigator}: {error.strerror}") from error
        print(f"{len(found.techniques):,} techniques -> {args.navigator}", file=sys.stderr)
    if args.json:
        sys.stdout.write(orjson.dumps(_report(found), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        _print(found)
    return 0


# ---------------------------------------------------------------------------------------------------------- What fired


def fired_in_file(name: str) -> list[Fired]:
    """Return what rules raised, by rule, from a file of alert messages; an id that stands twice counts as last said.

    Raises UsageError for a line that is no alert message.
    """
    alerts: dict[str, tuple[str, Fired]] = {}
    with readable(name), open_lines(Path(name)) as stream:
        line = 0
        while raw := read_line(stream, MAX_ALERT):
            line += 1
            if raw == b"\n":
                continue
            try:
                message = msgspec.json.decode(raw, type=_Alert)
            except msgspec.DecodeError as error:
                raise UsageError(f"{name}:{line}: no alert message: {shown(str(error))}") from error
            if message.kind in ("rule", "correlation"):
                alerts[message.id] = (message.rule, _fired(message))
    return _by_rule(fired for _, fired in alerts.values())


class _Alert(msgspec.Struct):
    id: str
    kind: str
    rule: str
    name: str
    count: int
    techniques: tuple[str, ...] = ()
    tactics: tuple[str, ...] = ()


def _fired(alert: _Alert) -> Fired:
    return Fired(alert.rule, alert.name, alert.techniques, alert.tactics, 1, alert.count)


def _by_rule(each: Any) -> list[Fired]:
    found: dict[str, Fired] = {}
    for fired in each:
        known = found.get(fired.rule)
        if known is not None:
            # A rule's tags may have changed between two alerts: all count.
            fired = Fired(
                fired.rule,
                fired.name,
                tuple(dict.fromkeys((*known.techniques, *fired.techniques))),
                tuple(dict.fromkeys((*known.tactics, *fired.tactics))),
                known.alerts + fired.alerts,
                known.signals + fired.signals,
            )
        found[fired.rule] = fired
    return list(found.values())


def fired_in_postgres(settings: Settings) -> list[Fired]:
    """Return what rules raised, by rule, from the table of alerts. Raises DatabaseError."""
    import psycopg

    from state.postgres import explained

    conninfo = settings.postgres.conninfo(read_only=True)
    with explained(), psycopg.connect(conninfo) as connection:
        rows = connection.execute(
            "SELECT rule, max(name), techniques, tactics, count(*), sum(count)::bigint "
            "FROM alerts WHERE kind IN ('rule', 'correlation') GROUP BY rule, techniques, tactics ORDER BY rule"
        ).fetchall()
    return _by_rule(
        Fired(rule, name, tuple(techniques), tuple(tactics), alerts, signals)
        for rule, name, techniques, tactics, alerts, signals in rows
    )


# --------------------------------------------------------------------------------------------------------------- Report


def _report(found: Coverage) -> dict[str, Any]:
    def rows(of: Sequence[Row]) -> list[dict[str, Any]]:
        return [
            {
                "name": row.name,
                "rules": len(row.rules),
                "unfed": row.unfed,
                **({"fired": row.fired, "alerts": row.alerts, "events": row.signals} if found.asked else {}),
            }
            for row in of
        ]

    return {
        "rules": found.rules,
        "unfed": found.unfed,
        "untagged": found.untagged,
        "tactics": rows(found.tactics),
        "techniques": rows(found.techniques),
        "fired_outside": msgspec.to_builtins(found.foreign),
    }


def _print(found: Coverage) -> None:
    covered = sum(bool(row.rules) for row in found.techniques)
    print(f"rules       {found.rules:,} in force, {found.unfed:,} of them on log sources that no format yields")
    print(f"techniques  {covered:,} covered, {len(found.techniques) - covered:,} only by rules that are never fed")
    print(f"no tag      {found.untagged:,} rules name no technique")
    if found.asked:
        print(f"fired       {sum(bool(row.fired) for row in found.techniques):,} techniques")
    heads = f"{'rules':>7} {'unfed':>7}" + (f" {'fired':>7} {'alerts':>8} {'events':>9}" if found.asked else "")
    print(f"\n{'tactic':<24}{heads}")
    for row in found.tactics:
        print(f"{shown(row.name, 23):<24}{_numbers(row, found.asked)}")
    print(f"\n{'technique':<24}{heads}")
    listed = sorted(found.techniques, key=lambda row: (-row.alerts, -len(row.rules), row.name))
    for row in listed[:MAX_LISTED]:
        print(f"{shown(row.name, 23):<24}{_numbers(row, found.asked)}")
    if len(listed) > MAX_LISTED:
        print(f"… {len(listed) - MAX_LISTED:,} more techniques (--json and --navigator have all)")
    if found.foreign:
        print(f"\nFired, but not in force in these folders ({len(found.foreign):,} rules):")
        for each in found.foreign[:MAX_FOREIGN]:
            print(f"{each.alerts:>8,} alerts  {shown(each.name)} ({shown(each.rule)})")


def _numbers(row: Row, asked: bool) -> str:
    said = f"{len(row.rules):>7,} {row.unfed:>7,}"
    return f"{said} {row.fired:>7,} {row.alerts:>8,} {row.signals:>9,}" if asked else said
