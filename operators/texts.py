"""Which texts of an event are judged: the one place that says what field is read, and as what."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from operators.formats import fields
from operators.formats.base import bounded
from state.events import Event

#: What ``Event.text`` is, by its ``text_kind``, as ECS names it.
FIELDS = {
    "http": "url.original",
    "shell": "process.command_line",
    "powershell": "powershell.command",
    "dns": "dns.question.name",
}
AGENT, AGENT_FIELD = "user-agent", "user_agent.original"
#: Field of a request's user agent, by format, as rules read it.
AGENTS = {
    "apache": "cs-user-agent",
    "json": "user_agent.original",
    "suricata": "http.http_user_agent",
    "zeek_json": "user_agent",
    "zeek_tsv": "user_agent",
}


class Carried(NamedTuple):
    """A text of an event: its source, and the field that it stands in."""

    text: str
    source: str
    field: str


class _Zeek(msgspec.Struct, gc=False):
    user_agent: str | None = None


class _EveHttp(msgspec.Struct, gc=False):
    http_user_agent: str | None = None


class _Eve(msgspec.Struct, gc=False):
    http: _EveHttp | None = None


_zeek = msgspec.json.Decoder(_Zeek).decode
_eve = msgspec.json.Decoder(_Eve).decode


def _suricata(raw: bytes) -> str | None:
    http = _eve(raw).http
    return None if http is None else http.http_user_agent


#: Formats of which the user agent can be decoded without the rest of the message.
_ALONE: dict[str, Callable[[bytes], str | None]] = {
    "zeek_json": lambda raw: _zeek(raw).user_agent,
    "suricata": _suricata,
}


def texts_of(event: Event) -> list[Carried]:
    """Return the texts of an event worth judging: of a request the URL and the user agent, else one or none."""
    if not event.text:
        return []
    kind = event.text_kind
    found = [Carried(event.text, kind, FIELDS.get(kind, "text"))]
    if kind == "http" and event.format in AGENTS:
        agent = _agent(event)
        if agent and agent != "-":
            found.append(Carried(bounded(agent), AGENT, AGENT_FIELD))
    return found


def _agent(event: Event) -> str:
    alone = _ALONE.get(event.format)
    if alone is not None:
        try:
            return alone(event.raw) or ""
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # of another type than the sensor's own; the format itself takes it
    try:
        value = fields(event).get(AGENTS[event.format])
    except Exception:  # what rules cannot read either, and count
        return ""
    return value if isinstance(value, str) else ""
