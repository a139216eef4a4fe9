"""How surprising a value is: a host's past measured against the fleet's. Free of River, which takes long to import."""

from __future__ import annotations

import math

import msgspec

from analyzers.anomaly.rarity_fleet import SPREAD, UNKNOWN, Usual, magnitude

#: Share of the count's surprise that is added to the gap's, and the most that is believed of it (decades).
COUNT_WEIGHT = 0.5
COUNT_CAP = 6.0
#: Sightings that the fleet's mean and variance of a count are worth beside the host's own.
COUNT_PRIOR = 5.0


class Surprise(msgspec.Struct, frozen=True):
    """Why a value is rare."""

    value: str
    count: float
    #: Decades, -log10 of a probability: seen at all, and so often. ``total`` is gap + COUNT_WEIGHT * times.
    gap: float
    times: float
    total: float
    #: Windows in which it is expected once; of the host's past, shrunk to the fleet's.
    expected_every: float


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """What a host has shown of one value so far: the host's side of a surprise, to be measured against the fleet."""

    #: Fading number of windows with the value, and of all windows.
    active: float
    windows: float
    #: Windows of its own past that weigh as much as the fleet.
    strength: float
    #: Sightings, mean and variance of log(1 + count) where it was seen.
    weight: float = 0.0
    mean: float = 0.0
    variance: float = 0.0

    def surprise(self, value: str, count: float, fleet: Usual = UNKNOWN) -> Surprise:
        """Return how surprising ``count`` of the value is in a window, in a fleet in which ``fleet`` is usual of it."""
        total = self.weight + COUNT_PRIOR
        mean = (self.weight * self.mean + COUNT_PRIOR * fleet.mean) / total
        variance = (self.weight * self.variance + COUNT_PRIOR * fleet.variance) / total
        rate = (self.active + self.strength * fleet.rate) / (self.windows + self.strength)
        gap = -math.log10(-math.expm1(-rate))
        z = (magnitude(count) - mean) / max(math.sqrt(variance), SPREAD)
        times = min(-math.log10(max(0.5 * math.erfc(z / math.sqrt(2.0)), 1e-12)), COUNT_CAP) if z > 0 else 0.0
        return Surprise(value, count, gap, times, gap + COUNT_WEIGHT * times, 1.0 / rate)
