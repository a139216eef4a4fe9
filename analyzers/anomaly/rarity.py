"""How rare is what a host shows in a window: alerts, rule matches, or any values that are counted."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

from river import base

from analyzers.anomaly.rarity_fleet import SPREAD, UNKNOWN, WINDOW, Usual, exposure, follow, key_of, magnitude
from analyzers.anomaly.surprise import Standing
from analyzers.anomaly.surprise import Surprise as Surprise

#: One value held: key, decayed number of windows with it, last of them, and weight, mean and variance of
#: log(1 + count). Half precision is finer than the least spread. Stored data.
ROW = struct.Struct("<QfIBee")
#: Decades from which a surprise supports another of the same window, or raises those of the following minutes.
NOTABLE = 3.0
#: Half-life of that rise, in windows.
CARRY_HALF_LIFE = 30.0
#: Decades beyond which a probability of 1 - 10^-s is 1 in a float.
MOST = 15.0


class Rarity(base.AnomalyDetector):
    """Score a host's counts of values in a window by how seldom, and how much, each is seen on it.

    The surprise of a value is -log10(1 - exp(-λ)), λ the number of windows with it that are expected in one: sightings
    over windows, both fading, shrunk to the fleet's rate by ``strength``. To that comes half the surprise of its
    count, a normal tail of log(1 + count), capped. The window's surprise is that of its most surprising value, and

    - ``others`` times what the rest have above NOTABLE decades,
    - ``carry`` times what an earlier window had above it, halved every half hour, for attacks have more than one step.

    Counts only what is seen: an empty window scores 0, and time without windows is a gap like any other.

    Args:
        half_life: seconds after which a sighting counts half.
        strength: seconds of the host's own past that weigh as much as the fleet.
        places: values held of a host. Beyond them the rarest gives way. How often that happens is held too, and
            from then on a value that is not held counts as one of those, so that a host whose values are always
            new is not always rare.
        others: weight of the window's further surprises.
        carry: weight of earlier windows' surprises.

    >>> rarity = Rarity()
    >>> for minute in range(3_000): rarity.learn_one({"login": 2.0}, t=minute * WINDOW)
    >>> at = 3_000 * WINDOW
    >>> round(rarity.surprise_one({"login": 2.0}, t=at), 2), round(rarity.surprise_one({"mimikatz": 1.0}, t=at), 2)
    (0.8, 3.59)
    """

    VERSION = 1

    def __init__(
        self,
        half_life: float = 43_200.0,
        strength: float = 172_800.0,
        places: int = 40,
        others: float = 0.2,
        carry: float = 0.3,
    ) -> None:
        self.half_life = half_life
        self.strength = strength
        self.places = places
        self.others = others
        self.carry = carry
        self._rows = bytearray()
        #: First and last window, numbered from the epoch; -1 before any.
        self._birth = -1
        self._now = -1
        #: Decayed number of values that had to give way, and the window as of which.
        self._pushed = 0.0
        self._pushed_at = 0
        self._risk = 0.0
        self._risk_at = 0

    @property
    def born(self) -> int:
        """Return when the first window learned began, µs; -1 before any."""
        return self._birth * WINDOW if self._birth >= 0 else -1

    def score_one(
        self, x: Mapping[Any, float], *, t: int | None = None, usual: Mapping[str, Usual] | None = None
    ) -> float:
        """Return 1 - 10^-surprise, 0 to 1; arguments as of ``surprise_one``."""
        return -math.expm1(-math.log(10.0) * min(self.surprise_one(x, t=t, usual=usual), MOST))

    def surprise_one(
        self, x: Mapping[Any, float], *, t: int | None = None, usual: Mapping[str, Usual] | None = None
    ) -> float:
        """Return the window's surprise, decades. Does not learn.

        Args:
            x: count by value; 0 and less is not seen.
            t: when the window began, µs; by default right after the last one learned.
            usual: what is usual of each value in the fleet, of ``Fleet.usual``; by default nothing is known of it.
        """
        now = self._window(t)
        own = self._own(self.surprises(x, t=t, usual=usual))
        return own + self.carry * self._carried(now) if own else 0.0

    def surprises(
        self, x: Mapping[Any, float], *, t: int | None = None, usual: Mapping[str, Usual] | None = None
    ) -> list[Surprise]:
        """Return each value's surprise, the greatest first; arguments as of ``surprise_one``."""
        found = [
            self.standing(value, t=t).surprise(value, count, UNKNOWN if usual is None else usual.get(value, UNKNOWN))
            for value, count in x.items()
            if magnitude(count)
        ]
        found.sort(key=lambda surprise: (-surprise.total, surprise.value))
        return found

    def standing(self, value: str, *, t: int | None = None) -> Standing:
        """Return what this host has shown of a value before the window that began at ``t`` (µs). Does not learn."""
        now = self._window(t)
        half_life, strength = self.half_life * 1e6 / WINDOW, self.strength * 1e6 / WINDOW
        windows = exposure(now - self._birth, half_life) if self._birth >= 0 else 0.0
        at = self._find(key_of(value))
        if at < 0:
            return Standing(self._pushed * 2.0 ** ((self._pushed_at - now) / half_life), windows, strength)
        _, active, last, weight, mean, variance = ROW.unpack_from(self._rows, at)
        return Standing(active * 2.0 ** ((last - now) / half_life), windows, strength, weight, mean, variance)

    def learn_one(
        self, x: Mapping[Any, float], *, t: int | None = None, usual: Mapping[str, Usual] | None = None
    ) -> None:
        """Take a window into account; arguments as of ``surprise_one``. Windows come in order of time."""
        now = self._window(t)
        own = self._own(self.surprises(x, t=t, usual=usual))
        if self._birth < 0:
            self._birth = now
        if own > NOTABLE:
            self._risk, self._risk_at = max(own - NOTABLE, self._carried(now)), now
        half_life = self.half_life * 1e6 / WINDOW
        for value in sorted(x):
            seen = magnitude(x[value])
            if not seen:
                continue
            key = key_of(value)
            at = self._find(key)
            if at < 0:
                active, last, weight, mean, variance = 0.0, now, 0, seen, SPREAD * SPREAD
                at = self._place(now)
            else:
                _, active, last, weight, mean, variance = ROW.unpack_from(self._rows, at)
            active = active * 2.0 ** ((last - now) / half_life) + 1.0
            followed, mean, variance = follow(weight, mean, variance, seen)
            ROW.pack_into(self._rows, at, key, active, now, int(followed), mean, variance)
        self._now = now

    def snapshot(self) -> tuple[int, int, int, float, int, float, int, bytes]:
        """Return the state as plain data, at most 1 kB with 40 places."""
        pushed, risk = (self._pushed, self._pushed_at), (self._risk, self._risk_at)
        return (self.VERSION, self._birth, self._now, *pushed, *risk, bytes(self._rows))

    @classmethod
    def restore(cls, state: tuple[int, int, int, float, int, float, int, bytes], **settings: Any) -> Rarity:
        """Return an estimator that goes on from a snapshot, to the last bit.

        Raises:
            ValueError: the snapshot is of another version, or broken.
        """
        version, *_, rows = state
        rarity = cls(**settings)
        if version != cls.VERSION:
            raise ValueError(f"rarity: snapshot version {version} cannot be read")
        if len(rows) % ROW.size or len(rows) > ROW.size * rarity.places:
            raise ValueError(f"rarity: {len(rows)} bytes are not rows of {rarity.places} values at most")
        _, rarity._birth, rarity._now, rarity._pushed, rarity._pushed_at, rarity._risk, rarity._risk_at, _ = state
        rarity._rows = bytearray(rows)
        return rarity

    def _window(self, t: int | None) -> int:
        # A window older than the last is judged as if it were the last: weights of more than 1 would be nonsense.
        return self._now + 1 if t is None else max(t // WINDOW, self._now, 0)

    def _own(self, found: list[Surprise]) -> float:
        if not found:
            return 0.0
        return found[0].total + self.others * sum(max(0.0, other.total - NOTABLE) for other in found[1:])

    def _carried(self, now: int) -> float:
        return float(self._risk * 2.0 ** ((self._risk_at - now) / CARRY_HALF_LIFE))

    def _find(self, key: int) -> int:
        """Return where a value's row is, or -1."""
        sought = key.to_bytes(8, "little")
        at = self._rows.find(sought)
        while at >= 0 and at % ROW.size:
            at = self._rows.find(sought, at + 1)
        return at

    def _place(self, now: int) -> int:
        """Return where a new row goes: at the end, or in place of the rarest."""
        if len(self._rows) < self.places * ROW.size:
            self._rows += bytes(ROW.size)
            return len(self._rows) - ROW.size
        half_life = self.half_life * 1e6 / WINDOW

        def kept(at: int) -> tuple[float, int]:
            key, active, last, *_ = ROW.unpack_from(self._rows, at)
            return active * 2.0 ** ((last - now) / half_life), key

        self._pushed = self._pushed * 2.0 ** ((self._pushed_at - now) / half_life) + 1.0
        self._pushed_at = now
        return min(range(0, len(self._rows), ROW.size), key=kept)
