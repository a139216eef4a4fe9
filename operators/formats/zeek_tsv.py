"""Zeek logs as tab-separated values, read by the header that begins each of them.

The header a data line was read by stays with its event (``Event.header``): the column names, tab-separated, and on a
second line, as JSON, what else the header said.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar

import msgspec

from state.events import Event, Fields

from . import zeek
from .base import Format, Malformed, Position

#: Longest header kept, characters: a few times the widest log there is.
MAX_HEADER = 16_384
MAX_COLUMNS = 512
#: How a data line begins: an epoch time, then the separator.
_STAMP = re.compile(rb"\d{9,11}(?:\.\d{1,9})?[\t,;|]")


class Head(msgspec.Struct, gc=False):
    """What a header says beside the column names."""

    path: str = ""
    separator: str = "\t"
    set_separator: str = ","
    empty: str = "(empty)"
    unset: str = "-"
    types: list[str] = []


class ZeekTsv(Format):
    """Decode Zeek's tab-separated logs."""

    name: ClassVar[str] = "zeek_tsv"
    rank: ClassVar[int] = 30

    def sniff(self, raw: bytes) -> bool:
        """Return whether the line is one of a Zeek header, or begins with an epoch time and a separator."""
        if raw[:1] == b"#":
            return raw.startswith(
                (b"#separator ", b"#fields", b"#path", b"#types", b"#close", b"#open", b"#set_sep")
            ) or raw.startswith((b"#empty_field", b"#unset_field"))
        return _STAMP.match(raw) is not None

    def decode(self, raw: bytes, at: Position) -> Event | None:
        """Return the event, or None for a header line, which it takes in."""
        line = _line(raw)
        if line[:1] == "#":
            at.header = _take_in(line, at.header)
            return None
        header = at.header
        if not header or header[0] == "\n":
            raise Malformed("missing_header", "no #fields line before it")
        layout = _layout(header)
        values = line.split(layout.head.separator)
        if len(values) != len(layout.columns):
            raise Malformed("wrong_columns", f"{len(values)} values for {len(layout.columns)} columns")
        if layout.time < 0:
            raise Malformed("missing_time", "no column ts")
        unset, empty = layout.head.unset, layout.head.empty
        record = layout.make(ts=_time(values[layout.time]))
        for name, index, convert in layout.reads:
            value = values[index]
            if value != unset and value != empty:
                setattr(record, name, convert(value))
        return zeek.to_event(record, raw, at, "zeek_tsv", layout.head.path, header)

    def fields(self, event: Event) -> Fields:
        """Return the columns by name, typed as the header says; unset ones are left out."""
        layout = _layout(event.header)
        head = layout.head
        values = _line(event.raw).split(head.separator)
        types = head.types + [""] * (len(values) - len(head.types))
        fields: Fields = {"_path": head.path}
        for name, kind, value in zip(layout.columns, types, values, strict=False):
            if value != head.unset:
                fields[name] = _typed(value, kind, head)
        return fields


def _line(raw: bytes) -> str:
    """Return the line without its end only: trailing tabs and blanks are values."""
    try:
        line = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise Malformed("not_utf8", f"byte {error.start}: {error.reason}") from error
    if not line:
        raise Malformed("empty", "nothing in it")
    return line


class Layout:
    """How the lines under one header are read."""

    __slots__ = ("columns", "head", "make", "reads", "time")

    def __init__(self, header: str) -> None:
        columns, _, rest = header.partition("\n")
        self.head = msgspec.json.decode(rest, type=Head) if rest else Head()
        self.columns = columns.split("\t") if columns else []
        self.make: Callable[..., zeek.Record] = zeek.BY_PATH.get(self.head.path, zeek.Other)
        self.time = self.columns.index("ts") if "ts" in self.columns else -1
        fields = {f.encode_name: f for f in msgspec.structs.fields(zeek.BY_PATH.get(self.head.path, zeek.Other))}
        self.reads: list[tuple[str, int, Callable[[str], Any]]] = []
        for index, column in enumerate(self.columns):
            if column in fields and column not in ("ts", "id"):
                convert = _converter(fields[column].type, self.head.set_separator)
                self.reads.append((fields[column].name, index, convert))


@lru_cache(maxsize=256)
def _layout(header: str) -> Layout:
    return Layout(header)


@lru_cache(maxsize=1024)
def _take_in(line: str, header: str) -> str:
    """Return the header with this line of it taken in. Cached, so that equal headers are one object."""
    columns, _, rest = header.partition("\n")
    head = msgspec.json.decode(rest, type=Head) if rest else Head()
    if line.startswith("#close"):
        return ""
    if line.startswith("#separator"):
        columns, head = "", Head(separator=_unescape(line.partition(" ")[2]) or "\t")
        return "\n" + msgspec.json.encode(head).decode()
    key, _, value = line[1:].partition(head.separator)
    if key == "fields":
        names = value.split(head.separator)
        if len(line) > MAX_HEADER or len(names) > MAX_COLUMNS:
            raise Malformed("too_large", f"header of {len(names)} columns")
        columns = "\t".join(names)
    elif key == "types":
        head.types = value.split(head.separator)[:MAX_COLUMNS]
    elif key == "path":
        head.path = value[:64]
    elif key == "set_separator":
        head.set_separator = value[:8] or ","
    elif key == "empty_field":
        head.empty = value[:32]
    elif key == "unset_field":
        head.unset = value[:32]
    else:
        return header
    return columns + "\n" + msgspec.json.encode(head).decode()


def _unescape(text: str) -> str:
    """Return ``\\x09`` as the character it stands for."""
    if text.startswith("\\x") and len(text) == 4:
        try:
            return chr(int(text[2:], 16))
        except ValueError as error:
            raise Malformed("bad_header", f"separator is {text!r}") from error
    return text[:8]


def _time(value: str) -> float | str:
    try:
        return float(value)
    except ValueError:
        return value


def _converter(type_: Any, set_separator: str) -> Callable[[str], Any]:
    names = str(type_)
    if "list" in names:
        return lambda value: value.split(set_separator)
    if "bool" in names:
        return lambda value: value == "T"
    if "int" in names:
        return _int
    return str


def _int(value: str) -> int:
    return int(value) if value.isdecimal() and len(value) < 19 else 0


def _typed(value: str, kind: str, head: Head) -> Any:
    if kind.startswith(("set[", "vector[")):
        inner = kind[kind.index("[") + 1 : -1]
        if value == head.empty:
            return []
        return [_typed(part, inner, head) for part in value.split(head.set_separator)]
    if value == head.empty:
        return ""
    if kind in ("count", "int", "port"):
        return int(value) if value.removeprefix("-").isdecimal() and len(value) < 20 else value
    if kind in ("time", "interval", "double"):
        number = _time(value)
        return value if isinstance(number, float) and number != number else number
    if kind == "bool":
        return value == "T"
    return value
