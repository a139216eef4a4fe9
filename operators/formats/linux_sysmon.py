"""Sysmon for Linux: an XML event a line, in syslog or by itself. https://github.com/microsoft/SysmonForLinux

The XML is flat and Sysmon escapes every value, so that tags are found by search and nothing is expanded but single
letters. Syslog servers cut long messages: what stands before the cut is read, an unfinished value too.
"""

from __future__ import annotations

import re
from typing import ClassVar

import msgspec

from state.events import Event, Fields

from .base import Format, Malformed, Position, WrongShape, bounded, port, text_of
from .hosts import NOWHERE
from .kinds import kind
from .syslog_lines import split
from .times import from_iso
from .windows_kinds import SYSMON

CHANNEL = "Linux-Sysmon/Operational"
_MARKER = b"Linux-Sysmon"
#: Values of one event that are read; Sysmon's largest event has 23.
MAX_VALUES = 256

_START = re.compile(r'(?:<\?xml[^<>]{0,100}>\s{0,8})?<Event>\s{0,8}<System>\s{0,8}<Provider Name="Linux-Sysmon"')
_VALUE = re.compile(r'<Data Name="([A-Za-z]{1,64})"(?:/>|>([^<]*+))')
_LETTER = re.compile(r"&(?:(lt|gt|amp|quot|apos)|#(\d{1,7})|#x([0-9A-Fa-f]{1,6}));", re.ASCII)
_NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}


class Found(msgspec.Struct, frozen=True, gc=False):
    """An event as it stands in a line."""

    #: What syslog's header says; empty if there is none.
    host: str
    code: int
    #: The event's header and its data, letters not yet unescaped.
    system: str
    data: str

    def value(self, name: str) -> str:
        """Return one value of the data, empty if there is none."""
        return unescape(_between(self.data, f'<Data Name="{name}">', "<"))

    def values(self) -> dict[str, str]:
        """Return all values of the data; of two with one name the first counts."""
        return {name: unescape(value) for name, value in reversed(_VALUE.findall(self.data)[:MAX_VALUES])}


class LinuxSysmon(Format):
    """Decode Sysmon for Linux. Time and host are the event's own, not those of syslog."""

    name: ClassVar[str] = "linux_sysmon"
    rank: ClassVar[int] = 54
    marker: ClassVar[bytes] = _MARKER

    def sniff(self, raw: bytes) -> bool:
        """Return whether the line is such an event, bare or inside syslog."""
        return raw.find(_MARKER) >= 0 and carries_event(raw)

    def decode(self, raw: bytes, at: Position) -> Event:
        """Return the event."""
        found = _find(text_of(raw))
        if found is None:
            raise WrongShape("no event of Sysmon for Linux")
        stamp = _between(found.system, '<TimeCreated SystemTime="', '"')
        if not stamp:
            raise Malformed("missing_time", "no SystemTime")
        time = from_iso(stamp, at.zone)
        name = unescape(_between(found.system, "<Computer>", "<")) or found.host or at.default_host
        if not name:
            raise Malformed("missing_host", "the event names no host, and the stream has no default host")
        category, action = SYSMON.get(found.code, ("host", f"sysmon-{found.code}"))[:2]
        source, target, source_port, target_port = NOWHERE, NOWHERE, 0, 0
        if category == "network":
            source, target = at.hosts.address(found.value("SourceIp")), at.hosts.address(found.value("DestinationIp"))
            source_port, target_port = port(found.value("SourcePort")), port(found.value("DestinationPort"))
        command, user = found.value("CommandLine"), found.value("User")
        return Event(
            at.origin,
            at.offset,
            time,
            at.hosts.name(name),
            kind("linux.sysmon", category, action, "unknown", CHANNEL, found.code),
            raw,
            "linux_sysmon",
            "" if user == "-" else bounded(user),
            source.ip,
            source_port,
            target.ip,
            target_port,
            bounded(found.value("Image")),
            bounded(command) if command != "-" else "",
            "shell" if command not in ("", "-") else "",
            inbound=category == "network" and found.value("Initiated") == "false",
        )

    def fields(self, event: Event) -> Fields:
        """Return the event's data under Sysmon's names, and EventID, Channel, Computer and Provider_Name."""
        found = _find(text_of(event.raw))
        if found is None:  # cannot be: decode found it
            return {}
        fields: Fields = {"Provider_Name": "Linux-Sysmon", "EventID": found.code, "Channel": CHANNEL}
        for name in ("Computer", "EventRecordID"):
            if text := _between(found.system, f"<{name}>", "<"):
                fields[name] = unescape(text)
        return {**found.values(), **fields}


def carries_event(raw: bytes) -> bool:
    """Return whether a line is an event of Sysmon for Linux, bare or inside syslog."""
    return _find(raw.decode("utf-8", "replace").rstrip("\r\n\0 ")) is not None


def unescape(text: str) -> str:
    """Return an XML text with its escaped letters; what stands for no letter is left as it is.

    >>> unescape("a &lt;b&gt; &amp;amp; &#233;&#xD800;")
    'a <b> &amp; é&#xD800;'
    """
    return _LETTER.sub(_letter, text) if "&" in text else text


def _letter(match: re.Match[str]) -> str:
    if match[1]:
        return _NAMED[match[1]]
    number = int(match[2]) if match[2] else int(match[3], 16)
    return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else match[0]


def _find(text: str) -> Found | None:
    host = ""
    if not text.startswith(("<Event>", "<?xml")):
        line = split(text)
        if line is None or line.program != "sysmon":
            return None
        text, host = line.message, line.host
    if _START.match(text) is None or (end := text.find("</System>")) < 0:
        return None
    code = _between(text[:end], "<EventID>", "</")
    if not (code.isascii() and code.isdecimal() and len(code) < 6):
        return None
    return Found(host, int(code), text[:end], text[end:])


def _between(text: str, before: str, after: str) -> str:
    """Return what stands after the first ``before``, up to ``after`` or the end; empty if there is no ``before``."""
    start = text.find(before)
    if start < 0:
        return ""
    start += len(before)
    end = text.find(after, start)
    return text[start:end] if end >= 0 else text[start:]
