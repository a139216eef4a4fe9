"""What every scorer of one metric can do. A scorer is an estimator of River's, with a state that can be stored."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from river import base

#: Key of a value's event time in ``x``: whole µs since 1970, UTC.
TIME = "time"


#: River's annotations allow text for ``y`` and any keys for ``x``; here both are narrower.
_Estimator: Any = base.SupervisedAnomalyDetector


class Scorer(_Estimator):  # type: ignore[misc]
    """Score a value of one metric, then learn it.

    As in River's univariate detectors the value is ``y``. ``x`` may hold its event time, ``{"time": µs}``, or be
    ``None``. Values come in order of time; a gap is skipped, not filled. A value that is no finite number scores 0 and
    is not learned.
    """

    #: By what settings and ``winnow anomaly --scorer`` call it.
    name: ClassVar[str]
    #: From this score on a value is an alarm.
    ALARM: ClassVar[float]
    #: Whether a score of s is as rare as 1 − s, as far as the scorer knows.
    PROBABILITIES: ClassVar[bool] = True
    #: The largest snapshot, bytes; 0 if the scorer has none.
    LIMIT: ClassVar[int]

    @abstractmethod
    def score_one(self, x: Mapping[str, Any] | None, y: float) -> float:
        """Return how unusual a value is, 0 to 1, where one of s is as rare as 1 − s; 0 while warming up."""

    @abstractmethod
    def learn_one(self, x: Mapping[str, Any] | None, y: float) -> None:
        """Take a value into account."""

    @abstractmethod
    def snapshot(self) -> bytes:
        """Return the state as versioned bytes, plain numbers."""

    @abstractmethod
    def load(self, state: bytes) -> None:
        """Go on from a snapshot of a scorer with the same settings.

        Raises:
            ValueError: the snapshot is another scorer's, of another version, or damaged.
        """

    @classmethod
    def restore(cls, state: bytes, **settings: Any) -> Scorer:
        """Return a scorer that goes on from a snapshot; ValueError as ``load``."""
        scorer = cls(**settings)
        scorer.load(state)
        return scorer


def time_of(x: Mapping[str, Any] | None) -> int:
    """Return the event time in µs; 0 if there is none."""
    return int(x[TIME]) if x else 0


def usable(value: float) -> bool:
    """Return whether a value can be scored: a finite number whose square is one too."""
    return math.isfinite(value) and abs(value) < 1e150
