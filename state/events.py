"""The one Event that every telemetry format yields, and what becomes of a message that is none.

Times are integer microseconds since the Unix epoch, UTC. Names follow the Elastic Common Schema (ECS).
"""

from __future__ import annotations

from typing import Any

import msgspec

#: Largest raw message that is parsed at all, bytes. Larger ones are rejected as ``too_large``.
MAX_RAW_BYTES = 1_048_576
#: Deepest nesting of JSON that is accepted.
MAX_DEPTH = 64


class Kind(msgspec.Struct, frozen=True):
    """What sort of event this is. One shared instance for every combination that occurs, so that
    ``id(kind)`` or the instance itself can key a cache of decisions (which rules, which metrics)."""

    #: Source type, dotted, most general first: ``windows.sysmon``, ``zeek.conn``, ``suricata.alert``, ``linux.sshd``.
    source: str
    #: ECS ``event.category``: authentication, network, process, file, registry, web, intrusion_detection, iam,
    #: session, configuration, driver, host, malware, email, api, package, database, threat, vulnerability.
    category: str
    #: ECS ``event.action``, lower-case with hyphens: ``process-created``, ``logon-failed``, ``dns-query``.
    action: str
    #: ECS ``event.outcome``: success, failure, or unknown.
    outcome: str = "unknown"
    #: Windows channel as written by the system (``Security``), else empty.
    channel: str = ""
    #: Windows event id, else 0.
    code: int = 0


class Event(msgspec.Struct, frozen=True, gc=False):
    """One telemetry event: where it came from, the few typed fields everyone needs, and its raw bytes.

    Fields that the event does not have are empty (``""`` or 0). All other fields are decoded on demand by
    ``operators.formats.fields(event)``, so that the hot path makes no dict an event.
    """

    #: ``topic-partition``; in replay ``<file name>-0``.
    origin: str
    #: Kafka offset; in replay the line number, from 0.
    offset: int
    #: Event time, µs since the epoch, UTC.
    time: int
    #: Canonical host name: lower case, resolved once (see ``operators.formats.hosts``). Never empty.
    host: str
    kind: Kind
    #: The message as it was read.
    raw: bytes
    #: Name of the format that decoded it, a key of ``operators.formats.FORMATS``.
    format: str
    user: str = ""
    source_ip: str = ""
    source_port: int = 0
    destination_ip: str = ""
    destination_port: int = 0
    #: Executable path or program name.
    process: str = ""
    #: The text worth classifying (command line, URL with query, script block, DNS name, user agent), at most 16 KiB.
    text: str = ""
    #: What the text is: ``http``, ``shell``, ``powershell``, ``dns``; empty if there is none.
    text_kind: str = ""
    #: Bytes sent by the source and by the destination, where the event counts them.
    source_bytes: int = 0
    destination_bytes: int = 0
    #: Formats that need a stream's header to read a line (Zeek TSV) keep it here: the column names, tab-separated.
    header: str = ""
    #: Whether the host is the destination of what the event tells: others' bytes are what it received.
    inbound: bool = False

    @property
    def id(self) -> str:
        """Return the event's id, ``topic-partition-offset``."""
        return f"{self.origin}-{self.offset}"

    @property
    def order(self) -> tuple[int, str, int]:
        """Return the canonical order of events: time, then origin, then offset."""
        return (self.time, self.origin, self.offset)


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """A message that is no event, with the reason. Goes to the dead-letter topic; bad data is a value."""

    origin: str
    offset: int
    #: One of a few stable words: ``empty``, ``too_large``, ``not_utf8``, ``malformed_json``, ``too_deep``,
    #: ``missing_time``, ``bad_time``, ``time_out_of_range``, ``missing_host``, ``bad_type``, ``unknown_format``, ...
    reason: str
    #: What exactly was wrong, one line, at most 300 characters; never holds more of the data than that.
    detail: str
    raw: bytes
    #: The format that refused it, or empty if none was found.
    format: str = ""

    @property
    def id(self) -> str:
        """Return the id that the event would have had."""
        return f"{self.origin}-{self.offset}"


#: A dict of original fields, as rules and people read them.
Fields = dict[str, Any]
