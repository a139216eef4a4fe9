"""One stream's messages to events, a batch at a time; what is no event becomes a Rejected."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import msgspec

from state.events import Event, Rejected

from . import FORMATS
from .base import CATCH_ALL, MAX_DETAIL, Format, Malformed, Position, WrongShape
from .hosts import Hosts
from .settings import FormatSettings
from .tolerant import too_deep

#: Version of the snapshot's layout.
SNAPSHOT = 1
BRACKET = ord("[")


class Decoded(msgspec.Struct, gc=False):
    """What became of a batch; every message is in exactly one list, each in order of offset."""

    events: list[Event]
    rejected: list[Rejected]
    #: Offsets of header and comment lines.
    skipped: list[int]


class Saved(msgspec.Struct, gc=False):
    """What a stream has taught, as it is snapshotted."""

    version: int
    header: str = ""
    last: str = ""
    clocks: dict[str, int] = {}


class Decoder:
    """Decode the messages of one origin, in order of offset. Keeps what the stream teaches (TSV header, format)."""

    def __init__(self, origin: str, settings: FormatSettings, format: str = "auto", default_host: str = "") -> None:
        """Prepare for ``origin``. ``format`` is a key of FORMATS or ``auto``; ValueError if it is neither."""
        if format != "auto" and format not in FORMATS:
            raise ValueError(f"no such format: {format!r}; known: auto, {', '.join(FORMATS)}")
        hosts = Hosts(settings)
        self._default_host = hosts.name(default_host) if default_host else ""
        self._at = Position(origin, settings, hosts, ZoneInfo(settings.timezone), self._default_host)
        self._formats: tuple[Format, ...] = tuple(FORMATS.values()) if format == "auto" else (FORMATS[format],)
        self._fixed = format != "auto"
        #: The format to try first: the last that decoded a message, unless it is a catch-all.
        self._last: Format | None = None
        self._marker = b""
        self._tried = ""

    def decode_batch(
        self, raws: Sequence[bytes], offsets: Sequence[int], reference: int, keys: Sequence[bytes | None] | None = None
    ) -> Decoded:
        """Return what the messages became. ``reference``: broker time of the batch, in replay the file's mtime, µs.

        ``keys``, one a message, name the host of messages that name none themselves; none or an empty one leaves that
        to ``default_host``.
        """
        at = self._at
        at.reference = reference
        largest, deepest = at.settings.max_raw_bytes, at.settings.max_depth
        events: list[Event] = []
        rejected: list[Rejected] = []
        skipped: list[int] = []
        last, marker = self._last, self._marker
        for raw, offset in zip(raws, offsets, strict=True):
            at.offset = offset
            self._tried = ""
            if keys is not None:
                at.default_host = self._keyed(keys[len(events) + len(rejected) + len(skipped)])
            try:
                if len(raw) > largest:
                    raise Malformed("too_large", f"{len(raw)} bytes, the limit is {largest}")
                if not raw.isascii():
                    _check_utf8(raw)
                # Most objects hold no other: two searches tell, where counting would take several times as long.
                # (A number, or find: bytes on the left of ``in`` cost an exception inside CPython 3.11.)
                if (BRACKET in raw or raw.find(b"{", 1) > 0) and too_deep(raw, deepest):
                    raise Malformed("too_deep", f"nested deeper than {deepest}")
                if last is not None and (raw.find(marker) >= 0 if marker else last.sniff(raw)):
                    self._tried = last.name
                    try:
                        event = last.decode(raw, at)
                    except Malformed as error:
                        if not self._of_another(error, raw):
                            raise
                        event = self._sniff(raw)
                        last, marker = self._last, self._marker
                else:
                    event = self._sniff(raw)
                    last, marker = self._last, self._marker
                if event is None:
                    skipped.append(offset)
                else:
                    events.append(event)
            except Malformed as error:
                rejected.append(self._reject(raw, error.reason, error.detail))
            except Exception as error:  # one message must never harm its neighbours
                rejected.append(self._reject(raw, "internal_error", f"{type(error).__name__}: {error}"))
        return Decoded(events, rejected, skipped)

    def _keyed(self, key: bytes | None) -> str:
        """Return the host that a message's key names, or the stream's own if it names none."""
        try:
            return self._at.hosts.name(key.decode()) if key else self._default_host
        except (Malformed, UnicodeDecodeError):
            return self._default_host

    def snapshot(self) -> bytes:
        """Return what the stream has taught, versioned."""
        last = self._last.name if self._last is not None else ""
        return msgspec.json.encode(Saved(SNAPSHOT, self._at.header, last, self._at.clocks))

    def restore(self, data: bytes) -> None:
        """Take up where a snapshot was made. Raises ValueError if it is none of ours."""
        try:
            saved = msgspec.json.decode(data, type=Saved)
        except msgspec.DecodeError as error:
            raise ValueError(f"no decoder snapshot: {error}") from error
        if saved.version != SNAPSHOT:
            raise ValueError(f"decoder snapshot of version {saved.version}, this is version {SNAPSHOT}")
        self._at.header = saved.header
        self._at.clocks = saved.clocks
        self._remember(FORMATS.get(saved.last) if not self._fixed or saved.last == self._formats[0].name else None)

    def _of_another(self, error: Malformed, raw: bytes) -> bool:
        """Return whether another format may take the message.

        It may if it is of another shape, or a line of text in which a JSON format's marker stands: whoever writes
        ``"_path"`` into a command must not have its audit record refused.
        """
        if isinstance(error, WrongShape):
            return True
        return not self._fixed and error.reason == "malformed_json" and raw.lstrip()[:1] not in (b"{", b"[", b'"')

    def _sniff(self, raw: bytes) -> Event | None:
        """Decode by the first format that takes the message for its own; a format that was named need not be asked."""
        self._tried = ""
        if not raw or raw.isspace():
            raise Malformed("empty", "nothing in it")
        wrong: WrongShape | None = None
        for format in self._formats:
            if not (self._fixed or format.sniff(raw)):
                continue
            self._tried = format.name
            try:
                event = format.decode(raw, self._at)
            except Malformed as error:
                if not self._of_another(error, raw):
                    raise
                wrong = error if isinstance(error, WrongShape) else WrongShape("no JSON")
                continue
            if format.rank < CATCH_ALL:
                self._remember(format)
            return event
        if not self._fixed:
            self._tried = ""
        raise wrong or WrongShape("no format takes it for its own")

    def _remember(self, format: Format | None) -> None:
        self._last = format
        self._marker = format.marker if format is not None else b""

    def _reject(self, raw: bytes, reason: str, detail: str) -> Rejected:
        line = " ".join(detail.split())[:MAX_DETAIL]
        return Rejected(self._at.origin, self._at.offset, reason, line, raw, self._tried)


def _check_utf8(raw: bytes) -> None:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        raise Malformed("not_utf8", f"byte {error.start}: {error.reason}") from error
