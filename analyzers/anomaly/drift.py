"""Whether hosts have lastingly become less usual than they were, by the Page-Hinkley test."""

from __future__ import annotations

import math

import msgspec

#: Windows before anything is told: a day of minutes.
LEAST = 1_440
#: By how much a share must exceed its mean to count at all, and how much of that must add up: a fifth of all hosts
#: for fifty minutes, or all of them for ten.
DELTA, THRESHOLD = 0.005, 10.0
#: How much of what has added up is kept a window.
ALPHA = 1.0 - 1e-4


class Drifted(msgspec.Struct, frozen=True):
    """Shares of hosts before and after a change."""

    before: float
    after: float


class _Saved(msgspec.Struct):
    version: int
    count: float
    mean: float
    increase: float
    least: float
    recent: float


class UnusualDrift:
    """Watch the share of hosts in whose window something is unusual that no shift explains. ``learn`` each window.

    The Page-Hinkley test decides (Page, 1954): it adds up by how much the share exceeds its own mean. After a change
    it begins anew from what is then usual, so a change is told once. In numbers it is ``river.drift.PageHinkley``,
    whose import takes each worker two seconds, for it brings in scikit-learn and pandas.

    >>> watch = UnusualDrift()
    >>> any(watch.learn(0.01) for _ in range(3_000))
    False
    >>> found = [drift for drift in (watch.learn(0.3) for _ in range(200)) if drift]
    >>> len(found), f"{found[0].before:.0%}"
    (1, '1%')
    """

    VERSION = 1
    #: Of the mean of the last windows.
    RATE = 0.1

    def __init__(self) -> None:
        self._recent = 0.0
        self._begin()

    def _begin(self) -> None:
        self._count = self._mean = self._increase = 0.0
        self._least = math.inf
        self._told = False

    def learn(self, share: float) -> Drifted | None:
        """Take in a window's share of hosts, 0 to 1; return what changed, in the window in which that is certain."""
        # It forgets all at the window after the one in which it told.
        before = self._mean
        if self._told:
            self._begin()
        self._recent += self.RATE * (share - self._recent)
        self._count += 1.0
        self._mean += (1.0 / self._count) * (share - self._mean)
        self._increase = ALPHA * self._increase + (share - self._mean) - DELTA
        self._least = min(self._least, self._increase)
        self._told = self._count >= LEAST and self._increase - self._least > THRESHOLD
        return Drifted(before, self._recent) if self._told else None

    def snapshot(self) -> bytes:
        """Return the state as versioned bytes."""
        saved = _Saved(self.VERSION, self._count, self._mean, self._increase, self._least, self._recent)
        if self._told or not self._count:
            saved = _Saved(self.VERSION, 0.0, 0.0, 0.0, 0.0, self._recent)
        return msgspec.msgpack.encode(saved)

    @classmethod
    def restore(cls, state: bytes) -> UnusualDrift:
        """Return one that goes on from a snapshot.

        Raises:
            ValueError: the snapshot is of another version.
        """
        saved = msgspec.msgpack.decode(state, type=_Saved)
        if saved.version != cls.VERSION:
            raise ValueError(f"drift of the fleet: snapshot version {saved.version} cannot be read")
        watch = cls()
        watch._recent = saved.recent
        if saved.count:
            watch._count, watch._mean = saved.count, saved.mean
            watch._increase, watch._least = saved.increase, saved.least
        return watch
