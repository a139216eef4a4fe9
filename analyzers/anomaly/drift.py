"""Whether hosts have lastingly become less usual than they were, by River's Page-Hinkley test."""

from __future__ import annotations

from typing import Any

import msgspec

#: Windows before anything is told: a day of minutes.
LEAST = 1_440
#: By how much a share must exceed its mean to count at all, and how much of that must add up: a fifth of all hosts
#: for fifty minutes, or all of them for ten.
DELTA, THRESHOLD = 0.005, 10.0


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

    ``river.drift.PageHinkley`` decides (Page, 1954): it adds up by how much the share exceeds its own mean. After a
    change it begins anew from what is then usual, so a change is told once. River's drift detectors take a second and
    a half to import, so that happens at the first window.

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
        self._detector: Any = None
        self._saved: _Saved | None = None
        self._recent = 0.0

    def learn(self, share: float) -> Drifted | None:
        """Take in a window's share of hosts, 0 to 1; return what changed, in the window in which that is certain."""
        detector = self._detector or self._load()
        before = float(detector._x_mean.get())
        self._recent += self.RATE * (share - self._recent)
        detector.update(share)
        return Drifted(before, self._recent) if detector.drift_detected else None

    def _load(self) -> Any:
        from river import drift

        self._detector = drift.PageHinkley(
            min_instances=LEAST, delta=DELTA, threshold=THRESHOLD, alpha=1.0 - 1e-4, mode="up"
        )
        saved = self._saved
        if saved is not None and saved.count:
            self._detector._x_mean._mean, self._detector._x_mean.n = saved.mean, saved.count
            self._detector._sum_increase, self._detector._min_increase = saved.increase, saved.least
        return self._detector

    def snapshot(self) -> bytes:
        """Return the state as versioned bytes."""
        detector = self._detector
        saved = self._saved or _Saved(self.VERSION, 0.0, 0.0, 0.0, 0.0, 0.0)
        if detector is not None and detector.drift_detected:
            # It forgets all at the next window.
            saved = _Saved(self.VERSION, 0.0, 0.0, 0.0, 0.0, self._recent)
        elif detector is not None:
            mean = detector._x_mean
            saved = _Saved(
                self.VERSION, mean.n, mean.get(), detector._sum_increase, detector._min_increase, self._recent
            )
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
        watch._saved, watch._recent = saved, saved.recent
        return watch
