"""Texts as lines, for the command line: one a line, or JSON records with ``text`` and ``source``. Pure."""

from __future__ import annotations

import re
from typing import Literal

import orjson

#: How lines are read: ``text``, ``json``, or told from the first line that is not empty.
Shape = Literal["auto", "text", "json"]
#: Longest line that is read, bytes; JSON may write a character as six.
MAX_LINE = 12 * 1_048_576
#: The beginning of a record, be the rest of it broken.
_RECORD = re.compile(rb'\s*\{\s*"(?:text|source)"\s*:|\s*\{[^\n]{0,4096}"text"\s*:')


class LineError(Exception):
    """A line is not what it should be; the message says what is wrong."""


class LineReader:
    """Turn lines into texts with their source.

    >>> reader = LineReader()
    >>> reader.read(b'{"text": "id", "source": "shell"}')
    ('id', 'shell')
    >>> LineReader(source="http").read(b"a=1")
    ('a=1', 'http')
    """

    def __init__(self, shape: Shape = "auto", source: str = "unknown") -> None:
        self._shape: Shape = shape
        self._source = source

    def read(self, line: bytes) -> tuple[str, str]:
        """Return text and source of a line without its end. Raises LineError.

        Bytes that are no UTF-8 become U+FFFD in a plain line; in a record they are an error.
        """
        if len(line) > MAX_LINE:
            raise LineError(f"line is longer than {MAX_LINE:,} bytes")
        if self._shape == "auto" and line.strip():
            self._shape = "json" if _RECORD.match(line) else "text"
        if self._shape != "json":
            return line.decode("utf-8", "replace"), self._source
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise LineError(f"not JSON: {str(error)[:200]}") from None
        text = record.get("text") if isinstance(record, dict) else None
        if not isinstance(text, str):
            raise LineError("no record with a text")
        source = record.get("source")
        if source is None:
            source = self._source
        if not isinstance(source, str):
            raise LineError("source is no text")
        return text, source.lower()
