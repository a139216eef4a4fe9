"""Labelled texts as JSON lines, for calibration: ``text``, ``source``, and ``label`` or ``malicious``. Pure."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import orjson

from analyzers.bert.canonical import SOURCES
from analyzers.bert.judge import BENIGN
from analyzers.bert.lines import LineError, LineReader

#: Texts at most.
MOST = 5_000_000


class LabelledText(NamedTuple):
    """A text, where it comes from, and whether it is malicious."""

    text: str
    source: str
    truth: bool


class LabelReader:
    """Read labelled texts, each once: a text counted twice would be two witnesses where there is one.

    Args:
        source: that of texts that name none; empty: each must, for thresholds are by source.

    >>> reader = LabelReader("shell")
    >>> reader.read(b'{"text": "id", "label": "benign"}')
    LabelledText(text='id', source='shell', truth=False)
    >>> reader.read(b'{"text": "id", "malicious": false}') is None
    True
    """

    def __init__(self, source: str = "") -> None:
        self._lines = LineReader("json", source)
        self._seen: dict[bytes, bool] = {}
        self._digest = hashlib.sha256()

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the lines that were read."""
        return self._digest.hexdigest()

    def read(self, line: bytes) -> LabelledText | None:
        """Return the text of a line without its end; None if it was there before. Raises LineError."""
        text, source = self._lines.read(line)
        if source not in SOURCES:
            names = ", ".join(SOURCES)
            raise LineError(f"no source {source[:32]!r}; known: {names}" if source else f"names no source: {names}")
        record = orjson.loads(line)
        label, malicious = record.get("label"), record.get("malicious")
        if isinstance(malicious, bool):
            truth = malicious
        elif malicious is not None:
            raise LineError("malicious is neither true nor false")
        elif isinstance(label, str) and label:
            truth = label.lower() != BENIGN
        else:
            raise LineError("neither label nor malicious")
        if isinstance(label, str) and label and (label.lower() != BENIGN) != truth:
            raise LineError("label and malicious contradict each other")
        self._digest.update(line + b"\n")
        name = f"{source}\0{text}".encode("utf-8", "surrogatepass")
        key = hashlib.blake2b(name, digest_size=16).digest()
        known = self._seen.get(key)
        if known is None:
            if len(self._seen) >= MOST:
                raise LineError(f"more than {MOST:,} texts")
            self._seen[key] = truth
            return LabelledText(text, source, truth)
        if known != truth:
            raise LineError("the same text is labelled benign and malicious")
        return None
