"""``winnow settings``: see and change what may be changed while the flow runs."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.settings import Settings, load_settings
from flows.telling import add_saying, checked, reaching, since, user
from flows.usage import UsageError

if TYPE_CHECKING:
    from analyzers.control import Timeline
    from state.control import Setting


#: Longest text that is taken for a number.
MAX_DIGITS = 18


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "settings",
        help="see and change live settings",
        description="See and change the settings that may be changed while the flow runs, through the control topic. "
        "The flow need not run.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    get = actions.add_parser(
        "get",
        help="print the values now in force",
        description="Print the value now in force of a live setting, or of each: one JSON object a line.",
    )
    get.set_defaults(run=run_get)
    change = actions.add_parser(
        "set",
        help="change a setting from an event time on",
        description="Change a live setting from an event time on. A time that the flow has already passed changes "
        "nothing that it has judged.",
    )
    change.add_argument("name", metavar="NAME", help="the setting, such as anomaly.least")
    change.add_argument("value", metavar="VALUE", help='the new value; "default": what is configured')
    add_saying(change)
    change.set_defaults(run=run_set)
    history = actions.add_parser(
        "history",
        help="print all changes",
        description="Print every change of a live setting, or of all, in the order in which they hold: one JSON "
        "object a line.",
    )
    history.set_defaults(run=run_history)
    for action in (get, history):
        action.add_argument("name", nargs="?", metavar="NAME", help="the setting (default: all)")
    for action in (get, change, history):
        action.add_argument("--config", type=Path, metavar="FILE", help="settings file")


def run_get(args: argparse.Namespace) -> int:
    """Print the values now in force."""
    from analyzers.control import LIVE

    settings = load_settings(args.config)
    _known(args.name)
    timeline = _timeline(settings)
    now = time.time_ns() // 1000
    for name in [args.name] if args.name else LIVE:
        configured = _configured(settings, name)
        change = timeline.at(name, now)
        line: dict[str, Any] = {"name": name, "value": configured, "configured": configured}
        if change is not None:
            value = change.setting.value
            line.update(_change(change.setting), value=configured if value is None else value)
        coming = timeline.after(name, now)
        if coming is not None:
            line["next"] = {"value": coming.setting.value, **_change(coming.setting)}
        print(json.dumps(line))
    return 0


def run_history(args: argparse.Namespace) -> int:
    """Print all changes."""
    settings = load_settings(args.config)
    _known(args.name)
    for change in _timeline(settings).history(args.name):
        setting = change.setting
        print(json.dumps({"name": setting.name, "value": setting.value, **_change(setting), "offset": change.offset}))
    return 0


def run_set(args: argparse.Namespace) -> int:
    """Write a change to the control topic; print it."""
    from analyzers.control import check
    from operators.control import create, write
    from state.control import CONTROL_VERSION, Setting, new_id

    settings = load_settings(args.config)
    _known(args.name)
    value = _value(args.value)
    wrong = check(args.name, value)
    if wrong is not None:
        raise UsageError(wrong.detail)
    now = time.time_ns() // 1000
    setting = Setting(
        version=CONTROL_VERSION,
        id=new_id(),
        author=args.author or user(),
        reason=args.reason,
        written_at=now,
        from_time=since(args.since, now),
        name=args.name,
        value=value,
    )
    checked(setting, {})
    with reaching(settings):
        create(settings.kafka)
        write(settings.kafka, setting)
    print(json.dumps({"name": setting.name, "value": setting.value, **_change(setting)}))
    return 0


def _timeline(settings: Settings) -> Timeline:
    from analyzers.control import Timeline, read
    from operators.control import exists, read_topic

    timeline = Timeline()
    with reaching(settings):
        if exists(settings.kafka):
            read_topic(settings.kafka, lambda offset, raw: read(raw, offset, timeline))
    return timeline


def _known(name: str | None) -> None:
    from analyzers.control import LIVE, unknown

    if name is not None and name not in LIVE:
        raise UsageError(unknown(name))


def _configured(settings: Settings, name: str) -> Any:
    section, _, field = name.partition(".")
    return getattr(getattr(settings, section), field)


def _change(setting: Setting) -> dict[str, Any]:
    from state.alerts import iso

    return {
        "from": iso(setting.from_time),
        "written_at": iso(setting.written_at),
        "author": setting.author,
        "reason": setting.reason,
        "id": setting.id,
    }


def _value(text: str) -> Any:
    if text == "default":
        return None
    if len(text) > MAX_DIGITS:
        return text
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text
