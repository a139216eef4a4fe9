"""The light scorer: three ways of being unusual in 196 bytes a metric, all metrics of a host in one vectorised call."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from analyzers.anomaly.scorers import calibration
from analyzers.anomaly.scorers.channels import DAY, FAR, Season
from analyzers.anomaly.scorers.habituation import Habituation
from analyzers.anomaly.scorers.likelihood import CLIP, HORIZON, SURPRISES, WARM
from analyzers.anomaly.scorers.packing import Packer, Unpacker
from analyzers.anomaly.scorers.scorer import Scorer, time_of

Floats = npt.NDArray[np.float32]
HOURS = 24
CHANNELS = 3
#: Single numbers of a metric, in the order in which they are stored.
_FIELDS = (
    *("n", "mean", "var", "drift", "off_squared", "fast", "low", "high", "step_fast", "step_slow", "before"),
    *("last_alarm", "worst", "raised"),
)
_ROWS = len(_FIELDS) + 3 * CHANNELS + HOURS
#: Bytes of a metric's state: the offset is a 64-bit float, all else 32-bit.
BYTES = 8 + 4 * _ROWS


class _Seen(NamedTuple):
    """What was found of a window: computed once for score and learn."""

    values: npt.NDArray[np.float64]
    hour: npt.NDArray[np.intp]
    known: npt.NDArray[np.bool_]
    x: Floats
    residual: Floats
    raws: Floats
    deviations: Floats
    fused: Floats


class LightBank:
    """Score all metrics of a host at once. Column ``i`` is metric ``i``; new ones are added at the end.

    Channels: residual against the mean of the hour of the day; excess of a fast mean beyond its range; how much
    larger steps have become. Fused and habituated as by ``RichScorer``. State is 32-bit, less each metric's first
    value, so that a large level costs no precision.

    >>> bank = LightBank(2)
    >>> for minute in range(500):
    ...     bank.learn([5.0 + minute % 3, 100.0 + minute % 7], minute * 60_000_000)
    >>> scores = bank.score([6.0, 4_000.0], 500 * 60_000_000)
    >>> bool(scores[0] < bank.ALARM < scores[1])
    True
    """

    VERSION = 1
    WARMUP = 150
    ALARM = calibration.probability(calibration.LIGHT, calibration.LIGHT_ALARM)
    RATE, SLOW, SPREAD = np.float32(0.05), np.float32(0.001), 0.0003
    FAST, SHRINK = np.float32(0.3), np.float32(1e-5)
    STEP_FAST, STEP_SLOW = 0.05, 0.002
    SHORT = np.float32(0.33)
    SILENCE, FADE, STEP, EASE = 100, 0.5 ** (1 / 1_000), np.float32(0.05), 0.5 ** (1 / 5_000)
    #: Of an alarm's surprise, what the next must exceed at first.
    USED = np.float32(0.8)

    def __init__(self, count: int, alarm: float = calibration.LIGHT_ALARM) -> None:
        self._alarm = np.float32(alarm)
        self._offset = np.zeros(0)
        self._state = np.zeros((_ROWS, 0), np.float32)
        self._seen: _Seen | None = None
        self.grow(count)

    @property
    def count(self) -> int:
        """Return how many metrics there are."""
        return len(self._offset)

    def grow(self, count: int) -> None:
        """Make room for ``count`` metrics; those there are stay as they are."""
        more = count - self.count
        if more < 0:
            raise ValueError(f"a bank of {self.count} metrics cannot shrink to {count}")
        fresh = np.zeros((_ROWS, more), np.float32)
        fresh[-HOURS:] = np.nan
        fresh[_FIELDS.index("last_alarm")] = -1
        self._adopt(np.concatenate([self._offset, np.zeros(more)]), np.concatenate([self._state, fresh], axis=1))

    def score(self, values: npt.ArrayLike, time: int | npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return how unusual each value is, 0 to 1; 0 while warming up and for what is no finite number.

        ``time`` is the window's, µs, UTC.
        """
        seen = self._look(values, time)
        held = (seen.fused >= self._alarm) & ~self._alarms(seen.fused)
        fused = np.where(held, np.float32(0.99) * self._alarm, seen.fused)
        scores = 1.0 - 10.0 ** -_surprise(calibration.LIGHT, fused, calibration.LEAST)
        scores[(self._row["n"] < self.WARMUP) | ~seen.known] = 0.0
        return scores

    def learn(self, values: npt.ArrayLike, time: int | npt.NDArray[np.int64]) -> None:
        """Take a window into account; metrics whose value is no finite number stay as they were."""
        seen = self._look(values, time)
        known, row = seen.known, self._row
        before = None if known.all() else self._state.copy()
        first = (row["n"] == 0) & known
        if first.any():
            self._offset[first] = seen.values[first]
            for name in ("fast", "low", "high"):
                row[name][first] = 0.0
        n = row["n"] + 1
        x = seen.x
        self._learn_alarms(seen.fused)
        self._learn_likelihoods(seen.raws, n)
        self._learn_season(seen)
        fast = row["fast"] + self.FAST * (x - row["fast"])
        high, low = np.maximum(row["high"], fast), np.minimum(row["low"], fast)
        less = self.SHRINK * (high - low)
        row["fast"][:], row["high"][:] = fast, np.maximum(high - less, fast)
        row["low"][:] = np.minimum(low + less, fast)
        step = np.abs(x - row["before"])
        later = row["n"] > 0
        row["step_fast"][:] += later * np.maximum(self.STEP_FAST, 1 / n) * (step - row["step_fast"])
        row["step_slow"][:] += later * np.maximum(self.STEP_SLOW, 1 / n) * (step - row["step_slow"])
        row["before"][:] = x
        off = x - row["mean"]
        row["mean"][:] += off / n
        row["var"][:] += (off * (x - row["mean"]) - row["var"]) / n
        row["n"][:] = n
        if before is not None:
            self._state[:, ~known] = before[:, ~known]
        self._seen = None

    def deviations(self, values: npt.ArrayLike, time: int | npt.NDArray[np.int64]) -> Floats:
        """Return what the tables of calibration are asked, a row a channel."""
        return self._look(values, time).deviations

    def fused(self, values: npt.ArrayLike, time: int | npt.NDArray[np.int64]) -> Floats:
        """Return the fused surprise of each value, before habituation."""
        return self._look(values, time).fused

    def snapshot(self) -> bytes:
        """Return the state of all metrics: ``BYTES`` a metric and a header of 30."""
        packer = Packer("light", self.VERSION)
        packer.doubles([self.count])
        packer.array(self._offset)
        packer.array(self._state)
        return packer.bytes()

    def load(self, state: bytes) -> None:
        """Go on from a snapshot, with as many metrics as it has; ValueError if it cannot be read."""
        unpacker = Unpacker(state, "light", self.VERSION)
        count = int(unpacker.doubles(1)[0])
        if unpacker.left() != count * BYTES:
            raise ValueError(f"light scorer: a snapshot of {count} metrics has {unpacker.left()} bytes")
        offset = np.array(unpacker.doubles(count))
        self._adopt(offset, unpacker.floats(_ROWS, count))

    def _adopt(self, offset: npt.NDArray[np.float64], state: Floats) -> None:
        self._offset, self._state = offset, state
        self._row = {name: state[i] for i, name in enumerate(_FIELDS)}
        places = len(_FIELDS) + CHANNELS * np.arange(3)
        self._means, self._vars, self._shorts = (state[at : at + CHANNELS] for at in places)
        self._hours = state[-HOURS:]
        self._columns = np.arange(len(offset))
        self._seen = None

    def _look(self, values: npt.ArrayLike, time: int | npt.NDArray[np.int64]) -> _Seen:
        """Return what is found of a window; of the one asked last without finding it anew."""
        given = np.asarray(values, np.float64)
        hour = np.broadcast_to(np.asarray(time % DAY * HOURS // DAY, np.intp), given.shape)
        last = self._seen
        if last is not None and np.array_equal(last.values, given, True) and np.array_equal(last.hour, hour):
            return last
        row = self._row
        known = np.abs(given) < 1e18
        n = row["n"]
        fresh = n == 0
        x = np.where(known & ~fresh, given - self._offset, 0.0).astype(np.float32)
        least = np.float32(1e-6) * (np.float32(1.0) + np.abs(row["mean"]))
        hourly = self._hours[hour, self._columns]
        residual = x - np.where(np.isnan(hourly), row["mean"], hourly)
        weight = -np.expm1(n * math.log1p(-self.SPREAD)) + fresh
        raws = np.empty((CHANNELS, len(x)), np.float32)
        floor = np.float32(Season.FLOOR) * (self._offset + row["mean"]).astype(np.float32)
        raws[0] = np.abs(residual - row["drift"]) / (np.sqrt(row["off_squared"] / weight + floor * floor) + least)
        fast = row["fast"] + self.FAST * (x - row["fast"])
        beyond = np.maximum(np.maximum(fast - row["high"], row["low"] - fast), 0.0)
        raws[1] = beyond * (row["var"] > 0) / (np.sqrt(row["var"]) + least)
        step = np.abs(x - row["before"])
        quick = row["step_fast"] + np.maximum(self.STEP_FAST, 1 / (n + 1)) * (step - row["step_fast"])
        slow = row["step_slow"] + np.maximum(self.STEP_SLOW, 1 / (n + 1)) * (step - row["step_slow"])
        moving = slow > 0
        raws[2] = np.maximum(np.log((quick + 1e-3 * slow) / np.where(moving, slow, 1.0), where=moving, out=x * 0), 0.0)
        np.minimum(raws, FAR, out=raws)
        raws *= n > np.array([[1], [10], [20]])
        shorts = self._shorts + self.SHORT * (raws - self._shorts)
        unit = np.sqrt(self._vars) + np.float32(1e-9) + np.float32(1e-3) * np.abs(self._means)
        deviations: Floats = ((shorts - self._means) / unit).astype(np.float32)
        deviations *= n > WARM
        squares = np.zeros(len(x))
        for points, z in zip(calibration.LIGHT_CHANNELS, deviations, strict=True):
            squares += _surprise(points, z) ** 2
        fused = np.where(n > WARM, np.sqrt(squares), 0.0).astype(np.float32)
        self._seen = _Seen(given, hour, known, x, residual, raws, deviations, fused)
        return self._seen

    def _alarms(self, fused: Floats) -> npt.NDArray[np.bool_]:
        loud: npt.NDArray[np.bool_] = fused >= self._alarm
        if not loud.any():
            return loud
        row = self._row
        since = row["n"] - row["last_alarm"]
        worst = row["worst"] * self.FADE**since
        higher = np.maximum(worst, self._alarm * (1 + row["raised"] * self.EASE**since))
        higher = np.where(since < self.SILENCE, Habituation.ESCALATION * worst, higher)
        alarms: npt.NDArray[np.bool_] = loud & ((row["last_alarm"] < 0) | (fused >= higher))
        return alarms

    def _learn_alarms(self, fused: Floats) -> None:
        row = self._row
        alarms = self._alarms(fused) & (row["n"] >= self.WARMUP)
        if alarms.any():
            since = np.where(row["last_alarm"] < 0, 0, row["n"] - row["last_alarm"])[alarms]
            row["raised"][alarms] = row["raised"][alarms] * self.EASE**since + self.STEP
            row["worst"][alarms] = np.maximum(row["worst"][alarms] * self.FADE**since, self.USED * fused[alarms])
            row["last_alarm"][alarms] = row["n"][alarms]

    def _learn_likelihoods(self, raws: Floats, n: Floats) -> None:
        rate = np.maximum(np.float32(1 / HORIZON), 1 / n)
        off = raws - self._means
        limit = np.where(n > WARM + 1, np.float32(CLIP) * np.sqrt(self._vars) + np.float32(1e-9), np.float32(np.inf))
        off = np.clip(off, -limit, limit)
        self._shorts += self.SHORT * (raws - self._shorts)
        self._means += rate * off
        self._vars[:] = (1 - rate) * (self._vars + rate * off * off)

    def _learn_season(self, seen: _Seen) -> None:
        row = self._row
        hourly = self._hours[seen.hour, self._columns]
        off = seen.residual - row["drift"]
        # As many values of each hour as of any other are assumed: a count of each would cost 24 bytes.
        rate = np.maximum(self.RATE, 1 / (row["n"] / HOURS + 1))
        self._hours[seen.hour, self._columns] = np.where(np.isnan(hourly), seen.x, hourly + rate * seen.residual)
        row["drift"][:] += self.SLOW * off
        row["off_squared"][:] += np.float32(self.SPREAD) * (off * off - row["off_squared"])


class LightScorer(Scorer):
    """The light scorer of one metric, as an estimator; ``LightBank`` scores many in the time of one.

    Parameters
    ----------
    alarm
        Surprise, fused, from which a value is an alarm.

    Examples
    --------
    >>> scorer = LightScorer()
    >>> for minute in range(500):
    ...     scorer.learn_one({"time": minute * 60_000_000}, 50 + minute % 7)
    >>> scorer.score_one({"time": 500 * 60_000_000}, 500) > scorer.ALARM
    True
    """

    name: ClassVar[str] = "light"
    ALARM: ClassVar[float] = LightBank.ALARM
    LIMIT: ClassVar[int] = 256

    def __init__(self, alarm: float = calibration.LIGHT_ALARM) -> None:
        self.alarm = alarm
        self._bank = LightBank(1, alarm)

    def score_one(self, x: Mapping[str, Any] | None, y: float) -> float:
        """Return how unusual a value is, 0 to 1; 0 while warming up."""
        return float(self._bank.score([y], time_of(x))[0])

    def learn_one(self, x: Mapping[str, Any] | None, y: float) -> None:
        """Take a value into account."""
        self._bank.learn([y], time_of(x))

    def snapshot(self) -> bytes:
        """Return the state as versioned bytes."""
        return self._bank.snapshot()

    def load(self, state: bytes) -> None:
        """Go on from a snapshot; ValueError if it cannot be read."""
        bank = LightBank(0, self.alarm)
        bank.load(state)
        if bank.count != 1:
            raise ValueError(f"light scorer: the snapshot is of {bank.count} metrics, not one")
        self._bank = bank


def _surprise(points: tuple[float, ...], values: npt.NDArray[Any], most: float = 6.0) -> npt.NDArray[np.float64]:
    """Return −log10 of the share of reference values beyond each value, as ``likelihood.surprise``."""
    slope = (SURPRISES[-1] - SURPRISES[-4]) / (points[-1] - points[-4])
    beyond = np.maximum(values.astype(np.float64) - points[-1], 0.0) * slope
    found: npt.NDArray[np.float64] = np.minimum(np.interp(values, points, SURPRISES, left=0.0) + beyond, most)
    return found
