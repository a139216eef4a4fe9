"""How often values are seen in the whole fleet: what a host is measured against that has not shown its own habits."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

#: Length of a window, µs: rates are per host and window. Stored data.
WINDOW = 60_000_000
#: Smallest standard deviation believed of log(1 + count).
SPREAD = 1.0
#: A value's mean and variance of log(1 + count) forget what is further back than this many sightings.
MEMORY = 100
#: What a fleet that has seen nothing knows: half a sighting in a day of one host.
PRIOR_SIGHTINGS = 0.5
PRIOR_WINDOWS = 1_440.0
LN2 = math.log(2.0)
#: Counts above this are taken as this; what is stored has bounds.
MOST_COUNT = 1e15


class Usual(msgspec.Struct, frozen=True):
    """What is usual of one value in the fleet."""

    #: Share of host-windows in which it is seen, above 0.
    rate: float
    #: Mean and variance of log(1 + count) where it is seen.
    mean: float = LN2
    variance: float = SPREAD * SPREAD


#: Of a value that nobody knows, in a fleet that nobody knows.
UNKNOWN = Usual(PRIOR_SIGHTINGS / PRIOR_WINDOWS)


def magnitude(count: float) -> float:
    """Return log(1 + count); 0 for what was not seen, which a count of 0 and less, or no number, says."""
    return math.log1p(min(count, MOST_COUNT)) if count > 0.0 else 0.0


@functools.lru_cache(maxsize=8_192)
def key_of(value: str) -> int:
    """Return the 64-bit hash that stands for a value: a sender may make values long, and state is bounded."""
    return int.from_bytes(hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def exposure(windows: float, half_life: float) -> float:
    """Return how many windows a stretch of ``windows`` is worth when older ones fade, at most ``half_life`` / ln 2."""
    return -math.expm1(-LN2 * windows / half_life) * half_life / LN2


def follow(weight: float, mean: float, variance: float, x: float) -> tuple[float, float, float]:
    """Return weight, mean and variance after ``x``: Welford's at first, of the last ``MEMORY`` or so later on."""
    weight = min(weight + 1.0, MEMORY)
    delta = x - mean
    mean += delta / weight
    return weight, mean, variance + (delta * (x - mean) - variance) / weight


class _Saved(msgspec.Struct):
    version: int
    hosts: int
    fading: float
    now: int
    rows: dict[int, tuple[float, int, float, float, float]]


class Fleet:
    """The fleet's rate of each value, fading by half a day; what ``Rarity`` of a host shrinks to.

    One object sees the windows of all hosts, in order of time: ``usual`` for those of a window, then ``learn_one`` of
    each. Sums do not depend on the order of hosts within a window, but for the last bits; hand them over by name.

    Args:
        half_life: seconds after which a sighting counts half.
        places: values held; beyond them the rarest eighth is forgotten, and rated as if never seen.

    >>> fleet = Fleet()
    >>> fleet.join(0)
    >>> for minute in range(100): fleet.learn_one({"login": 1}, minute * WINDOW)
    >>> fleet.usual(["login", "mimikatz"], 100 * WINDOW)["login"].rate > 0.05
    True
    """

    VERSION = 1

    def __init__(self, half_life: float = 43_200.0, places: int = 4_096) -> None:
        self._half_life = half_life * 1e6 / WINDOW
        self._places = places
        self._hosts = 0
        # Sum over hosts of 2^(-age / half_life), as of _now: from it and their number follows the exposure of all.
        self._fading = 0.0
        self._now = 0
        self._rows: dict[int, tuple[float, int, float, float, float]] = {}

    def join(self, t: int) -> None:
        """Count a host from its first window on, which began at ``t`` (µs)."""
        self._advance(t // WINDOW)
        self._hosts += 1
        self._fading += 1.0

    def leave(self, joined: int, t: int) -> None:
        """Count a host no more that joined at ``joined`` and is forgotten at ``t``; its sightings fade away."""
        self._advance(t // WINDOW)
        self._hosts -= 1
        self._fading = max(0.0, self._fading - self._faded(self._now - joined // WINDOW))

    def usual(self, values: Iterable[str], t: int) -> dict[str, Usual]:
        """Return what is usual of each value at ``t`` (µs); never seen ones among them."""
        now = max(t // WINDOW, self._now)
        fading = self._fading * self._faded(now - self._now)
        windows = (self._hosts - fading) * self._half_life / LN2 + PRIOR_WINDOWS
        found: dict[str, Usual] = {}
        for value in values:
            row = self._rows.get(key_of(value))
            if row is None:
                found[value] = Usual(PRIOR_SIGHTINGS / windows)
            else:
                active, last, _, mean, variance = row
                sightings = active * self._faded(now - last) + PRIOR_SIGHTINGS
                found[value] = Usual(sightings / windows, mean, max(variance, SPREAD * SPREAD))
        return found

    def learn_one(self, x: Mapping[str, float], t: int) -> None:
        """Take in one host's counts of a window that began at ``t`` (µs); counts of 0 and less were not seen."""
        self._advance(t // WINDOW)
        for value, count in x.items():
            seen = magnitude(count)
            if not seen:
                continue
            key = key_of(value)
            active, last, weight, mean, variance = self._rows.get(key, (0.0, self._now, 0.0, seen, SPREAD * SPREAD))
            active = active * self._faded(self._now - last) + 1.0
            self._rows[key] = (active, self._now, *follow(weight, mean, variance, seen))
        if len(self._rows) > self._places:
            self._forget()

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain data."""
        built: dict[str, Any] = msgspec.to_builtins(
            _Saved(self.VERSION, self._hosts, self._fading, self._now, self._rows)
        )
        return built

    @classmethod
    def restore(cls, state: Mapping[str, Any], **settings: Any) -> Fleet:
        """Return a fleet that goes on from a snapshot, to the last bit.

        Raises:
            ValueError: the snapshot is of another version, or none.
        """
        if state.get("version") != cls.VERSION:
            raise ValueError(f"fleet's rates: snapshot version {state.get('version')} cannot be read")
        saved = msgspec.convert(dict(state), _Saved)
        fleet = cls(**settings)
        fleet._hosts, fleet._fading, fleet._now, fleet._rows = saved.hosts, saved.fading, saved.now, saved.rows
        return fleet

    def _advance(self, now: int) -> None:
        if now > self._now:
            self._fading *= self._faded(now - self._now)
            self._now = now

    def _faded(self, windows: int) -> float:
        return float(2.0 ** (-windows / self._half_life))

    def _forget(self) -> None:
        # An eighth at once, so that a sender of ever new values does not make each window sort the table.
        ranked = sorted(
            self._rows, key=lambda key: (self._rows[key][0] * self._faded(self._now - self._rows[key][1]), key)
        )
        for key in ranked[: len(ranked) - self._places * 7 // 8]:
            del self._rows[key]
