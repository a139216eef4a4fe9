"""Bring the sightings of all hosts into one order: minute by minute, each when all hosts have said all of it."""

from __future__ import annotations

import msgspec

from analyzers.anomaly.barrier import END, WindowClosed
from analyzers.incidents.sightings import Heard, Sighting


class Minute(msgspec.Struct, frozen=True):
    """All that was sighted in a minute of event time, in canonical order; nothing, if it only passed."""

    #: Its start, µs.
    start: int
    sightings: list[Sighting]
    #: Hosts first heard of, with the time, µs.
    born: list[tuple[str, int]]
    #: Of hosts that were forgotten: when, and since when they had been heard of, µs.
    left: list[tuple[int, int]] = []


class _Saved(msgspec.Struct):
    version: int
    shards: dict[int, int]
    expected: dict[int, int]
    came: dict[int, int]
    sightings: list[Sighting]
    born: list[tuple[str, int]]
    left: list[tuple[int, int]]


class Minutes:
    """Hold sightings until every shard has closed their minute and every item of it was heard of.

    Shards close windows at different moments, and hosts report on different workers, in any order; what is released
    does not depend on that. Closings of one shard come in order of time. What judges windows later than the shards do,
    as the fleet's step, is one more of them.

    >>> minutes = Minutes(1)
    >>> minutes.close(WindowClosed(0, 0, 1))
    >>> minutes.release()
    []
    >>> minutes.hear(Heard("web-1", 0, (Sighting("web-1", 0, "rule", "r", "R", None, 5, 5, 1, "why"),)))
    >>> [(minute.start, len(minute.sightings)) for minute in minutes.release()]
    [(0, 1)]
    """

    VERSION = 1

    def __init__(self, shards: int) -> None:
        self._count = shards
        #: The last window that each shard has closed.
        self._shards: dict[int, int] = {}
        #: Items by the window they are counted with: those that will be heard of, and those that were.
        self._expected: dict[int, int] = {}
        self._came: dict[int, int] = {}
        self._waiting: dict[int, dict[tuple[str, str, str, str], Sighting]] = {}
        self._born: list[tuple[str, int]] = []
        self._left: list[tuple[int, int]] = []

    def close(self, closed: WindowClosed) -> None:
        """Take in that a shard has closed a window."""
        self._shards[closed.shard] = closed.start
        items = closed.hosts + closed.candidates
        if items:
            self._expected[closed.start] = self._expected.get(closed.start, 0) + items

    def hear(self, heard: Heard) -> None:
        """Take in what a host says; of one rule on one host in a minute only one sighting is kept, with a count."""
        self._came[heard.window] = self._came.get(heard.window, 0) + 1
        if heard.born >= 0:
            self._born.append((heard.host, heard.born))
        if heard.left >= 0:
            self._left.append((heard.window, heard.left))
        for sighting in heard.sightings:
            minute = self._waiting.setdefault(sighting.minute, {})
            key = _key(sighting)
            known = minute.get(key)
            minute[key] = sighting if known is None else known.joined(sighting)

    def release(self) -> list[Minute]:
        """Return the minutes that are complete and in which anything was heard of, oldest first.

        A minute in which nothing was sighted says that it is over: that is the time by which incidents end. Which ones
        hosts close does not depend on how far shards got in one go, as the last that they closed would.
        """
        if len(self._shards) < self._count:
            return []
        passed = min(self._shards.values())
        over = set()
        for start in sorted(self._expected):
            if start > passed:
                break
            if self._came.get(start, 0) < self._expected[start]:
                # What is missing may be of this minute.
                passed = start - 1
                break
            del self._expected[start], self._came[start]
            if start < END:
                over.add(start)
        found = []
        for start in sorted({start for start in self._waiting if start <= passed} | over):
            if start not in self._waiting:
                found.append(Minute(start, [], []))
                continue
            sightings = sorted(self._waiting.pop(start).values(), key=lambda sighting: sighting.order)
            born = sorted(item for item in self._born if item[1] <= start)
            self._born = [item for item in self._born if item[1] > start]
            left = sorted(item for item in self._left if item[0] <= start)
            self._left = [item for item in self._left if item[0] > start]
            found.append(Minute(start, sightings, born, left))
        return found

    def snapshot(self) -> bytes:
        """Return the state as versioned bytes."""
        waiting = [sighting for minute in self._waiting.values() for sighting in minute.values()]
        return msgspec.msgpack.encode(
            _Saved(self.VERSION, self._shards, self._expected, self._came, waiting, self._born, self._left)
        )

    @classmethod
    def restore(cls, shards: int, state: bytes) -> Minutes:
        """Return what goes on from a snapshot.

        Raises:
            ValueError: the snapshot is of another version.
        """
        saved = msgspec.msgpack.decode(state, type=_Saved)
        if saved.version != cls.VERSION:
            raise ValueError(f"minutes: snapshot version {saved.version} cannot be read")
        minutes = cls(shards)
        minutes._shards, minutes._expected, minutes._came = saved.shards, saved.expected, saved.came
        minutes._born, minutes._left = saved.born, saved.left
        for sighting in saved.sightings:
            minutes._waiting.setdefault(sighting.minute, {})[_key(sighting)] = sighting
        return minutes


def _key(sighting: Sighting) -> tuple[str, str, str, str]:
    return (sighting.host, sighting.kind, sighting.rule, sighting.suppressed)
