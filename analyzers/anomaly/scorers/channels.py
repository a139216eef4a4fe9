"""What can be unusual about a value of one metric. Each channel says how far off it is, then learns it."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from analyzers.anomaly.scorers.packing import Packer, Unpacker

DAY = 86_400_000_000
WEEK = 7 * DAY
#: What no channel exceeds.
FAR = 1e6
#: Bins of a histogram.
BINS = 32
_MASK = (1 << 64) - 1


class Channel(Protocol):
    """One way of being unusual."""

    def raw(self, value: float, time: int, moments: Moments) -> float:
        """Return how far off a value is, 0 or more; without learning it. Time in µs, UTC."""

    def learn(self, value: float, time: int, moments: Moments) -> None:
        """Take a value into account; ``moments`` do not know it yet."""

    def pack(self, packer: Packer) -> None:
        """Add the state."""

    def unpack(self, state: Unpacker) -> None:
        """Take the state back."""


class Moments:
    """Mean and standard deviation of all values so far (Welford)."""

    def __init__(self) -> None:
        self.n = 0
        self.first = 0.0
        self.mean = 0.0
        self._squares = 0.0
        self.sd = 0.0
        #: The least that a spread counts as: rounding is no news.
        self.least = 1e-9

    def learn(self, value: float) -> None:
        """Take a value into account."""
        if self.n == 0:
            self.first = value
        self.n += 1
        off = value - self.mean
        self.mean += off / self.n
        self._squares += off * (value - self.mean)
        self.sd = math.sqrt(self._squares / self.n)
        self.least = 1e-9 * (1.0 + abs(self.mean))

    def pack(self, packer: Packer) -> None:
        """Add the state."""
        packer.doubles([self.n, self.first, self.mean, self._squares])

    def unpack(self, state: Unpacker) -> None:
        """Take the state back."""
        n, self.first, self.mean, self._squares = state.doubles(4)
        self.n = int(n)
        self._derive()

    def _derive(self) -> None:
        self.sd = math.sqrt(self._squares / self.n) if self.n > 1 else 0.0
        self.least = 1e-9 * (1.0 + abs(self.mean))


class Neighbours:
    """Shape: the mean distance of the last 10 values to the 2 nearest of 100 such stretches, over the spread of all.

    The stretches are a uniform sample of the past (reservoir), kept as 32-bit floats less the first value.
    """

    LENGTH, NEAREST, SIZE = 10, 2, 100

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._sample = np.zeros((self.SIZE, self.LENGTH), np.float32)
        self._kept = 0
        self._offered = 0
        #: The values before, and at the end room for the one that is asked about.
        self._recent = np.zeros(self.LENGTH, np.float32)
        self._n = 0

    def raw(self, value: float, time: int, moments: Moments) -> float:
        """Return the distance in standard deviations."""
        if self._n < self.LENGTH - 1 or self._kept < self.NEAREST:
            return 0.0
        self._recent[-1] = value - moments.first
        away = self._sample[: self._kept] - self._recent
        away *= away
        squares = away.dot(_ONES)
        squares.partition(self.NEAREST - 1)
        distance = sum(map(math.sqrt, squares[: self.NEAREST].tolist())) / self.NEAREST
        return min(distance / (moments.sd + moments.least), FAR)

    def learn(self, value: float, time: int, moments: Moments) -> None:
        """Offer the stretch that ends here to the sample."""
        recent = self._recent
        recent[-1] = value - moments.first if moments.n else 0.0
        self._n += 1
        if self._n >= self.LENGTH:
            self._offered += 1
            place = self._kept if self._kept < self.SIZE else self._chance(self._offered)
            if place < self.SIZE:
                self._sample[place] = recent
                self._kept = max(self._kept, place + 1)
        recent[:-1] = recent[1:]

    def _chance(self, below: int) -> int:
        # splitmix64 of the count: the same stream gives the same sample after a restart, and no state is kept.
        x = (self._seed * 0x632BE59BD9B4E019 + self._offered * 0x9E3779B97F4A7C15) & _MASK
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
        return (x ^ (x >> 31)) % below

    def pack(self, packer: Packer) -> None:
        """Add the state."""
        packer.doubles([self._kept, self._offered, self._n])
        packer.array(self._recent[:-1])
        packer.array(self._sample[: self._kept])

    def unpack(self, state: Unpacker) -> None:
        """Take the state back."""
        kept, offered, n = (int(number) for number in state.doubles(3))
        if not 0 <= kept <= self.SIZE:
            raise ValueError(f"a sample of {kept} stretches cannot be")
        self._kept, self._offered, self._n = kept, offered, n
        self._recent[:-1] = state.floats(self.LENGTH - 1)
        self._sample[:kept] = state.floats(kept, self.LENGTH)


_ONES = np.ones(Neighbours.LENGTH, np.float32)


class Season:
    """Residual against the mean of the same hour of the day or week, less its own slow mean, over its spread.

    ``FLOOR`` of the level is added to the spread, which few or very steady values would make too small to divide by.
    A metric without a rhythm is compared with its own level this way. Without times all hours are one.
    """

    SLOW, SPREAD, LEVEL, FLOOR = 0.001, 0.0003, 0.001, 0.02

    def __init__(self, period: int, bins: int, rate: float) -> None:
        self._period, self._bins, self._rate = period, bins, rate
        self._length = period // bins
        self._means = [0.0] * bins
        self._counts = [0] * bins
        self._n = 0
        self._level = 0.0
        self._drift = 0.0
        self._squares = 0.0
        self._weight = 0.0

    def raw(self, value: float, time: int, moments: Moments) -> float:
        """Return the residual in its standard deviations."""
        if self._n <= 1:
            return 0.0
        floor = self.FLOOR * self._level
        spread = math.sqrt(self._squares / self._weight + floor * floor) + 1e-9
        far = abs(value - self.expected(time)) / spread
        return far if far < FAR else FAR

    def expected(self, time: int) -> float:
        """Return the value expected at a time."""
        at = time % self._period // self._length
        return (self._means[at] if self._counts[at] else self._level) + self._drift

    def spread(self) -> float:
        """Return the standard deviation of the residual; 0 while unknown."""
        return math.sqrt(self._squares / self._weight) if self._weight else 0.0

    def learn(self, value: float, time: int, moments: Moments) -> None:
        """Take a value into account."""
        if not self._n:
            self._level = value
        at = time % self._period // self._length
        count = self._counts[at]
        residual = value - (self._means[at] if count else self._level)
        off = residual - self._drift
        rate = 1.0 / (count + 1)
        self._means[at] = self._means[at] + (rate if rate > self._rate else self._rate) * residual if count else value
        if count < 255:
            self._counts[at] = count + 1
        self._n += 1
        rate = 1.0 / self._n
        self._level += (value - self._level) * (rate if rate > self.LEVEL else self.LEVEL)
        self._drift += self.SLOW * (residual - self._drift)
        self._squares += self.SPREAD * (off * off - self._squares)
        self._weight += self.SPREAD * (1.0 - self._weight)

    def pack(self, packer: Packer) -> None:
        """Add the state."""
        packer.doubles([*self._means, self._n, self._level, self._drift, self._squares, self._weight])
        packer.small(self._counts)

    def unpack(self, state: Unpacker) -> None:
        """Take the state back."""
        *self._means, n, self._level, self._drift, self._squares, self._weight = state.doubles(self._bins + 5)
        self._n = int(n)
        self._counts = state.small(self._bins)


class Range:
    """Excess of a fast mean beyond the range it has had, which shrinks slowly, over the spread of all values."""

    FAST, SHRINK, WARM = 0.3, 1e-5, 10

    def __init__(self) -> None:
        self._n = 0
        self._fast = 0.0
        self._low = 0.0
        self._high = 0.0

    def raw(self, value: float, time: int, moments: Moments) -> float:
        """Return the excess in standard deviations."""
        if self._n <= self.WARM or moments.sd <= 0:
            return 0.0
        fast = self._fast + self.FAST * (value - self._fast)
        excess = fast - self._high if fast > self._high else self._low - fast if fast < self._low else 0.0
        return min(excess / (moments.sd + moments.least), FAR)

    def learn(self, value: float, time: int, moments: Moments) -> None:
        """Take a value into account."""
        if self._n == 0:
            self._fast = self._low = self._high = value
        fast = self._fast = self._fast + self.FAST * (value - self._fast)
        high, low = self._high, self._low
        if fast > high:
            high = fast
        elif fast < low:
            low = fast
        less = self.SHRINK * (high - low)
        self._high = high - less if high - less > fast else fast
        self._low = low + less if low + less < fast else fast
        self._n += 1

    def pack(self, packer: Packer) -> None:
        """Add the state."""
        packer.doubles([self._n, self._fast, self._low, self._high])

    def unpack(self, state: Unpacker) -> None:
        """Take the state back."""
        n, self._fast, self._low, self._high = state.doubles(4)
        self._n = int(n)


class Rarity:
    """−log of the share of past values near this one, by a histogram of 32 bins that doubles its reach as needed.

    With ``smooth`` the values are those of an exponentially weighted mean; ``forget`` is what a step takes from the
    past.
    """

    def __init__(self, smooth: float = 1.0, forget: float = 0.0) -> None:
        self._smooth, self._keep = smooth, 1.0 - forget
        self._counts = [0.0] * (BINS + 2)
        self._total = 0.0
        #: What one value weighs today; older ones weigh less.
        self._unit = 1.0
        self._level = 0.0
        self._low = 0.0
        self._width = 0.0

    def raw(self, value: float, time: int, moments: Moments) -> float:
        """Return the rarity."""
        width = self._width
        if not width:
            return 0.0
        x = self._level + self._smooth * (value - self._level)
        unit = self._unit
        total = self._total / unit + 1.0
        place = (x - self._low) / width * BINS
        if not 0.0 <= place <= BINS:
            return -math.log(0.5 / total)
        at, counts = int(place), self._counts
        # An empty bin stands at either end, so that each has two neighbours; what lies on the edge is of the last.
        at = at + 1 if at < BINS else BINS
        near = 0.5 * counts[at] + 0.25 * (counts[at - 1] + counts[at + 1])
        return -math.log((near / unit + 0.5) / total)

    def learn(self, value: float, time: int, moments: Moments) -> None:
        """Count a value."""
        if not self._width:
            self._level, self._low, self._width = value, value, 1e-9 * (1.0 + abs(value))
        x = self._level = self._level + self._smooth * (value - self._level)
        while x < self._low:
            self._double(BINS // 2)
            self._low -= self._width / 2
        while x > self._low + self._width:
            self._double(0)
        at = int((x - self._low) / self._width * BINS)
        unit = self._unit = self._unit / self._keep
        self._counts[at + 1 if at < BINS else BINS] += unit
        self._total += unit
        if unit > 1e12:
            self._counts = [count / unit for count in self._counts]
            self._total /= unit
            self._unit = 1.0

    def _double(self, start: int) -> None:
        """Merge bins in pairs, which then begin at ``start``; the reach is twice as wide."""
        old, self._counts = self._counts, [0.0] * (BINS + 2)
        for at in range(BINS // 2):
            self._counts[1 + start + at] = old[1 + 2 * at] + old[2 + 2 * at]
        self._width *= 2

    def pack(self, packer: Packer) -> None:
        """Add the state."""
        packer.doubles([*self._counts[1:-1], self._total, self._unit, self._level, self._low, self._width])

    def unpack(self, state: Unpacker) -> None:
        """Take the state back."""
        *counts, self._total, self._unit, self._level, self._low, self._width = state.doubles(BINS + 5)
        self._counts = [0.0, *counts, 0.0]
