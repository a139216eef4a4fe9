"""The groups of all correlations: within a bound on memory, and forgotten when their window has passed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import msgspec

from analyzers.correlations.groups import NEVER, Group, new_group
from analyzers.rules.correlation import Correlation

Name = tuple[str, ...]


class SavedGroups(msgspec.Struct):
    """The groups of one correlation, as they are stored."""

    key: str
    timespan: int
    lacking: int
    groups: list[tuple[Name, Group]]


class _Groups:
    """The groups of one correlation, the one that was silent for longest first."""

    __slots__ = ("groups", "lacking", "size", "timespan")

    def __init__(self, timespan: int) -> None:
        self.timespan = timespan
        self.groups: OrderedDict[Name, Group] = OrderedDict()
        self.size = 0
        #: Until when a group may lack what was forgotten with another of its name, µs.
        self.lacking = NEVER


class Memory:
    """All groups. What is forgotten depends on what came, in order, and not on when it was looked.

    Args:
        limit: bytes, about.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._all: dict[str, _Groups] = {}
        self.size = 0
        #: Groups, and events of a window, forgotten for want of room since this was last read.
        self.evicted = 0

    def __len__(self) -> int:
        return sum(len(each.groups) for each in self._all.values())

    def get(self, correlation: Correlation, name: Name, now: int) -> Group:
        """Return a group, which is new if it is not known or its last event is too long ago."""
        known = self._all.get(correlation.key)
        if known is None:
            known = self._all[correlation.key] = _Groups(correlation.timespan)
        group = known.groups.get(name)
        if group is None or (not correlation.whole and group.touched <= now - known.timespan):
            if group is not None:
                self.drop(correlation.key, name)
                known = self._all.setdefault(correlation.key, known)
            group = known.groups[name] = new_group(correlation)
            self._grow(known, group.size)
        return group

    def find(self, key: str, name: Name) -> Group | None:
        """Return a group if it is known."""
        known = self._all.get(key)
        return known.groups.get(name) if known is not None else None

    def drop(self, key: str, name: Name) -> None:
        """Forget a group."""
        known = self._all.get(key)
        group = known.groups.pop(name, None) if known is not None else None
        if known is not None and group is not None:
            self._grow(known, -group.size)
            if not known.groups and known.lacking == NEVER:
                del self._all[key]

    def touch(self, key: str, name: Name, now: int, before: int) -> None:
        """Say that a group took in an event, and how large it was before; forget others if there is no room."""
        known = self._all[key]
        group = known.groups[name]
        group.touched = now
        known.groups.move_to_end(name)
        self._grow(known, group.size - before)
        if self.size > self._limit:
            self.expire(now)
            while self.size > self._limit:
                self._evict(now)

    def spare(self, now: int) -> bool:
        """Say whether there is room for copies of events: as long as half of it is left."""
        if self.size > self._limit // 2:
            self.expire(now)
        return self.size <= self._limit // 2

    def lacking(self, key: str) -> int:
        """Return until when groups of a correlation may lack events, a place in time, µs."""
        known = self._all.get(key)
        return known.lacking if known is not None else NEVER

    def expire(self, now: int) -> None:
        """Forget the groups whose last event no window can reach any more."""
        for key in list(self._all):
            known = self._all[key]
            while known.groups:
                group = next(iter(known.groups.values()))
                if group.touched > now - known.timespan:
                    break
                self._grow(known, -group.size)
                known.groups.popitem(last=False)
            if not known.groups and known.lacking <= now:
                del self._all[key]

    def _evict(self, now: int) -> None:
        key = max(self._all, key=lambda key: (self._all[key].size, key))
        known = self._all[key]
        _, group = known.groups.popitem(last=False)
        self._grow(known, -group.size)
        known.lacking = max(known.lacking, now + known.timespan)
        self.evicted += 1

    def _grow(self, known: _Groups, size: int) -> None:
        known.size += size
        self.size += size

    def save(self) -> list[SavedGroups]:
        """Return all groups, to be stored."""
        return [
            SavedGroups(key, each.timespan, each.lacking, list(each.groups.items())) for key, each in self._all.items()
        ]

    def load(self, saved: list[SavedGroups]) -> None:
        """Take in what was stored."""
        for each in saved:
            known = self._all[each.key] = _Groups(each.timespan)
            known.lacking = each.lacking
            known.groups.update(each.groups)
            self._grow(known, sum(group.size for _, group in each.groups))

    def groups(self) -> Iterator[tuple[str, Name, Group]]:
        """Yield all groups with the key of their correlation."""
        for key, known in self._all.items():
            for name, group in known.groups.items():
                yield key, name, group
