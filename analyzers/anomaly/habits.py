"""The habits of a host: how unusual each of its metrics is in a window."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from analyzers.anomaly.budget_anomaly import UNUSUAL, Reading, Unusual, decades, unusual
from analyzers.anomaly.scorers.registry import make_scorer, scorer_types
from analyzers.anomaly.scorers.scorer import TIME, Scorer
from analyzers.anomaly.scorers.windows import Band, WindowBank
from analyzers.anomaly.settings import AnomalySettings, BudgetSettings
from analyzers.metrics import Meaning, MetricSet

#: Scorer of every metric of which the settings say nothing.
DEFAULT = WindowBank.NAME
#: Scorer of metrics that are promoted.
RICH = "rich"
#: Decades that a score of ``ALARM`` counts as, where a scorer gives no probabilities.
UNCALIBRATED = 4.0


class Judged(msgspec.Struct, frozen=True):
    """What was found of a window."""

    #: Score of each metric, by index in the metric set: 0 to 1, -1 while it is being learned.
    scores: dict[int, float]
    #: What is unusual enough to be asked about, if anything is.
    unusual: Unusual | None = None


class _Saved(msgspec.Struct):
    version: int
    born: int | None
    #: Metric of each column, by index in the metric set.
    metrics: list[int]
    bank: bytes
    #: Scorers that the settings chose: name and state.
    chosen: dict[int, tuple[str, bytes]]
    #: Rich ones of metrics that were telling, the longest untold first.
    promoted: list[tuple[int, bytes]]


class Habits:
    """What is usual of a host's metrics. ``judge`` once a window, in order of time; it scores, then learns.

    Every metric seen on the host is scored by one call of a ``WindowBank``. A metric seen before and absent now counts
    as 0, so a dip is seen. What the settings choose another scorer for is in the bank too, for its band. A metric in
    which something was unusual enough to be asked about is promoted, if ``promote`` allows it: it has a rich scorer as
    well, and the surprise of whichever is more surprised. Of too many the one that was silent for longest is demoted.

    A peak tells if it is above the band and the metric's ``floor``, a dip if it is below the band and the middle of
    that is at least ``usual``; either only if the metric says what it means. What tells nothing is named beside what
    does. Whether it is worth saying is not decided here.

    >>> from analyzers.metrics import MetricSet
    >>> habits = Habits("web-1", MetricSet.load(), AnomalySettings(least=3))
    >>> for minute in range(300):
    ...     judged = habits.judge(minute * 60_000_000, {0: 250.0 + minute % 7})
    >>> judged.unusual is None, 0.0 <= judged.scores[0] < 0.9
    (True, True)
    >>> habits.judge(300 * 60_000_000, {0: 4_000.0}).unusual.readings[0].side
    'peak'
    """

    VERSION = 2

    def __init__(self, host: str, metrics: MetricSet, settings: AnomalySettings) -> None:
        self._host = host
        self._metrics = metrics
        self._settings = settings
        self._born: int | None = None
        self._order: list[int] = []
        self._bank = WindowBank(0)
        self._chosen: dict[int, Scorer] = {}
        self._promoted: dict[int, Scorer] = {}

    @property
    def born(self) -> int | None:
        """Return the start of the host's first window, µs, if there was one."""
        return self._born

    def judge(
        self,
        start: int,
        values: Mapping[int, float],
        limited: Collection[int] = (),
        budget: BudgetSettings | None = None,
    ) -> Judged:
        """Score a window, then learn from it.

        Args:
            start: start of the window, µs.
            values: of the metrics seen in it, by index in the metric set.
            limited: metrics about which a limit says all there is to say: they tell no anomaly.
            budget: what holds in this window, if not what is configured.
        """
        self._grow(start, values)
        if not self._order:
            return Judged({})
        row = np.array([values.get(index, 0.0) for index in self._order])
        surprises = self._bank.surprises(row, start)
        scores = 1.0 - 10.0**-surprises
        scores[~self._bank.warm] = -1.0
        for index, scorer in self._chosen.items():
            self._score_chosen(index, scorer, start, row, scores, surprises)
        for index, scorer in self._promoted.items():
            self._score_promoted(index, scorer, start, row, scores, surprises)
        found = self._unusual(start, values, surprises, limited, (budget or self._settings).least)
        self._bank.learn(row, start)
        if found is not None and self._settings.promote:
            self._promote(found)
        return Judged(dict(zip(self._order, scores.tolist(), strict=True)), found)

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

    def _score_promoted(
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
        surprises[column] = max(surprises[column], decades(score))
        scores[column] = max(scores[column], score)
        scorer.learn_one(x, value)

    def _promote(self, found: Unusual) -> None:
        for reading in found.readings:
            index = self._metrics.names.index(reading.metric)
            if not reading.tells or index in self._chosen:
                continue
            scorer = self._promoted.pop(index, None)
            while self._promoted and len(self._promoted) >= self._settings.promote:
                del self._promoted[next(iter(self._promoted))]
            self._promoted[index] = scorer or make_scorer(RICH)

    def _unusual(
        self,
        start: int,
        values: Mapping[int, float],
        surprises: npt.NDArray[np.float64],
        limited: Collection[int],
        least: float,
    ) -> Unusual | None:
        if surprises.max() < max(least, UNUSUAL):
            return None
        band = self._bank.band(start)
        readings = [
            self._reading(column, values.get(self._order[column], 0.0), float(surprises[column]), band, limited)
            for column in np.flatnonzero(surprises >= UNUSUAL).tolist()
        ]
        return unusual(self._host, start, start if self._born is None else self._born, readings, least)

    def _reading(self, column: int, value: float, surprise: float, band: Band, limited: Collection[int]) -> Reading:
        index = self._order[column]
        metric = self._metrics.metrics[index]
        # What is counted is never below 0.
        middle, low, high = (max(float(edge[column]), 0.0) for edge in band)
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
        promoted = [(index, scorer.snapshot()) for index, scorer in self._promoted.items()]
        saved = _Saved(self.VERSION, self._born, self._order, self._bank.snapshot(), chosen, promoted)
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
        for index, numbers in saved.promoted[-settings.promote :] if settings.promote else []:
            if index in moved and moved[index] not in habits._chosen:
                habits._promoted[moved[index]] = scorer_types()[RICH].restore(numbers)
        return habits


def tags(meaning: Meaning) -> tuple[str, ...]:
    """Return tactics and techniques as Sigma tags them.

    >>> tags(Meaning("Password brute force", "high", ("T1110",), ("credential-access",)))
    ('attack.credential-access', 'attack.t1110')
    """
    return tuple(f"attack.{name.lower()}" for name in (*meaning.tactics, *meaning.techniques))
