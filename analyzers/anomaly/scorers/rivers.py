"""River's own detectors as scorers of one metric, with probabilities out and a state of plain numbers."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from river import stats

from analyzers.anomaly.scorers.packing import Packer, Unpacker
from analyzers.anomaly.scorers.scorer import Scorer, usable

#: Score that is an alarm where the detector gives the probability of a Gaussian: 3 standard deviations.
THREE_SIGMA = math.erf(3.0 / math.sqrt(2.0))


class _RiverScorer(Scorer):
    """A detector of River's, made anew from the settings and then filled with the numbers of a snapshot."""

    VERSION: ClassVar[int] = 1
    LIMIT: ClassVar[int] = 256
    ALARM: ClassVar[float] = THREE_SIGMA

    def snapshot(self) -> bytes:
        """Return the state as versioned bytes."""
        packer = Packer(self.name, self.VERSION)
        packer.doubles(self._numbers())
        return packer.bytes()

    def load(self, state: bytes) -> None:
        """Go on from a snapshot; ValueError if it cannot be read."""
        unpacker = Unpacker(state, self.name, self.VERSION)
        self._adopt(unpacker.doubles(unpacker.left() // 8))
        unpacker.end()

    @abstractmethod
    def _numbers(self) -> list[float]:
        """Return the state as numbers."""

    @abstractmethod
    def _adopt(self, numbers: list[float]) -> None:
        """Take over such a state."""

    def _expect(self, numbers: list[float], count: int) -> list[float]:
        if len(numbers) != count:
            raise ValueError(f"{self.name} scorer: a snapshot has {count} numbers, not {len(numbers)}")
        return numbers


class GaussianProbability(_RiverScorer):
    """River's ``anomaly.GaussianScorer``: the probability mass nearer to the mean than the value.

    Parameters
    ----------
    grace
        Values that score 0.

    Examples
    --------
    >>> scorer = GaussianProbability(grace=3)
    >>> for value in (10, 11, 9, 10): scorer.learn_one(None, value)
    >>> round(scorer.score_one(None, 11), 2)
    0.78
    """

    name: ClassVar[str] = "gaussian"

    def __init__(self, grace: int = 100) -> None:
        from river import anomaly

        self.grace = grace
        self._detector = anomaly.GaussianScorer(grace_period=grace)

    def score_one(self, x: Mapping[str, Any] | None, y: float) -> float:
        """Return the probability mass nearer to the mean; 0 during grace."""
        if not usable(y):
            return 0.0
        gaussian: Any = self._detector.gaussian
        if gaussian.n_samples >= self.grace and not gaussian.sigma:
            # All values so far were the same, of which River makes no probability.
            return float(y != gaussian.mu)
        return float(self._detector.score_one(None, y))

    def learn_one(self, x: Mapping[str, Any] | None, y: float) -> None:
        """Take a value into account."""
        if usable(y):
            self._detector.learn_one(None, y)

    def _numbers(self) -> list[float]:
        return _variance(self._detector.gaussian._var)

    def _adopt(self, numbers: list[float]) -> None:
        _set_variance(self._detector.gaussian._var, self._expect(numbers, 3))


class AbsoluteDeviation(_RiverScorer):
    """River's ``anomaly.StandardAbsoluteDeviation``, its deviation as the probability of a lesser one in a Gaussian.

    Parameters
    ----------
    grace
        Values that score 0.

    Examples
    --------
    >>> scorer = AbsoluteDeviation(grace=3)
    >>> for value in (10, 11, 9, 10): scorer.learn_one(None, value)
    >>> round(scorer.score_one(None, 11), 2)
    0.78
    """

    name: ClassVar[str] = "deviation"

    def __init__(self, grace: int = 100) -> None:
        from river import anomaly

        self.grace = grace
        self._detector = anomaly.StandardAbsoluteDeviation()

    def score_one(self, x: Mapping[str, Any] | None, y: float) -> float:
        """Return the probability of a lesser deviation; 0 during grace."""
        if not usable(y) or self._detector.variance.mean.n < self.grace:
            return 0.0
        return math.erf(min(self._detector.score_one(None, y), 40.0) / math.sqrt(2.0))

    def learn_one(self, x: Mapping[str, Any] | None, y: float) -> None:
        """Take a value into account."""
        if usable(y):
            self._detector.learn_one(None, y)

    def _numbers(self) -> list[float]:
        mean: Any = self._detector.sub_stat
        return [*_variance(self._detector.variance), mean.n, mean.get()]

    def _adopt(self, numbers: list[float]) -> None:
        *variance, n, mean = self._expect(numbers, 5)
        _set_variance(self._detector.variance, variance)
        _set_mean(self._detector.sub_stat, n, mean)


class HalfSpaces(_RiverScorer):
    """River's ``anomaly.HalfSpaceTrees`` over the value, scaled by the range it has had.

    Scores are River's, 0 to 1, and no probabilities. Its trees grow from the seed, so that a snapshot needs their
    masses only.

    Parameters
    ----------
    trees
        How many.
    height
        Of each tree.
    window
        Values whose masses are compared.
    seed
        Of the trees.

    Examples
    --------
    >>> scorer = HalfSpaces(window=50)
    >>> for value in range(200): scorer.learn_one(None, value % 10)
    >>> scorer.score_one(None, 90.0) > scorer.score_one(None, 5.0)
    True
    """

    name: ClassVar[str] = "half-spaces"
    PROBABILITIES: ClassVar[bool] = False
    ALARM: ClassVar[float] = 0.95
    LIMIT: ClassVar[int] = 32_000

    def __init__(self, trees: int = 10, height: int = 6, window: int = 250, seed: int = 1) -> None:
        self.trees, self.height, self.window, self.seed = trees, height, window, seed
        self._low, self._high = math.inf, -math.inf
        self._detector = self._fresh()

    def score_one(self, x: Mapping[str, Any] | None, y: float) -> float:
        """Return River's score; 0 for the first ``window`` values."""
        if not usable(y) or not self._low < self._high:
            return 0.0
        return min(max(float(self._detector.score_one(self._scaled(y))), 0.0), 1.0)

    def learn_one(self, x: Mapping[str, Any] | None, y: float) -> None:
        """Take a value into account."""
        if usable(y):
            self._low, self._high = min(self._low, y), max(self._high, y)
            self._detector.learn_one(self._scaled(y))

    def _scaled(self, value: float) -> dict[str, float]:
        reach = self._high - self._low
        return {"value": min(max((value - self._low) / reach, 0.0), 1.0) if reach > 0 else 0.5}

    def _fresh(self) -> Any:
        from river import anomaly

        return anomaly.HalfSpaceTrees(
            n_trees=self.trees, height=self.height, window_size=self.window, seed=self.seed, limits={"value": (0, 1)}
        )

    def _numbers(self) -> list[float]:
        detector = self._detector
        numbers = [self._low, self._high, detector.counter, float(detector._first_window), float(len(detector.trees))]
        for node in _nodes(detector):
            numbers += [node.l_mass, node.r_mass]
        return numbers

    def _adopt(self, numbers: list[float]) -> None:
        detector = self._fresh()
        if len(numbers) < 5:
            raise ValueError(f"{self.name} scorer: a snapshot has more than {len(numbers)} numbers")
        low, high, counter, first, grown = numbers[:5]
        if grown:
            detector.learn_one({"value": 0.5})
        nodes = list(_nodes(detector))
        masses = self._expect(numbers[5:], 2 * len(nodes))
        for node, left, right in zip(nodes, masses[::2], masses[1::2], strict=True):
            node.l_mass, node.r_mass = left, right
        if not low <= high and grown:
            raise ValueError(f"{self.name} scorer: a range from {low} to {high} cannot be")
        self._low, self._high = low, high
        detector.counter, detector._first_window = int(counter), bool(first)
        self._detector = detector


class Predictive(_RiverScorer):
    """River's ``anomaly.PredictiveAnomalyDetection`` over a linear regression on the last values.

    Scores are River's: the squared error over its threshold, 1 beyond it; no probabilities.

    Parameters
    ----------
    lags
        Values from which the next is predicted.
    deviations
        Standard deviations of the squared error that make the threshold.
    grace
        Values that score 0.

    Examples
    --------
    >>> scorer = Predictive(grace=20)
    >>> for minute in range(300):
    ...     _ = scorer.score_one(None, 10.0 + minute % 3)
    ...     scorer.learn_one(None, 10.0 + minute % 3)
    >>> scorer.score_one(None, 99.0)
    1.0
    """

    name: ClassVar[str] = "predictive"
    PROBABILITIES: ClassVar[bool] = False
    ALARM: ClassVar[float] = 1.0
    LIMIT: ClassVar[int] = 1_024

    def __init__(self, lags: int = 4, deviations: float = 3.0, grace: int = 100) -> None:
        from river import anomaly, linear_model, optim

        self.lags, self.deviations, self.grace = lags, deviations, grace
        self._level = stats.Var()
        self._past: list[float] = []
        self._model = linear_model.LinearRegression(optimizer=optim.SGD(0.01), l2=0.0)
        self._detector = anomaly.PredictiveAnomalyDetection(self._model, n_std=deviations, warmup_period=grace)

    def score_one(self, x: Mapping[str, Any] | None, y: float) -> float:
        """Return River's score; 0 during grace."""
        if not usable(y) or len(self._past) < self.lags or self._detector.iter < self.grace:
            return 0.0
        # River's detector learns its threshold while it scores; here scoring must not teach.
        error = (self._model.predict_one(self._features()) - self._scaled(y)) ** 2
        spread = self._detector.dynamic_se_variance.get()
        threshold = self._detector.dynamic_mae.get() + self.deviations * math.sqrt(spread)
        if error < threshold:
            return float(error / threshold)
        return 1.0 if error > 0 else 0.0

    def learn_one(self, x: Mapping[str, Any] | None, y: float) -> None:
        """Take a value into account."""
        if not usable(y):
            return
        if len(self._past) == self.lags:
            features, scaled = self._features(), self._scaled(y)
            self._detector.score_one(features, scaled)
            self._detector.learn_one(features, scaled)
            self._past.pop(0)
        self._past.append(y)
        self._level.update(y)

    def _scaled(self, value: float) -> float:
        spread = math.sqrt(self._level.get())
        # Bounded, or one wild value would throw the regression out for good.
        return min(max((value - self._level.mean.get()) / (spread + 1e-9), -10.0), 10.0)

    def _features(self) -> dict[str, float]:
        return {str(lag): self._scaled(value) for lag, value in enumerate(self._past)}

    def _numbers(self) -> list[float]:
        detector, model = self._detector, self._model
        weights = [float(model.weights.get(str(lag), math.nan)) for lag in range(self.lags)]
        past = [*self._past, *[math.nan] * (self.lags - len(self._past))]
        error = detector.dynamic_mae
        numbers = [*past, *weights, model.intercept, model.optimizer.n_iterations, detector.iter, error.n, error.get()]
        return [*numbers, *_variance(detector.dynamic_se_variance), *_variance(self._level)]

    def _adopt(self, numbers: list[float]) -> None:
        numbers = self._expect(numbers, 2 * self.lags + 11)
        fresh = type(self)(self.lags, self.deviations, self.grace)
        past, weights, rest = numbers[: self.lags], numbers[self.lags : 2 * self.lags], numbers[2 * self.lags :]
        fresh._past = [value for value in past if not math.isnan(value)]
        known = {str(lag): weight for lag, weight in enumerate(weights) if not math.isnan(weight)}
        if known:
            # Weights are made when first asked for; then they can be set.
            fresh._model.learn_one(dict.fromkeys(known, 0.0), 0.0)
            for lag, weight in known.items():
                fresh._model._weights[lag] = weight
        fresh._model.intercept, fresh._model.optimizer.n_iterations = rest[0], int(rest[1])
        fresh._detector.iter = int(rest[2])
        _set_mean(fresh._detector.dynamic_mae, rest[3], rest[4])
        _set_variance(fresh._detector.dynamic_se_variance, rest[5:8])
        _set_variance(fresh._level, rest[8:11])
        self._past, self._model, self._detector = fresh._past, fresh._model, fresh._detector
        self._level = fresh._level


def _variance(variance: Any) -> list[float]:
    return [variance.mean.n, variance.mean.get(), variance._S]


def _set_variance(variance: Any, numbers: list[float]) -> None:
    # As they were, not by way of River's own: scaling by the variance and back would lose the last bits.
    _set_mean(variance.mean, numbers[0], numbers[1])
    variance._S = numbers[2]


def _set_mean(mean: Any, n: float, value: float) -> None:
    mean.n, mean._mean = n, value


def _nodes(detector: Any) -> Iterator[Any]:
    for tree in detector.trees:
        yield from tree.iter_dfs()
