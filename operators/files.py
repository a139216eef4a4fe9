"""Read recorded telemetry: each file is a partition, each line a message, as fast as it goes."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import zstandard
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from operators.batch import END_OF_TIME, Batch
from operators.clock import LOOKAHEAD, EventClock, TimeSettings
from operators.formats import Decoder
from operators.formats.settings import FormatSettings
from operators.pace import Pace
from state.events import Event, Rejected
from state.ledger import SPAN

#: Lines and bytes of one batch, at most.
BATCH_LINES = 1_000
BATCH_BYTES = 8_000_000
#: Reason of the one Rejected that stands for the rest of a damaged file.
UNREADABLE = "unreadable"
#: How far a file may be ahead of the one furthest behind before it waits, µs of event time.
AHEAD = 60_000_000


def open_lines(path: Path) -> BinaryIO:
    """Open a file of lines; ``.gz`` and ``.zst`` are unpacked on the way."""
    if path.suffix == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if path.suffix == ".zst":
        reader = zstandard.ZstdDecompressor().stream_reader(path.open("rb"), read_across_frames=True)
        return io.BufferedReader(reader, 1 << 20)
    return path.open("rb", buffering=1 << 20)


def read_line(stream: BinaryIO, limit: int) -> bytes:
    """Return the next line without its end, at most ``limit + 1`` bytes of it; empty at the end of the file.

    What a line has beyond that is read over. An empty line comes back as ``b"\\n"``, not to be taken
    for the end.
    """
    line = stream.readline(limit + 2)
    if not line.endswith(b"\n") and len(line) > limit:
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = stream.readline(1 << 20)
        return line[: limit + 1]
    stripped = line[:-2] if line.endswith(b"\r\n") else line[:-1] if line.endswith(b"\n") else line
    return stripped or (b"\n" if line else b"")


def name_files(paths: Sequence[Path]) -> dict[str, Path]:
    """Give each file a name of its own: its file name, or as much of its path as tells it from the others.

    >>> sorted(name_files([Path("a/x.log"), Path("b/x.log"), Path("b/y.log")]))
    ['a/x.log', 'b/x.log', 'y.log']
    """
    named: dict[str, Path] = {}
    for path in paths:
        parts = path.resolve().parts[1:]
        for depth in range(1, len(parts) + 1):
            name = "/".join(parts[-depth:])
            others = [p for p in paths if p != path and "/".join(p.resolve().parts[1:][-depth:]) == name]
            if not others:
                break
        if name in named:
            raise ValueError(f"{path} is given twice")
        named[name] = path
    return named


class FilePartition(StatefulSourcePartition[Batch, None]):
    """One file. Holds back the last 30 events until it knows what follows them (see EventClock.place_recorded)."""

    def __init__(
        self,
        name: str,
        path: Path,
        decoder: Decoder,
        clock: EventClock,
        pace: Pace,
        limit: int,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self._progress = progress
        self._name = name
        self._origin = f"{name}-0"
        self._stream = open_lines(path)
        self._reference = int(path.stat().st_mtime * 1_000_000)
        self._decoder = decoder
        self._clock = clock
        self._pace = pace
        self._limit = limit
        self._line = 0
        self._held: list[Event] = []
        self._ended = False
        pace.report(name, clock.watermark)

    def next_batch(self) -> Iterable[Batch]:
        """Return the next lines as one batch, or two where they cross a span of the ledger."""
        if self._ended:
            raise StopIteration
        if not self._pace.may_read(self._name):
            return []
        start = self._line
        lines: list[bytes] = []
        lost: Rejected | None = None
        size = 0
        # A batch never crosses a span of the ledger, so that it counts into one row.
        while len(lines) < BATCH_LINES and size < BATCH_BYTES and (start + len(lines)) // SPAN == start // SPAN:
            try:
                line = read_line(self._stream, self._limit)
            except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
                # What is left of a damaged archive is one message that cannot be read: a value, told at the end.
                lost = Rejected(self._origin, start + len(lines), UNREADABLE, str(error)[:300], b"")
                self._ended = True
                break
            if not line:
                self._ended = True
                break
            lines.append(b"" if line == b"\n" else line)
            size += len(line)
        self._line += len(lines)
        if self._progress is not None:
            self._progress(len(lines))
        decoded = self._decoder.decode_batch(lines, range(start, self._line), self._reference)
        events = self._held + decoded.events
        rejected = decoded.rejected if lost is None else [*decoded.rejected, lost]
        ready = len(events) if self._ended else max(0, len(events) - (LOOKAHEAD - 1))
        self._held = events[ready:]
        return self._batches(events[:ready], rejected, start, len(decoded.skipped), size)

    def _batches(
        self, events: list[Event], rejected: list[Rejected], start: int, skipped: int, size: int
    ) -> list[Batch]:
        bucket = start // SPAN
        following = self._held
        batches = []
        earlier = [event for event in events if event.offset // SPAN != bucket]
        if earlier:
            own = events[len(earlier) :]
            batches.append(self._batch(earlier, own + following, earlier[0].offset // SPAN))
            events = own
        batch = self._batch(events, following, bucket)
        batch.rejected, batch.skipped, batch.size = rejected, skipped, size
        # Counted as consumed when read: an event held back follows in the next batch.
        batch.consumed += len(rejected) + skipped
        if self._ended:
            batch.watermark = END_OF_TIME
        batches.append(batch)
        self._pace.report(self._name, batch.watermark)
        return batches

    def _batch(self, events: list[Event], following: list[Event], bucket: int) -> Batch:
        placed = self._clock.place_recorded(events, following)
        return Batch(
            self._origin,
            bucket,
            self._clock.watermark,
            self._clock.start,
            events,
            [],
            consumed=len(events),
            late=placed.late,
            future=placed.future,
        )

    def snapshot(self) -> None:
        """Keep nothing: a replay that was broken off starts anew."""

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


class FileSource(FixedPartitionedSource[Batch, None]):
    """All files of a replay.

    Args:
        files: name to path; names are the partitions.
        formats: how messages are decoded.
        time: how event time is kept.
        format: name of a format, or ``auto``.
        progress: told the number of lines of each batch.
    """

    def __init__(
        self,
        files: dict[str, Path],
        formats: FormatSettings,
        time: TimeSettings,
        format: str = "auto",
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self._files = files
        self._formats = formats
        self._time = time
        self._format = format
        self._progress = progress
        # Each process paces its own files: recordings of different years are read side by side.
        self._pace = Pace(list(files), AHEAD)

    @property
    def origins(self) -> list[str]:
        """Return the partitions as the align step knows them."""
        return [f"{name}-0" for name in self._files]

    def list_parts(self) -> list[str]:
        """Return the files' names."""
        return list(self._files)

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> FilePartition:
        """Open one file."""
        decoder = Decoder(f"{for_part}-0", self._formats, self._format, default_host=Path(for_part).name.split(".")[0])
        clock = EventClock(int(self._time.lateness_seconds * 1e6), int(self._time.future_seconds * 1e6))
        path, limit = self._files[for_part], self._formats.max_raw_bytes
        return FilePartition(for_part, path, decoder, clock, self._pace, limit, self._progress)
