"""From how far a value is off, to how improbable that is: two ways, both by what the same metric did before."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from analyzers.anomaly.scorers.packing import Packer, Unpacker

#: Values remembered by mean and spread of a channel: 1 / its slowest rate.
HORIZON = 5_000.0
#: Values before a channel says anything.
WARM = 100
#: A deviation beyond this many standard deviations is learned as if it were this large.
CLIP = 60.0
#: What no surprise of one channel exceeds: one in a million.
MOST = 6.0

#: Shares of values of the reference series that lie beyond the points of a calibration table.
SHARES = (0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.003, 0.002, 0.001, 0.0005, 0.0002, 0.0001)
SURPRISES = tuple(-math.log10(share) for share in SHARES)


def surprise(points: Sequence[float], value: float, most: float = MOST) -> float:
    """Return −log10 of the share of reference values beyond ``value``, at most ``most``.

    ``points`` are the values that ``SHARES`` lie beyond; between them it is linear, beyond the last it goes on as over
    the last three pieces.

    >>> surprise(tuple(range(1, 16)), 8.0)
    2.0
    """
    if value <= points[0]:
        return SURPRISES[0] if value == points[0] else 0.0
    if value >= points[-1]:
        slope = (SURPRISES[-1] - SURPRISES[-4]) / (points[-1] - points[-4])
        return min(most, SURPRISES[-1] + (value - points[-1]) * slope)
    at = bisect_right(points, value)
    low, high = points[at - 1], points[at]
    return SURPRISES[at - 1] + (SURPRISES[at] - SURPRISES[at - 1]) * (value - low) / (high - low)


class Likelihood:
    """Compare the mean of a channel's last values with its long mean, in its standard deviations.

    As Numenta's anomaly likelihood does (Ahmad et al., Unsupervised real-time anomaly detection for streaming data,
    2017), with exponentially weighted moments in place of a window.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._last = [0.0] * length
        self._n = 0
        self._mean = 0.0
        self._var = 0.0
        self._sd = 0.0
        self._unit = 1e-9

    def score_one(self, raw: float) -> float:
        """Return the deviation if ``raw`` were next; 0 while warming up."""
        n, last = self._n, self._last
        if n <= WARM:
            return 0.0
        length = self._length
        return ((sum(last) - last[n % length] + raw) / length - self._mean) / self._unit

    def learn_one(self, raw: float) -> None:
        """Take a value of the channel into account."""
        n = self._n
        self._last[n % self._length] = raw
        rate = 1.0 / HORIZON if n >= HORIZON else 1.0 / (n + 1.0)
        off = raw - self._mean
        if n > WARM:
            limit = CLIP * self._sd + 1e-9
            if off > limit:
                off = limit
            elif off < -limit:
                off = -limit
        mean = self._mean = self._mean + rate * off
        self._var = (1.0 - rate) * (self._var + rate * off * off)
        self._n = n + 1
        sd = self._sd = math.sqrt(self._var)
        self._unit = sd + 1e-9 + 1e-3 * (mean if mean > 0 else -mean)

    def _derive(self) -> None:
        self._sd = math.sqrt(self._var)
        self._unit = self._sd + 1e-9 + 1e-3 * abs(self._mean)

    def pack(self, packer: Packer) -> None:
        """Add the state."""
        packer.doubles([*self._last, self._n, self._mean, self._var])

    def unpack(self, state: Unpacker) -> None:
        """Take the state back."""
        *self._last, n, self._mean, self._var = state.doubles(self._length + 3)
        self._n = int(n)
        self._derive()


class Tail:
    """Turn deviations into −log10 of an exponential tail beyond their running 98th percentile (peaks over threshold).

    Siffer et al., Anomaly detection in streams with extreme value theory, 2017, with shape 0, and the percentile
    found by stochastic approximation.
    """

    SHARE = 0.98
    _BASE = -math.log10(1.0 - SHARE)

    def __init__(self) -> None:
        self._n = 0
        self._limit = 0.0
        self._excess = 1.0
        self._beyond = 0
        self._scale = 1.0

    def score_one(self, z: float) -> float:
        """Return the surprise of a deviation; 0 while warming up."""
        if self._n <= WARM:
            return 0.0
        if z > self._limit:
            return (z - self._limit) / (self._excess + 1e-9) * 0.4343 + self._BASE
        return self._BASE * max(0.0, z / self._limit) if self._limit > 0 else 0.0

    def learn_one(self, z: float) -> None:
        """Take a deviation into account."""
        rate = max(1.0 / HORIZON, 1.0 / (self._n + 1.0))
        self._scale += rate * (abs(z) - self._scale)
        step = max(2.0 * rate, 0.005) * self._scale
        self._limit += step * (self.SHARE - (1.0 if z <= self._limit else 0.0))
        if z > self._limit:
            excess = z - self._limit
            slow = max(1.0 / (HORIZON * (1.0 - self.SHARE)), 1.0 / (self._beyond + 1.0))
            self._beyond += 1
            if self._beyond > 6:
                excess = min(excess, 8.0 * self._excess)
            self._excess += slow * (excess - self._excess)
        self._n += 1

    def pack(self, packer: Packer) -> None:
        """Add the state."""
        packer.doubles([self._n, self._limit, self._excess, self._beyond, self._scale])

    def unpack(self, state: Unpacker) -> None:
        """Take the state back."""
        n, self._limit, self._excess, beyond, self._scale = state.doubles(5)
        self._n, self._beyond = int(n), int(beyond)
