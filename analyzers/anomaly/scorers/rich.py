"""The rich scorer: six ways of being unusual, fused; for metrics that deserve it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from analyzers.anomaly.scorers import calibration
from analyzers.anomaly.scorers.channels import DAY, WEEK, Channel, Moments, Neighbours, Range, Rarity, Season
from analyzers.anomaly.scorers.habituation import Habituation
from analyzers.anomaly.scorers.likelihood import Likelihood, Tail, surprise
from analyzers.anomaly.scorers.packing import Packer, Unpacker
from analyzers.anomaly.scorers.scorer import Scorer, time_of, usable


class _Seen(NamedTuple):
    """What was found of a value: computed once for score and learn."""

    value: float
    time: int
    raws: list[float]
    #: Deviations from each channel's own past; of shape before its tail.
    deviations: list[float]
    surprises: list[float]
    fused: float


class RichScorer(Scorer):
    """Fuse shape, hour of day, hour of week, range, rarity and rarity of level into one calibrated probability.

    Each channel's distance becomes a deviation from its own recent past (``Likelihood``; of shape its tail,
    ``Tail``), that a surprise, −log10 of a probability, by a fixed table; surprises are fused as the root of their
    weighted sum of squares. Within ``Habituation``'s silence, scores stay just below ``ALARM``. The first ``WARM``
    values score 0. Peaks and dips count alike. Weights, rates, tables and the level of an alarm were chosen on NAB;
    ``winnow bench nab`` says what that is worth.

    Parameters
    ----------
    alarm
        Surprise, fused, from which a value is an alarm.
    silence
        Values for which an alarmed metric stays silent.
    seed
        Of the sample of shapes.

    Examples
    --------
    >>> scorer = RichScorer()
    >>> for minute in range(2_000):
    ...     scorer.learn_one({"time": minute * 60_000_000}, 50 + minute % 7)
    >>> score = scorer.score_one({"time": 2_000 * 60_000_000}, 500)
    >>> score > scorer.ALARM > scorer.score_one({"time": 2_000 * 60_000_000}, 53)
    True
    """

    name: ClassVar[str] = "rich"
    VERSION: ClassVar[int] = 1
    LIMIT: ClassVar[int] = 8_000
    WARM: ClassVar[int] = 150
    ALARM: ClassVar[float] = calibration.probability(calibration.RICH, calibration.RICH_ALARM)
    CHANNELS: ClassVar[tuple[str, ...]] = ("shape", "hour_of_day", "hour_of_week", "range", "rarity", "level_rarity")
    WEIGHTS: ClassVar[tuple[float, ...]] = (1.0, 0.5, 1.0, 1.0, 1.0, 1.4)
    #: Values whose mean is compared with the past.
    LENGTHS: ClassVar[tuple[int, ...]] = (4, 5, 2, 3, 5, 8)

    def __init__(self, alarm: float = calibration.RICH_ALARM, silence: int = 100, seed: int = 1) -> None:
        self.alarm = alarm
        self.silence = silence
        self.seed = seed
        self._moments = Moments()
        self._day, self._week = Season(DAY, 24, 0.03), Season(WEEK, 168, 0.2)
        self._channels: tuple[Channel, ...] = (
            Neighbours(seed),
            self._day,
            self._week,
            Range(),
            Rarity(),
            Rarity(smooth=0.02, forget=0.0005),
        )
        self._likelihoods = [Likelihood(length) for length in self.LENGTHS]
        self._tail = Tail()
        self._habituation = Habituation(alarm, silence)
        self._seen: _Seen | None = None

    def score_one(self, x: Mapping[str, Any] | None, y: float) -> float:
        """Return how unusual a value is, 0 to 1; 0 while warming up."""
        if self._moments.n < self.WARM or not usable(y):
            return 0.0
        fused = self._look(x, y).fused
        if fused >= self.alarm and not self._habituation.alarms(fused):
            fused = 0.99 * self.alarm
        return calibration.probability(calibration.RICH, fused)

    def learn_one(self, x: Mapping[str, Any] | None, y: float) -> None:
        """Take a value into account."""
        if not usable(y):
            return
        value, time, raws, deviations, _, fused = self._look(x, y)
        moments = self._moments
        for channel, likelihood, raw in zip(self._channels, self._likelihoods, raws, strict=True):
            channel.learn(value, time, moments)
            likelihood.learn_one(raw)
        self._tail.learn_one(deviations[0])
        # What is said to nobody while warming up is nothing to get used to.
        self._habituation.learn_one(fused if moments.n >= self.WARM else 0.0)
        moments.learn(value)
        self._seen = None

    def fused(self, x: Mapping[str, Any] | None, y: float) -> float:
        """Return the fused surprise of a value, before habituation."""
        return self._look(x, y).fused if usable(y) else 0.0

    def deviations(self, x: Mapping[str, Any] | None, y: float) -> list[float]:
        """Return what the tables of calibration are asked: a deviation a channel, of shape its tail."""
        first, *others = self._look(x, y).deviations
        return [self._tail.score_one(first), *others]

    def surprises(self, x: Mapping[str, Any] | None, y: float) -> dict[str, float]:
        """Return −log10 of the probability of a value by each channel, at most 6."""
        return dict(zip(self.CHANNELS, self._look(x, y).surprises, strict=True))

    def band(self, x: Mapping[str, Any] | None, deviations: float = 3.0) -> tuple[float, float]:
        """Return the values expected at this hour of the day, within a number of standard deviations."""
        middle, spread = self._day.expected(time_of(x)), self._day.spread()
        return middle - deviations * spread, middle + deviations * spread

    def snapshot(self) -> bytes:
        """Return the state as versioned bytes, at most ``LIMIT``."""
        packer = Packer(self.name, self.VERSION)
        for part in self._parts():
            part.pack(packer)
        return packer.bytes()

    def load(self, state: bytes) -> None:
        """Go on from a snapshot; ValueError if it cannot be read."""
        unpacker = Unpacker(state, self.name, self.VERSION)
        for part in self._parts():
            part.unpack(unpacker)
        unpacker.end()
        self._seen = None

    def _parts(self) -> list[Any]:
        return [self._moments, *self._channels, *self._likelihoods, self._tail, self._habituation]

    def _look(self, x: Mapping[str, Any] | None, y: float) -> _Seen:
        """Return what is found of a value; of the one asked last without finding it anew."""
        time, value, last = time_of(x), float(y), self._seen
        if last is not None and last.value == value and last.time == time:
            return last
        moments = self._moments
        raws = [channel.raw(value, time, moments) for channel in self._channels]
        deviations = [likelihood.score_one(raw) for likelihood, raw in zip(self._likelihoods, raws, strict=True)]
        asked = [self._tail.score_one(deviations[0]), *deviations[1:]]
        surprises = [surprise(points, z) for points, z in zip(calibration.RICH_CHANNELS, asked, strict=True)]
        squares = 0.0
        for weight, one in zip(self.WEIGHTS, surprises, strict=True):
            squares += weight * one * one
        self._seen = _Seen(value, time, raws, deviations, surprises, math.sqrt(squares))
        return self._seen
