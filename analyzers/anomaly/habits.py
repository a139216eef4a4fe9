"""The habits of a host: how unusual each of its metrics is in a window, and whether that is worth saying."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from analyzers.anomaly.budget import Alarm, Verdict
from analyzers.anomaly.budget_anomaly import UNUSUAL, Reading, decades, unusual
from analyzers.anomaly.scorers.light import Band, LightBank
from analyzers.anomaly.scorers.registry import make_scorer, scorer_types
from analyzers.anomaly.scorers.scorer import TIME, Scorer
from analyzers.anomaly.settings import AnomalySettings, BudgetSettings
from analyzers.metrics import Meaning, Metric, MetricSet

#: Scorer of every metric of which the settings say nothing.
DEFAULT = LightBank.NAME
#: Decades that a score of ``ALARM`` counts as, where a scorer gives no probabilities.
UNCALIBRATED = 3.0


class Judged(msgspec.Struct, frozen=True):
    """What became of a window."""

    #: Score of each metric, by index in the metric set: 0 to 1, -1 while it is being learned.
    scores: dict[int, float]
    #: Of the host's alarm; none if nothing was unusual enough to be asked about.
    verdict: Verdict | None = None


class _Saved(msgspec.Struct):
    version: int
    born: int | None
    #: Metric of each column, by index in the metric set.
    metrics: list[int]
    bank: bytes
    #: Scorers that the settings chose: name and state.
    chosen: dict[int, tuple[str, bytes]]
    alarm: bytes


class Habits:
    """What is usual of a host's metrics. ``judge`` once a window, in order of time; it scores, then learns.

    Every metric seen on the host is scored by one call of a ``LightBank``, before its habituation: the host's ``Alarm``
    has its own. A metric seen before and absent now counts as 0. Scorers see square roots, by which the spread of
    counts is much the same at any level (Anscombe, 1948): one large peak does not hide the dips. What the settings
    choose another scorer for is in the bank too, for its band.

    A peak tells if it is above the band and the metric's ``floor``, a dip if it is below the band and the middle of
    that is at least ``usual``; either only if the metric says what it means.

    >>> from analyzers.metrics import MetricSet
    >>> habits = Habits("web-1", MetricSet.load(), AnomalySettings(warm_hours=0))
    >>> for minute in range(300):
    ...     judged = habits.judge(minute * 60_000_000, {0: 250.0 + minute % 7})
    >>> judged.verdict is None, 0.0 < judged.scores[0] < 0.9
    (True, True)
    >>> habits.judge(300 * 60_000_000, {0: 4_000.0}).verdict.anomaly.lead.side
    'peak'
    """

    VERSION = 1

    def __init__(self, host: str, metrics: MetricSet, settings: AnomalySettings) -> None:
        self._host = host
        self._metrics = metrics
        self._settings = settings
        self._born: int | None = None
        self._order: list[int] = []
        self._bank = LightBank(0)
        self._chosen: dict[int, Scorer] = {}
        self._alarm = Alarm(host, settings)

    @property
    def refused(self) -> int:
        """Return how many anomalies the budget had no room for."""
        return self._alarm.refused

    def judge(
        self,
        start: int,
        values: Mapping[int, float],
        limited: Collection[int] = (),
        budget: BudgetSettings | None = None,
    ) -> Judged:
        """Score a window, judge it, and learn from it.

        Args:
            start: start of the window, µs.
            values: of the metrics seen in it, by index in the metric set.
            limited: metrics about which a limit says all there is to say: they tell no anomaly.
            budget: what holds in this window, if not what is configured.
        """
        self._grow(start, values)
        if not self._order:
            return Judged({})
        # A sum of what a sender says may be negative.
        row = np.sqrt([max(values.get(index, 0.0), 0.0) for index in self._order])
        surprises = self._bank.surprises(row, start)
        scores = 1.0 - 10.0**-surprises
        scores[~self._bank.warm] = -1.0
        for index, scorer in self._chosen.items():
            self._score_chosen(index, scorer, start, row, scores, surprises)
        budget = budget or self._settings
        verdict = self._verdict(start, values, surprises, limited, budget)
        self._bank.learn(row, start)
        return Judged(dict(zip(self._order, scores.tolist(), strict=True)), verdict)

    def _grow(self, start: int, values: Mapping[int, float]) -> None:
        if self._born is None:
            self._born = start
        new = sorted(values.keys() - self._order)
        if not new:
            return
        self._order += new
        self._bank.grow(len(self._order))
        for index in new:
            name = self._settings.scorers.get(self._metrics.names[index], DEFAULT)
            if name != DEFAULT:
                self._chosen[index] = make_scorer(name)

    def _score_chosen(
        self,
        index: int,
        scorer: Scorer,
        start: int,
        row: npt.NDArray[np.float64],
        scores: npt.NDArray[np.float64],
        surprises: npt.NDArray[np.float64],
    ) -> None:
        column, x = self._order.index(index), {TIME: start}
        value = float(row[column])
        score = scorer.score_one(x, value)
        surprise = decades(score)
        if not scorer.PROBABILITIES and score >= scorer.ALARM:
            surprise = max(surprise, UNCALIBRATED)
        surprises[column] = surprise
        scores[column] = score if score > 0.0 or scores[column] >= 0.0 else -1.0
        scorer.learn_one(x, value)

    def _verdict(
        self,
        start: int,
        values: Mapping[int, float],
        surprises: npt.NDArray[np.float64],
        limited: Collection[int],
        budget: BudgetSettings,
    ) -> Verdict | None:
        if surprises.max() < max(budget.least, UNUSUAL):
            return None
        band = self._bank.band(start)
        readings = [
            self._reading(column, values.get(self._order[column], 0.0), float(surprises[column]), band, limited)
            for column in np.flatnonzero(surprises >= UNUSUAL).tolist()
        ]
        window = unusual(self._host, start, start if self._born is None else self._born, readings, budget.least)
        if window is None:
            return None
        self._alarm.settings = budget
        return self._alarm.judge(window)

    def _reading(self, column: int, value: float, surprise: float, band: Band, limited: Collection[int]) -> Reading:
        index = self._order[column]
        metric = self._metrics.metrics[index]
        # What is counted is never below 0.
        middle, low, high = (max(float(edge[column]), 0.0) ** 2 for edge in band)
        if value > high:
            tells = metric.peak is not None and value >= metric.floor
        else:
            tells = metric.dip is not None and value < low and middle >= metric.usual
        meaning = metric.dip if value < middle else metric.peak
        said = tags(meaning) if meaning else ()
        tells = tells and index not in limited
        return Reading(metric.name, value, surprise, low, high, said, tells=tells, middle=middle)

    def snapshot(self) -> bytes:
        """Return the state as versioned bytes."""
        chosen = {index: (scorer.name, scorer.snapshot()) for index, scorer in self._chosen.items()}
        saved = _Saved(self.VERSION, self._born, self._order, self._bank.snapshot(), chosen, self._alarm.snapshot())
        return msgspec.msgpack.encode(saved)

    @classmethod
    def restore(
        cls, host: str, metrics: MetricSet, settings: AnomalySettings, state: bytes, moved: Mapping[int, int]
    ) -> Habits:
        """Return habits that go on from a snapshot.

        ``moved`` maps indices of the metric set then to those of ``metrics``; a metric without one is dropped. A metric
        for which the settings chose another scorer since begins anew with that.

        Raises:
            ValueError: the snapshot is of another version.
        """
        saved = msgspec.msgpack.decode(state, type=_Saved)
        if saved.version != cls.VERSION:
            raise ValueError(f"habits of {host}: snapshot version {saved.version} cannot be read")
        habits = cls(host, metrics, settings)
        habits._born = saved.born
        habits._alarm = Alarm.restore(settings, saved.alarm)
        habits._bank.load(saved.bank)
        columns = [column for column, index in enumerate(saved.metrics) if index in moved]
        if len(columns) < len(saved.metrics):
            habits._bank.keep(columns)
        habits._order = [moved[saved.metrics[column]] for column in columns]
        before = {moved[index]: chosen for index, chosen in saved.chosen.items() if index in moved}
        for index in habits._order:
            name = settings.scorers.get(metrics.names[index], DEFAULT)
            if name == DEFAULT:
                continue
            known, numbers = before.get(index, ("", b""))
            habits._chosen[index] = scorer_types()[name].restore(numbers) if known == name else make_scorer(name)
        return habits


def tags(meaning: Meaning) -> tuple[str, ...]:
    """Return tactics and techniques as Sigma tags them.

    >>> tags(Meaning("Password brute force", "high", ("T1110",), ("credential-access",)))
    ('attack.credential-access', 'attack.t1110')
    """
    return tuple(f"attack.{name.lower()}" for name in (*meaning.tactics, *meaning.techniques))


def meaning_of(metric: Metric, reading: Reading) -> Meaning | None:
    """Return what a reading of a metric means, if it means anything."""
    return metric.dip if reading.side == "dip" else metric.peak
