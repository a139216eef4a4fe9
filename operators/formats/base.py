"""What every telemetry format is: a class with a name, a marker test, a decoder and the original fields on demand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from state.events import Event, Fields, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

    from analyzers.rules.shortcut import Projector

    from .hosts import Hosts
    from .settings import FormatSettings

#: Longest detail of a rejection, characters.
MAX_DETAIL = 300
#: From this rank on, a format takes nearly anything, and is never tried before the others.
CATCH_ALL = 90
#: Largest text kept for classification, bytes of UTF-8.
MAX_TEXT = 16_384
#: Largest count of bytes that an event may carry; what is more is nonsense and would not fit a database column.
MAX_COUNT = 2**53


class Malformed(Exception):
    """Say that a message is no event: ``reason`` is one of the stable words of ``state.events.Rejected``."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail[:MAX_DETAIL]


class WrongShape(Malformed):
    """Say that a message is not of this format at all, so that the next format is tried."""

    def __init__(self, detail: str = "") -> None:
        super().__init__("unknown_format", detail)


class Position:
    """Where a message stands, and what its stream has taught so far. One instance a stream."""

    __slots__ = (
        "clocks",
        "default_host",
        "header",
        "hosts",
        "json_paths",
        "offset",
        "origin",
        "reference",
        "settings",
        "zone",
    )

    def __init__(self, origin: str, settings: FormatSettings, hosts: Hosts, zone: ZoneInfo, default_host: str = ""):
        #: ``topic-partition``; in replay ``<file name>-0``.
        self.origin = origin
        self.offset = 0
        #: Broker timestamp, in replay the file's mtime; µs since the epoch. Settles the year of stamps without one.
        self.reference = 0
        #: Canonical host of a log that names none; empty if there is none either.
        self.default_host = default_host
        #: The stream's header (Zeek TSV), see ``zeek_tsv``.
        self.header = ""
        #: Measured distance from a host's local stamps to UTC, µs, by host name as written (Windows, see ``nxlog``).
        self.clocks: dict[str, int] = {}
        self.settings = settings
        self.hosts = hosts
        self.zone = zone
        #: The generic JSON mapping, each path beside its parts.
        self.json_paths: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
            name: tuple((path, tuple(path.split("."))) for path in paths) for name, paths in settings.json_mapping
        }


class Format(ABC):
    """One telemetry format. Instances hold no state: what a stream has taught stands in its ``Position``."""

    #: Key in ``operators.formats.FORMATS`` and value of ``Event.format``.
    name: ClassVar[str]
    #: Tried in ascending order when sniffing; the catch-alls come last.
    rank: ClassVar[int] = 50
    #: What nearly every message of it bears, for a test without a call while a stream stays with one format; or empty.
    marker: ClassVar[bytes] = b""
    #: Whether every name and text of ``fields`` stands in the raw message as a JSON string, but for names that
    #: ``fields`` always gives, so that a search of it can tell what no field is or holds.
    verbatim: ClassVar[bool] = False
    #: Whether ``peek`` can tell anything.
    peeks: ClassVar[bool] = False

    @abstractmethod
    def sniff(self, raw: bytes) -> bool:
        """Return whether the message bears this format's markers. Cheap; may be wrong, ``decode`` has the last word.

        Search by ``raw.find(marker) >= 0``: ``marker in raw`` raises and clears an exception inside CPython 3.11.
        """

    @abstractmethod
    def decode(self, raw: bytes, at: Position) -> Event | None:
        """Return the event, or None for a header or comment line.

        Raises WrongShape if the message is of another format, Malformed with the reason if it is of this one but bad.
        """

    def peek(self, raw: bytes) -> Kind | None:
        """Return the message's kind from a search of its bytes, or None where only ``decode`` can tell.

        Action and outcome may be left at what the kind's other parts tell. A message that ``decode`` would refuse may
        have a kind.
        """
        return None

    def project(self, names: Sequence[str]) -> Projector | None:
        """Return what decodes just the named fields of an event as ``fields`` has them, or None if nothing can.

        A name that a message lacks must be UNSET, though it had it in another case.
        """
        return None

    @abstractmethod
    def fields(self, event: Event) -> Fields:
        """Return all original fields as rules read them (Sigma field taxonomy), decoded from ``event.raw``."""


def text_of(raw: bytes) -> str:
    """Return a text line without its end. Raises Malformed ``not_utf8`` or ``empty``."""
    try:
        line = raw.decode().rstrip("\r\n\0 ").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise Malformed("not_utf8", f"byte {error.start}: {error.reason}") from error
    if not line:
        raise Malformed("empty", "nothing in it")
    return line


def bounded(text: str) -> str:
    """Return the text cut to at most MAX_TEXT bytes of UTF-8."""
    if len(text) * 4 <= MAX_TEXT:
        return text
    data = text.encode("utf-8", "replace")
    return text if len(data) <= MAX_TEXT else data[:MAX_TEXT].decode("utf-8", "ignore")


def port(value: object) -> int:
    """Return a port number from a number or a decimal string, 0 if it is none."""
    if type(value) is int:
        return value if 0 <= value < 65536 else 0
    if isinstance(value, str) and value.isdecimal() and len(value) <= 5:
        return port(int(value))
    return 0


def count(value: int | None) -> int:
    """Return a count of bytes, 0 if it is missing or negative, at most MAX_COUNT.

    >>> count(None), count(-1), count(10**30) == MAX_COUNT
    (0, 0, True)
    """
    if value is None or value < 0:
        return 0
    return value if value < MAX_COUNT else MAX_COUNT
