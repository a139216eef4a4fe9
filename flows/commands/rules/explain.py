"""``winnow rules explain``: why an event meets a rule, or what it lacks."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import msgspec
import orjson

from analyzers.rules.explanation import Explanation, explain, shown
from analyzers.rules.finding import NotFound, find
from analyzers.rules.prose import lines
from flows.commands.rules.telemetry import Recording, decoder, readable, require_files
from flows.settings import Settings, load_settings
from flows.usage import UsageError
from operators.files import open_lines, read_line
from operators.formats import UNDECODED, fields
from state.alerts import iso
from state.events import Event


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action."""
    parser = actions.add_parser(
        "explain",
        help="say why an event meets a rule, or what it lacks",
        description="Say selection by selection what a rule makes of one event. Exit status 0: it matches; 1: it does "
        "not; 2: no such rule or event.",
    )
    parser.add_argument("rule", metavar="RULE", help="id, title or file of the rule")
    parser.add_argument(
        "event",
        metavar="EVENT",
        help="a file of one line, FILE:LINE with lines from 0, or - for standard input; .gz and .zst are unpacked",
    )
    parser.add_argument(
        "--rules",
        type=Path,
        action="append",
        metavar="DIR",
        help="folder of Sigma rules, may be repeated (default: those that winnow run would use)",
    )
    parser.add_argument("--format", default="auto", metavar="F", help="format of the event (default: sniffed)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the explanation; return the exit status."""
    settings = load_settings(args.config)
    event = read_event(args.event, settings, args.format)
    try:
        found = find(args.rule, args.rules or _default(settings, args.rule), settings.rules.placeholders)
    except FileNotFoundError as error:
        raise UsageError(str(error)) from error
    except NotFound as error:
        raise UsageError(shown(str(error), 800)) from error
    explanation = explain(found.rule, found.condition, event, fields(event))
    matches = {match.rule.id for match in found.rules.match_batch([event], fields, UNDECODED)}
    if found.rules.failures:
        raise UsageError(f"{args.event}: the event's fields cannot be read")
    if args.json:
        sys.stdout.write(orjson.dumps(_report(explanation, event), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        first, second, *rest = lines(explanation)
        code = f", event id {event.kind.code}" if event.kind.code else ""
        print(first)
        print(f"event       {event.id}: {iso(event.time)}, host {shown(event.host)}, {shown(event.kind.source)}{code}")
        print("\n".join([second, *rest]))
    matched = found.rule.id in matches
    if matched is not explanation.matched:
        # The engine decides. Tests hold the two to agree; should they not, the user must not be misled.
        print(f"winnow: this explanation is wrong: the engine {'matches' if matched else 'does not'}", file=sys.stderr)
    return 0 if matched else 1


def read_event(name: str, settings: Settings, format: str) -> Event:
    """Return the event named by a file of one line, ``FILE:LINE`` or ``-``. Raises UsageError.

    Of ``FILE:LINE`` the lines before are read too: they may hold the header that the line needs.
    """
    if name == "-":
        limit = settings.formats.max_raw_bytes
        return _only("standard input", _read_lines(sys.stdin.buffer, limit), settings, format)
    place = None if Path(name).is_file() else re.fullmatch(r"(.+):(\d{1,12})", name)
    if place is None:
        require_files([name])
        with readable(name), open_lines(Path(name)) as stream:
            return _only(name, _read_lines(stream, settings.formats.max_raw_bytes), settings, format)
    recording, line = Recording(place[1], settings, format), int(place[2])
    for events in recording.batches():
        for event in events:
            if event.offset == line:
                return event
        if recording.lines > line:
            raise UsageError(f"{name}: the line is no event{_reasons(recording)}")
    raise UsageError(f"{name}: the file has {recording.lines:,} lines, counted from 0")


def _reasons(recording: Recording) -> str:
    return f" (rejected up to there: {dict(recording.rejected)})" if recording.rejected else ", but a header or comment"


def _read_lines(stream: Any, limit: int) -> list[bytes]:
    """Return the lines that are not empty, up to so many that it is plain that they are too many."""
    found: list[bytes] = []
    while (line := read_line(stream, limit)) and len(found) < 100:
        if line != b"\n":
            found.append(line)
    return found


def _only(name: str, raws: list[bytes], settings: Settings, format: str) -> Event:
    file_name = "stdin" if name == "standard input" else Path(name).name
    reference = 0 if file_name == "stdin" else int(Path(name).stat().st_mtime * 1_000_000)
    decoded = decoder(file_name, settings, format).decode_batch(raws, range(len(raws)), reference)
    if len(decoded.events) == 1 and not decoded.rejected:
        return decoded.events[0]
    if decoded.rejected and len(decoded.rejected) + len(decoded.events) == 1:
        rejected = decoded.rejected[0]
        raise UsageError(f"{name}: no event: {rejected.reason}: {shown(rejected.detail)}")
    if not decoded.events and not decoded.rejected:
        raise UsageError(f"{name}: no event in it")
    raise UsageError(f"{name}: several lines: say which as FILE:LINE, lines from 0")


def _default(settings: Settings, rule: str) -> list[Path]:
    from flows.activation import BUILTIN_RULES

    if Path(rule).is_file():
        return []
    return ([BUILTIN_RULES] if settings.rules.builtin else []) + settings.rules.paths


def _report(explanation: Explanation, event: Event) -> dict[str, Any]:
    return {
        "matched": explanation.matched,
        "rule": {"id": explanation.rule, "title": explanation.title, "path": explanation.path},
        "event": {
            "id": event.id,
            "time": iso(event.time),
            "host": event.host,
            "format": event.format,
            "source": event.kind.source,
            "channel": event.kind.channel,
            "code": event.kind.code,
        },
        "log_source": msgspec.to_builtins(explanation.source),
        "conditions": explanation.conditions,
        "tree": msgspec.to_builtins(explanation.tree),
        "missing": msgspec.to_builtins(explanation.gaps),
        "more_missing": explanation.more_gaps,
        "fields": explanation.names,
    }
