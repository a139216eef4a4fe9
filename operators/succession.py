"""Which version of rules, text model or calibration judges each offset of a partition: written down before it does.

A partition takes a version into force between two batches, when its watermark has reached the time from which that was
activated. The offset is written to a file beside the recovery snapshots first; and so is, for each batch, how far the
partition was judged. What a crash makes the flow read again is thus judged by the version that judged it before, and
a version that nobody knew then begins after it.
"""

from __future__ import annotations

import logging
import mmap
import os
import struct
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from operators.held import Activated, Held

log = logging.getLogger(__name__)

#: Changes of version that a partition remembers.
MAX_REIGNS = 1_000
_MARK = struct.Struct("<q")


class Reign(msgspec.Struct, frozen=True):
    """A version judges from an offset on, until the next does."""

    offset: int
    version: str
    #: Ids of the activations that this one comes of, and of those that it overtook.
    activations: list[str] = []


class Succession:
    """The versions of one partition, by offset.

    Args:
        versions: what this process holds.
        partition: ``topic-partition``.
        folder: where it is written down; None: a restart reads all again anyway.
    """

    def __init__(self, versions: Held[Any], partition: str, folder: Path | None) -> None:
        self._versions = versions
        self._partition = partition
        self._reigns: list[Reign] = []
        self._judged = 0
        self._file: Path | None = None
        self._mark: mmap.mmap | None = None
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = folder / f"{partition}.jsonl"
            self._reigns = _read(self._file)
            self._mark = _open_mark(folder / f"{partition}.judged")
            self._judged = int(_MARK.unpack_from(self._mark)[0])
        self._past = {each for reign in self._reigns for each in reign.activations}
        self._now: Reign | None = None
        self._seen: tuple[Activated, ...] | None = None
        self._waiting: list[Activated] = []

    def version(self, offset: int, watermark: int) -> str:
        """Return the version for a batch that begins at ``offset``, where the watermark is ``watermark``, µs."""
        now = self._at(offset)
        if offset >= max(self._judged, self._reigns[-1].offset):
            due = self._due(watermark)
            if due:
                now = self._succeed(offset, now, due)
        return now.version

    def limit(self, offset: int) -> int:
        """Return the offset, after ``offset``, at which another version takes over; a large number if none does."""
        return next((reign.offset for reign in self._reigns if reign.offset > offset), 2**63 - 1)

    def judged(self, end: int) -> None:
        """Say that a batch goes out that ends before ``end``."""
        if end > self._judged:
            self._judged = end
            if self._mark is not None:
                _MARK.pack_into(self._mark, 0, end)

    def _at(self, offset: int) -> Reign:
        """Return what judges an offset by what is written down."""
        if self._now is not None and self._now.offset <= offset and self._now is self._reigns[-1]:
            return self._now
        if not self._reigns:
            self._write([Reign(offset, self._versions.base, self._versions.past)])
            self._past.update(self._versions.past)
            self._seen = None
        place = max((i for i, reign in enumerate(self._reigns) if reign.offset <= offset), default=0)
        found = self._reigns[place]
        if found is not self._now:
            if not self._versions.need(found.version):
                found = self._replace(place, offset)
            self._now = found
            self._use()
        return found

    def _due(self, watermark: int) -> list[Activated]:
        if self._seen is not self._versions.ready:
            self._seen = self._versions.ready
            self._waiting = [each for each in self._seen if each.id not in self._past]
        # Several may be due at once, as after a long stop: the one that came into force last holds.
        return sorted((each for each in self._waiting if each.from_time <= watermark), key=lambda each: each.order)

    def _succeed(self, offset: int, now: Reign, due: list[Activated]) -> Reign:
        began = time.perf_counter()
        ids = [each.id for each in due]
        self._past.update(ids)
        self._seen = None
        version = due[-1].version
        if not self._versions.need(version):
            return now
        reign = Reign(offset, version, ids)
        if version == now.version:
            # Nothing changes; but it must not come into force again after another has.
            reign = Reign(now.offset, version, [*now.activations, *ids])
            self._write([*self._reigns[:-1], reign])
        else:
            self._write([*self._reigns, reign])
        self._now = reign
        self._use()
        if version != now.version:
            self._versions.swapped(time.perf_counter() - began)
        return reign

    def _replace(self, place: int, offset: int) -> Reign:
        """Let the base judge from an offset on, whose version is not to be had any more."""
        lost = self._reigns[place].version
        log.error(
            "%s: %s from offset %d on was judged by version %s, which is gone; version %s judges instead, also what "
            "is read again",
            self._versions.what, self._partition, offset, lost, self._versions.base,
        )  # fmt: skip
        self._versions.lost()
        kept = [reign for reign in self._reigns[:place] if reign.offset < offset]
        past = [each for reign in self._reigns for each in reign.activations]
        self._write([*kept, Reign(offset, self._versions.base, past)])
        return self._reigns[-1]

    def _write(self, reigns: list[Reign]) -> None:
        if len(reigns) > MAX_REIGNS:  # nothing that is so old is read again
            gone, reigns = reigns[:-MAX_REIGNS], reigns[-MAX_REIGNS:]
            ids = [each for reign in gone for each in reign.activations]
            reigns[0] = msgspec.structs.replace(reigns[0], activations=[*ids, *reigns[0].activations])
        self._reigns = reigns
        if self._file is not None:
            draft = self._file.with_suffix(".new")
            with draft.open("wb") as file:
                file.write(b"".join(msgspec.json.encode(reign) + b"\n" for reign in reigns))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._file)

    def _use(self) -> None:
        assert self._now is not None
        coming = [reign.version for reign in self._reigns if reign.offset > self._now.offset]
        self._versions.use(self._partition, self._now.version, coming)

    def close(self) -> None:
        """Let go of the file."""
        if self._mark is not None:
            self._mark.close()


class Judging(NamedTuple):
    """The versions that judge a batch; empty where there is one for good."""

    rules: str = ""
    model: str = ""
    calibration: str = ""


class Judges:
    """Which rules, model and calibration judge each offset of one partition; None: there is one, for good."""

    def __init__(
        self,
        rules: Succession | None = None,
        model: Succession | None = None,
        calibration: Succession | None = None,
    ) -> None:
        self._each = (rules, model, calibration)
        self._all = [each for each in self._each if each is not None]

    def versions(self, offset: int, watermark: int) -> Judging:
        """Return the versions for a batch that begins at ``offset``."""
        return Judging(*("" if each is None else each.version(offset, watermark) for each in self._each))

    def limit(self, offset: int) -> int:
        """Return the offset, after ``offset``, at which another version takes over; a large number if none does."""
        return min((each.limit(offset) for each in self._all), default=2**63 - 1)

    def judged(self, end: int) -> None:
        """Say that a batch goes out that ends before ``end``."""
        for each in self._all:
            each.judged(end)

    def close(self) -> None:
        """Let go of the files."""
        for each in self._all:
            each.close()


def _read(file: Path) -> list[Reign]:
    """Return what was written down. Raises ValueError if the file is damaged."""
    try:
        lines = file.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    try:
        reigns = [msgspec.json.decode(line, type=Reign) for line in lines]
    except msgspec.DecodeError as error:
        raise ValueError(f"{file}: {error}") from error
    return sorted(reigns, key=lambda reign: reign.offset)


def _open_mark(file: Path) -> mmap.mmap:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_size < _MARK.size:
            os.ftruncate(descriptor, _MARK.size)
        return mmap.mmap(descriptor, _MARK.size)
    finally:
        os.close(descriptor)
