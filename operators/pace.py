"""Keep partitions together in event time: one that is far ahead of the one furthest behind does not read on.

What a partition has read ahead waits in the align step, which releases nothing before all have passed it. So how far
apart partitions are bounds what waits. Results do not depend on it. Pure, but for the memory that workers share.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from collections.abc import MutableSequence, Sequence

from operators.batch import END_OF_TIME, UNKNOWN

#: Seconds for which a look at where all partitions are is good.
LOOK = 0.002


def make_board(partitions: int) -> int:
    """Return the descriptor of memory in which workers can tell each other how far their partitions are.

    Nothing is known of any of them yet. The memory goes with the last descriptor.
    """
    with tempfile.TemporaryFile() as file:
        file.write(UNKNOWN.to_bytes(8, "little", signed=True) * partitions)
        file.flush()
        return os.dup(file.fileno())


def open_board(descriptor: int, partitions: int) -> memoryview:
    """Return the memory as one number a partition, µs; it is the same memory in every process that opens it.

    Each number has one writer, and is written and read whole, being an aligned machine word.
    """
    return memoryview(mmap.mmap(descriptor, 8 * partitions)).cast("q")


class Pace:
    """Where partitions stand in event time, and which of them may read on.

    Only one that has something left to read holds others back, and the one of those that is furthest behind may always
    read: so they never wait for each other. One of which nothing is known yet may read too; the others meanwhile go no
    further than from where the first of them was.

    Args:
        names: all partitions.
        ahead: how far one may be ahead of the one furthest behind, µs of event time.
        clocks: for each, in the order of ``names``, the time that others must wait for, µs: memory that processes
            share. By default of this process only: partitions that nobody reports hold nobody back.

    >>> pace = Pace(["a", "b"], ahead=60)
    >>> pace.report("a", 100), pace.report("b", 170)
    (None, None)
    >>> pace.may_read("a"), pace.may_read("b")
    (True, False)
    """

    def __init__(
        self, names: Sequence[str], ahead: int, clocks: MutableSequence[int] | memoryview | None = None
    ) -> None:
        self._places = {name: place for place, name in enumerate(names)}
        self._ahead = ahead
        self._clocks = [END_OF_TIME] * len(names) if clocks is None else clocks
        #: Watermark of each partition of this process, µs.
        self._own: dict[str, int] = {}
        #: Up to where everybody may read, as of when it was last looked.
        self._limit = UNKNOWN
        self._looked = 0.0
        #: Where the first was whose place became known.
        self._first: int | None = None

    def report(self, name: str, watermark: int, at_end: bool = False) -> None:
        """Say how far a partition is, µs, and whether it is read to its end, so that nobody need wait for it."""
        self._own[name] = watermark
        self._clocks[self._places[name]] = END_OF_TIME if at_end else watermark

    def may_read(self, name: str) -> bool:
        """Say whether a partition is no further ahead than it may be."""
        now = time.monotonic()
        if now - self._looked >= LOOK:
            self._looked = now
            self._limit = self._least() + self._ahead
        return self._own[name] <= self._limit

    def _least(self) -> int:
        clocks = list(self._clocks)
        known = [clock for clock in clocks if clock != UNKNOWN]
        least = min(known, default=END_OF_TIME)
        if self._first is None and least < END_OF_TIME:
            self._first = least
        return least if self._first is None or len(known) == len(clocks) else min(least, self._first)
