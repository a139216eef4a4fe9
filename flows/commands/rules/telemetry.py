"""Recorded telemetry as the actions of ``winnow rules`` read it: file by file, in batches, with progress on stderr."""

from __future__ import annotations

import gzip
import os
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import zstandard

from flows.settings import Settings
from flows.usage import UsageError
from operators.files import open_lines, read_line
from operators.formats import Decoder
from state.events import Event

#: Lines and bytes that are decoded and judged at once, at most.
BATCH_LINES = 2_000
BATCH_BYTES = 16_000_000
#: Seconds between two lines of progress on stderr.
PROGRESS_SECONDS = 5.0


class Recording:
    """One file of telemetry, decoded as ``winnow replay`` would; counts what became of its lines."""

    def __init__(self, name: str, settings: Settings, format: str = "auto") -> None:
        """Prepare to read. Raises UsageError if there is no such file or format."""
        self.path = Path(name)
        require_files([name])
        self.name = name
        self.lines = 0
        self.events = 0
        self.rejected: Counter[str] = Counter()
        self._started = time.monotonic()
        self._settings = settings
        self._decoder = decoder(self.path.name, settings, format)

    def batches(self) -> Iterator[list[Event]]:
        """Yield the events in order; ``offset`` is the line, from 0. Raises UsageError for a damaged archive."""
        reference = int(self.path.stat().st_mtime * 1_000_000)
        said = self._started
        with readable(self.name), open_lines(self.path) as stream:
            for lines in _batches(stream, self._settings.formats.max_raw_bytes):
                decoded = self._decoder.decode_batch(lines, range(self.lines, self.lines + len(lines)), reference)
                self.lines += len(lines)
                self.events += len(decoded.events)
                self.rejected.update(each.reason for each in decoded.rejected)
                yield decoded.events
                if time.monotonic() - said >= PROGRESS_SECONDS:
                    said = time.monotonic()
                    print(
                        f"{self.name}: {self.lines:,} lines, {self.lines / (said - self._started):,.0f}/s",
                        file=sys.stderr,
                    )

    def summary(self, found: str) -> str:
        """Return one line about what was read; ``found`` is what came of it."""
        seconds = max(time.monotonic() - self._started, 1e-9)
        return (
            f"{self.name}: {self.lines:,} lines, {self.events:,} events, {found}, "
            f"{sum(self.rejected.values()):,} rejected{f' {dict(self.rejected)}' if self.rejected else ''}; "
            f"{self.lines / seconds:,.0f} lines/s"
        )


def decoder(file_name: str, settings: Settings, format: str) -> Decoder:
    """Return the decoder for a file's lines. Raises UsageError if there is no such format."""
    try:
        return Decoder(f"{file_name}-0", settings.formats, format, default_host=file_name.split(".")[0])
    except ValueError as error:
        raise UsageError(str(error)) from error


def require_files(names: Sequence[str]) -> None:
    """Raise UsageError for the first name that is no readable file."""
    for name in names:
        if not Path(name).is_file() or not os.access(name, os.R_OK):
            raise UsageError(f"{name}: no such file, or not readable")


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn what a damaged file raises into a UsageError that names it."""
    try:
        yield
    except BrokenPipeError:
        raise
    except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError, OSError) as error:
        raise UsageError(f"{name}: {error}") from error


def _batches(stream: BinaryIO, limit: int) -> Iterator[list[bytes]]:
    """Yield the lines in batches; of a line longer than the limit as much as the decoder needs to refuse it."""
    lines: list[bytes] = []
    size = 0
    while line := read_line(stream, limit):
        lines.append(b"" if line == b"\n" else line)
        size += len(line)
        if len(lines) >= BATCH_LINES or size >= BATCH_BYTES:
            yield lines
            lines, size = [], 0
    if lines:
        yield lines
