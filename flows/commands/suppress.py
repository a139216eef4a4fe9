"""``winnow suppress``: what is not wanted as an alert for a while, by whom and why, and how much of it there was."""

from __future__ import annotations

import argparse
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flows.settings import Settings, load_settings
from flows.telling import add_saying, checked, reaching, since, user
from flows.usage import UsageError

if TYPE_CHECKING:
    import psycopg

    from state.suppressions import KeptSuppression

#: For how long, unless said otherwise.
USUAL = "7d"
#: Seconds that Kafka has to answer.
PATIENCE = 5.0
_UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_STRETCH = re.compile(r"([0-9]{1,6})([mhdw])")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "suppress",
        help="say what is not wanted as an alert, and see how much of it there was",
        description="Say what is not wanted as an alert. What is suppressed makes no alert and no incident, and is "
        "counted. The running flow hears of it within seconds.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    add = actions.add_parser(
        "add",
        help="suppress a rule, a host, or both together",
        description="Suppress signals of a rule, of a host, or of both together; with --field only those of events "
        "with such fields. Levels high and critical are suppressed only where --rule is given.",
    )
    add.add_argument("--rule", metavar="ID", help="id of the rule, name of the metric, or label of the text")
    add.add_argument("--entity", metavar="HOST", help="the host as alerts name it")
    add.add_argument(
        "--field",
        dest="fields",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a field that the event must have: equal in any case, * for any text; several must all be met",
    )
    ending = add.add_mutually_exclusive_group()
    ending.add_argument(
        "--for", dest="stretch", metavar="N", help=f"for how long: 30m, 12h, 7d or 2w (default: {USUAL})"
    )
    ending.add_argument("--until", metavar="TIME", help="until an event time, ISO with zone")
    ending.add_argument("--forever", action="store_true", help="until it is removed")
    add.set_defaults(run=run_add)
    listed = actions.add_parser(
        "list",
        help="print the suppressions",
        description="Print what is suppressed, and how much each entry has kept back; those that are over only with "
        "--all.",
    )
    listed.add_argument("--all", action="store_true", help="also those that expired or were removed")
    listed.set_defaults(run=run_list)
    remove = actions.add_parser("remove", help="end a suppression", description="End a suppression, by its id.")
    remove.add_argument("id", metavar="ID", help="its id, as list prints it")
    remove.set_defaults(run=run_remove)
    for action in (add, remove):
        add_saying(action)
    for action in (add, listed, remove):
        action.add_argument("--json", action="store_true", help="print JSON, one suppression a line")
        action.add_argument("--config", type=Path, metavar="FILE", help="settings file")


def run_add(args: argparse.Namespace) -> int:
    """Store a suppression and tell the flow; print it."""
    from operators.control import create, write
    from state.control import CONTROL_VERSION, Suppression, new_id
    from state.postgres import explained
    from state.suppressions import keep, told

    if args.rule is None and args.entity is None:
        raise UsageError("give --rule, --entity, or both: nothing else says what to suppress")
    settings = load_settings(args.config)
    fields = _fields(args.fields)
    now = time.time_ns() // 1000
    begins = since(args.since, now)
    ends = _until(args, begins, now)
    if ends is not None and ends <= begins:
        raise UsageError("--until: it would end before it begins")
    message = Suppression(
        version=CONTROL_VERSION,
        id=new_id(),
        author=args.author or user(),
        reason=args.reason,
        written_at=now,
        from_time=begins,
        rule=args.rule,
        entity=args.entity,
        until_time=ends,
        fields=fields,
    )
    checked(message, _MAY)
    _note(settings, args.entity)
    with explained(), _connect(settings) as connection:
        with reaching(settings):
            create(settings.kafka, PATIENCE)
        # Stored first: what the flow obeys and nobody can list would be silent. If Kafka then does not say that it has
        # it, the list calls it unsure.
        keep(connection, message)
        with reaching(settings):
            write(settings.kafka, message)
        told(connection, message.id)
        _print(_found(connection, message.id), args.json)
    return 0


def run_list(args: argparse.Namespace) -> int:
    """Print what is suppressed."""
    from state.postgres import explained
    from state.suppressions import kept

    with explained(), _connect(load_settings(args.config)) as connection:
        for suppression in kept(connection, all=args.all):
            _print(suppression, args.json)
    return 0


def run_remove(args: argparse.Namespace) -> int:
    """Tell the flow that a suppression ends, and store it; print it."""
    from operators.control import create, write
    from state.control import CONTROL_VERSION, Suppression, new_id
    from state.postgres import explained
    from state.suppressions import removed

    settings = load_settings(args.config)
    now = time.time_ns() // 1000
    with explained(), _connect(settings) as connection:
        found = _found(connection, args.id)
        if found.status == "removed":
            raise UsageError(f"{args.id} was removed by {found.removed_by} already: {found.removed_reason}")
        message = Suppression(
            version=CONTROL_VERSION,
            id=new_id(),
            author=args.author or user(),
            reason=args.reason,
            written_at=now,
            from_time=since(args.since, now),
            rule=None,
            entity=None,
            until_time=None,
            removes=args.id,
        )
        checked(message, _MAY)
        with reaching(settings):
            create(settings.kafka, PATIENCE)
            write(settings.kafka, message)
        removed(connection, message)
        _print(_found(connection, args.id), args.json)
    return 0


_MAY = {
    "rule": "--rule: one line of 1 to 256 printable characters",
    "entity": "--entity: one line of 1 to 256 printable characters",
    "until_time": "--until: a time from 2000 to 2099",
    "fields": "--field: at most 8 fields, their names of 1 to 256 printable characters, their values of 1 to 512",
}


def _fields(given: list[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--field {text}: say NAME=VALUE")
        if name.strip() in fields:
            raise UsageError(f"--field {name.strip()}: it is given twice; use * for any text, or two suppressions")
        fields[name.strip()] = value
    return fields


def _until(args: argparse.Namespace, begins: int, now: int) -> int | None:
    if args.forever:
        return None
    if args.until is not None:
        return since(args.until, now, "--until")
    stretch = args.stretch or USUAL
    found = _STRETCH.fullmatch(stretch)
    if found is None or not int(found[1]):
        raise UsageError(f"--for {stretch}: say a number and m, h, d or w, such as 7d")
    return begins + int(found[1]) * _UNITS[found[2]] * 1_000_000


def _note(settings: Settings, entity: str | None) -> None:
    """Say so if no host can be called what was given."""
    from operators.formats.base import Malformed
    from operators.formats.hosts import Hosts

    if entity is None or entity.startswith("_"):
        return
    try:
        canonical = Hosts(settings.formats).name(entity)
    except Malformed:
        return
    if canonical != entity.strip().lower():
        print(f"winnow: note: the flow calls a host of that name {canonical}", file=sys.stderr)


def _connect(settings: Settings) -> psycopg.Connection[Any]:
    from state.postgres import connect

    return connect(settings.postgres.required_dsn(), autocommit=True)


def _found(connection: psycopg.Connection[Any], id: str) -> KeptSuppression:
    from state.suppressions import find

    found = find(connection, id)
    if found is None:
        raise UsageError(f"no suppression {id}")
    return found


def _print(suppression: KeptSuppression, as_json: bool) -> None:
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(suppression) + b"\n")
        sys.stdout.buffer.flush()
        return
    what = [f"{name} {value}" for name, value in (("rule", suppression.rule), ("on", suppression.entity)) if value]
    what += [f"{name}={value}" for name, value in suppression.fields.items()]
    until = "for good" if suppression.until_time is None else f"until {_moment(suppression.until_time)}"
    last = f", last {_moment(suppression.last_seen)}" if suppression.last_seen else ""
    line = (
        f"{suppression.id}  {suppression.status:<8} {suppression.count:>7,} suppressed{last}  "
        f"{' '.join(what) or '(told by another than this command)'}"
    )
    if suppression.from_time is not None:
        line += f"  from {_moment(suppression.from_time)} {until}  by {suppression.author}: {suppression.reason}"
    if suppression.removed_by is not None:
        line += f"  removed by {suppression.removed_by}: {suppression.removed_reason}"
    print("".join(char if char.isprintable() else "?" for char in line))


def _moment(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M}Z"
