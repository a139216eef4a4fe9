"""What an anomaly says of itself: value, expected band, since when it is unusual, and what moved with it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from analyzers.anomaly.rarity import MOST, Surprise
from state.alerts import iso

Side = Literal["peak", "dip", "rare"]
#: Decades from which a metric counts as having moved, and is unusual since: one window in a hundred.
UNUSUAL = 2.0
#: How many metrics that moved with it an anomaly names.
COMPANIONS = 3
#: Readings of a window that are looked at.
READINGS = 32
#: Characters of a rare value that name it: values may be a sender's.
NAME = 200


def decades(score: float) -> float:
    """Return a score of 0 to 1, a probability of something less unusual, as surprise: -log10(1 - score).

    Scores below 0 are of scorers that are warming up and have no surprise; so has a score that is no number.

    >>> decades(0.999), decades(-1.0), decades(1.0)
    (3.0, 0.0, 15.0)
    """
    if not score > 0.0:
        return 0.0
    return MOST if score >= 1.0 else min(round(-math.log10(1.0 - score), 12), MOST)


class Reading(msgspec.Struct, frozen=True):
    """One metric of a host in a window, as its scorer saw it before it learned."""

    metric: str
    value: float
    #: How unusual, decades: ``decades(scorer.score_one(value))``, or what ``Rarity`` says.
    surprise: float
    #: The band of values expected.
    low: float
    high: float
    tags: tuple[str, ...] = ()
    #: Windows in which the value is expected once, of what is rare and not much or little; 0 otherwise.
    expected_every: float = 0.0
    #: Whether an anomaly may be about it; what does not tell is only named beside one that does.
    tells: bool = True
    #: The value expected; unset: the middle of the band.
    middle: float | None = None

    @property
    def side(self) -> Side:
        """Return on which side of what is expected the value lies."""
        if self.expected_every:
            return "rare"
        middle = (self.low + self.high) / 2.0 if self.middle is None else self.middle
        return "dip" if self.value < middle else "peak"


class Unusual(msgspec.Struct, frozen=True):
    """A window of a host in which some reading is unusual: all that need leave the host's step to be judged."""

    host: str
    #: Start of the window, µs.
    time: int
    #: Start of the host's first window, µs.
    born: int
    #: Readings of ``UNUSUAL`` decades and more, the most unusual first; at most ``READINGS``.
    readings: tuple[Reading, ...]


def unusual(host: str, time: int, born: int, readings: Iterable[Reading], least: float) -> Unusual | None:
    """Return what is unusual of a window, or ``None`` if no reading that tells has ``least`` decades."""
    found = [reading for reading in readings if reading.surprise >= UNUSUAL]
    if not any(reading.tells and reading.surprise >= least for reading in found):
        return None
    # What tells has a place before what does not.
    found.sort(key=lambda reading: (not reading.tells, -reading.surprise, reading.metric))
    return Unusual(host, time, born, tuple(sorted(found[:READINGS], key=_order)))


def _order(reading: Reading) -> tuple[float, str]:
    return -reading.surprise, reading.metric


class Anomaly(msgspec.Struct, frozen=True):
    """A window of a host that is unusual enough to be said, in numbers."""

    host: str
    #: Start of the window, µs.
    time: int
    #: Start of the window whose anomaly this one is added to, or its own, µs: one alert a host and ``opened``.
    opened: int
    lead: Reading
    #: Start of the first window from which on the metric was unusual without a break, µs.
    since: int
    #: The most unusual other metrics of the window that were unusual themselves, the most so first; at most three.
    moved: tuple[Reading, ...] = ()
    #: All readings that passed the threshold, the lead first.
    passed: tuple[Reading, ...] = ()
    #: Decades that had to be passed.
    threshold: float = 0.0

    @property
    def tags(self) -> tuple[str, ...]:
        """Return the tags of all that passed, each once, those of the lead first."""
        return tuple(dict.fromkeys(tag for reading in self.passed for tag in reading.tags))

    def text(self) -> str:
        """Return the explanation as one sentence."""
        said = (
            f"{self.lead.metric} was {_number(self.lead.value)} on {self.host} at {iso(self.time)}; {_usual(self.lead)}"
        )
        if self.since < self.time:
            said += f"; unusual since {iso(self.since)}"
        if self.moved:
            said += "; with it moved " + ", ".join(f"{other.metric} ({_number(other.value)})" for other in self.moved)
        return said


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000.0 else f"{value:,.3g}"


def _usual(reading: Reading) -> str:
    if reading.side != "rare":
        return f"{_number(reading.low)} to {_number(reading.high)} is usual here"
    hours = reading.expected_every / 60.0
    often = f"{reading.expected_every:,.0f} minutes" if hours < 2 else f"{hours:,.0f} hours"
    return f"it is seen here once in {often} or so"


def rare_readings(found: Sequence[Surprise], surprise: float, tags: tuple[str, ...] = ()) -> list[Reading]:
    """Return what ``Rarity.surprises`` found as readings; the first bears the whole window's surprise."""
    return [
        Reading(one.value[:NAME], one.count, one.total if place else surprise, 0.0, 0.0, tags, one.expected_every)
        for place, one in enumerate(found)
    ]
