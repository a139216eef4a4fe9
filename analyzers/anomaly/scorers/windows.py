"""The light scorer of counts a minute: knows hours of working days and of weekends, in 156 bytes a metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from analyzers.anomaly.scorers.channels import DAY, FAR
from analyzers.anomaly.scorers.packing import Packer, Unpacker
from analyzers.anomaly.scorers.scorer import Scorer, time_of

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
#: Single numbers of a metric, in the order in which they are stored.
_FIELDS = (
    *("n", "drift", "off_squared", "lean", "fast", "low", "high", "short"),
    *("lean_mean", "range_mean", "lean_var", "range_var", "limit", "excess", "scale"),
)
#: Means of the 24 hours of working days, then of the 24 of Saturday and Sunday, UTC.
HOURS = 48
#: Hourly means are stored as 16-bit whole numbers of so many to one, this one where there is none.
_FINE, _UNMET = 512.0, -32_768
#: Bytes of a metric's state.
BYTES = 4 * len(_FIELDS) + 2 * HOURS
#: 1970-01-01 was a Thursday: so many days after a Monday.
_THURSDAY = 3


class Band(NamedTuple):
    """What is expected of each metric: the middle, and a number of standard deviations about it."""

    middle: Doubles
    low: Doubles
    high: Doubles


class _Seen(NamedTuple):
    """What was found of a window: computed once for score and learn."""

    key: tuple[bytes, int]
    known: npt.NDArray[np.bool_]
    hour: int
    x: Floats
    hourly: Floats
    off: Floats
    lean: Floats
    fast: Floats
    #: Of each channel: how far off, the mean of the last of these, and the deviation of that from its own past.
    raws: Floats
    deviations: Floats
    fused: Floats


class WindowBank:
    """Score all metrics of a host at once. Column ``i`` is metric ``i``; new ones are added at the end.

    Values are taken as sign · log(1 + size), in which what multiplies a count adds, and the spread is much the same
    at any level. Two channels: *lean*, the running mean of signed residuals against the mean of the hour, over their
    spread, so that what lasts counts and noise cancels; and *range*, the excess of a fast mean beyond its range. Each
    is compared with its own past; the root of their weighted squares has an exponential tail of each metric's own
    beyond its 98th percentile (Siffer et al., 2017, with shape 0), which makes it a probability. Rates are for windows
    of a minute. There is no habituation: who alarms, decides.

    >>> bank = WindowBank(2)
    >>> for minute in range(2_000):
    ...     bank.learn([5.0 + minute % 3, 100.0 + minute % 7], minute * 60_000_000)
    >>> scores = bank.score([6.0, 4_000.0], 2_000 * 60_000_000)
    >>> bool(scores[0] < bank.ALARM < scores[1])
    True
    """

    NAME = "windows"
    VERSION = 1
    #: Values before anything is said.
    WARMUP = 150
    #: One window in a thousand.
    ALARM = 0.999
    #: Of the mean of an hour; how fast residuals are forgotten as drift, and as spread.
    RATE, SLOW, SPREAD = 0.006, np.float32(0.0005), 1e-4
    #: Of signed residuals; of the fast mean, and of its range; of the excess beyond that.
    LEAN, FAST, SHRINK, SHORT = np.float32(0.15), np.float32(0.3), np.float32(1e-5), np.float32(0.33)
    #: Values of a channel's past, and of the tail's.
    HORIZON, TAIL = 25_000.0, 20_000.0
    SHARE, STEP, WEIGHT = 0.98, 0.005, np.float32(0.5)
    #: Added to the spread of a residual, and of a channel (least excess too); least limit of the tail: one event more
    #: on a quiet host is no news.
    LEAST, UNIT, FLOOR = np.float32(0.35), np.float32(0.1), np.float32(0.5)
    #: Standard deviations of a channel beyond which none is learned or told; excess over its mean likewise.
    CLIP, WILD = np.float32(60.0), 8.0
    #: Decades that no surprise exceeds.
    MOST = 12.0

    def __init__(self, count: int) -> None:
        self._state = np.zeros((len(_FIELDS), 0), np.float32)
        self._hours = np.zeros((HOURS, 0), np.int16)
        self._seen: _Seen | None = None
        self.grow(count)

    @property
    def count(self) -> int:
        """Return how many metrics there are."""
        return self._state.shape[1]

    @property
    def warm(self) -> npt.NDArray[np.bool_]:
        """Return which metrics have been learned for long enough to be scored."""
        found: npt.NDArray[np.bool_] = self._row["n"] >= self.WARMUP
        return found

    def grow(self, count: int) -> None:
        """Make room for ``count`` metrics; those there are stay as they are."""
        more = count - self.count
        if more < 0:
            raise ValueError(f"a bank of {self.count} metrics cannot shrink to {count}")
        fresh = np.zeros((len(_FIELDS), more), np.float32)
        fresh[_FIELDS.index("excess")] = 1.0
        hours = np.full((HOURS, more), _UNMET, np.int16)
        self._adopt(np.concatenate([self._state, fresh], axis=1), np.concatenate([self._hours, hours], axis=1))

    def keep(self, columns: Sequence[int]) -> None:
        """Drop all metrics but those of ``columns``, which get this order."""
        self._adopt(self._state[:, list(columns)], self._hours[:, list(columns)])

    def score(self, values: npt.ArrayLike, time: int) -> Doubles:
        """Return how unusual each value is, 0 to 1; 0 while warming up and for what is no finite number.

        ``time`` is the window's, µs, UTC.
        """
        found: Doubles = 1.0 - 10.0 ** -self.surprises(values, time)
        return found

    def surprises(self, values: npt.ArrayLike, time: int) -> Doubles:
        """Return how unusual each value is as −log10 of how rare; 0 where ``score`` is."""
        seen, row = self._look(values, time), self._row
        base = -math.log10(1.0 - self.SHARE)
        limit = np.maximum(row["limit"].astype(np.float64), self.FLOOR)
        beyond = np.maximum(seen.fused - limit, 0.0) / np.maximum(row["excess"], self.UNIT) / math.log(10.0) + base
        within = base * seen.fused / limit
        found: Doubles = np.minimum(np.where(seen.fused > limit, beyond, within), self.MOST)
        found[~self.warm | ~seen.known] = 0.0
        return found

    def learn(self, values: npt.ArrayLike, time: int) -> None:
        """Take a window into account; metrics whose value is no finite number stay as they were."""
        seen, row = self._look(values, time), self._row
        before = None if seen.known.all() else (self._state.copy(), self._hours.copy())
        n = row["n"] + 1
        first = row["n"] == 0
        self._learn_tail(seen)
        self._learn_channels(seen, n)
        self._learn_season(seen)
        row["lean"][:] = seen.lean
        row["fast"][:] = seen.fast
        high = np.where(first, seen.fast, np.maximum(row["high"], seen.fast))
        low = np.where(first, seen.fast, np.minimum(row["low"], seen.fast))
        less = self.SHRINK * (high - low)
        row["high"][:], row["low"][:] = np.maximum(high - less, seen.fast), np.minimum(low + less, seen.fast)
        row["n"][:] = n
        if before is not None:
            unknown = ~seen.known
            self._state[:, unknown], self._hours[:, unknown] = before[0][:, unknown], before[1][:, unknown]
        self._seen = None

    def band(self, time: int, deviations: float = 2.0) -> Band:
        """Return the values expected at this hour: within a number of standard deviations, and a tenth.

        What lasts may be unusual before it leaves a wider band.
        """
        hourly, _ = self._hourly(_hour(time))
        middle = hourly.astype(np.float64) + self._row["drift"]
        reach = deviations * (self._spread() - self.LEAST) + self.UNIT
        edges = np.stack([middle, middle - reach, middle + reach])
        return Band(*(np.sign(edges) * np.expm1(np.minimum(np.abs(edges), 700.0))))

    def snapshot(self) -> bytes:
        """Return the state of all metrics: ``BYTES`` a metric and a header of 30."""
        packer = Packer(self.NAME, self.VERSION)
        packer.doubles([self.count])
        packer.array(self._state)
        packer.whole(self._hours)
        return packer.bytes()

    def load(self, state: bytes) -> None:
        """Go on from a snapshot, with as many metrics as it has; ValueError if it cannot be read."""
        unpacker = Unpacker(state, self.NAME, self.VERSION)
        count = int(unpacker.doubles(1)[0])
        if unpacker.left() != count * BYTES:
            raise ValueError(f"{self.NAME} scorer: a snapshot of {count} metrics has {unpacker.left()} bytes")
        self._adopt(unpacker.floats(len(_FIELDS), count), unpacker.whole(HOURS, count))

    def _adopt(self, state: Floats, hours: npt.NDArray[np.int16]) -> None:
        self._state, self._hours = state, hours
        self._row = {name: state[i] for i, name in enumerate(_FIELDS)}
        means, variances = _FIELDS.index("lean_mean"), _FIELDS.index("lean_var")
        self._means, self._vars = state[means : means + 2], state[variances : variances + 2]
        self._seen = None

    def _look(self, values: npt.ArrayLike, time: int) -> _Seen:
        """Return what is found of a window; of the one asked last without finding it anew."""
        given, hour = np.asarray(values, np.float64), _hour(time)
        key = (given.tobytes(), hour)
        if self._seen is not None and self._seen.key == key:
            return self._seen
        row = self._row
        known = np.abs(given) < 1e18
        n = row["n"]
        finite = np.where(known, given, 0.0)
        x = (np.sign(finite) * np.log1p(np.abs(finite))).astype(np.float32)
        hourly, unmet = self._hourly(hour)
        # Nothing is held against the first value of an hour.
        off = np.where(unmet, np.float32(0.0), x - hourly - row["drift"])
        spread = self._spread()
        lean = row["lean"] + self.LEAN * (off / spread - row["lean"])
        fast = np.where(n == 0, x, row["fast"] + self.FAST * (x - row["fast"]))
        excess = np.maximum(np.maximum(fast - row["high"], row["low"] - fast), 0.0) / spread * (n > _EARLY)
        raws = np.minimum(np.stack([np.abs(lean), excess]), np.float32(FAR))
        asked = raws.copy()
        asked[1] = row["short"] + self.SHORT * (raws[1] - row["short"])
        deviations = (asked - self._means) / (np.sqrt(self._vars) + self.UNIT)
        deviations = np.minimum(np.maximum(deviations, 0.0), self.CLIP) * (n > _EARLY)
        fused = np.hypot(deviations[0], self.WEIGHT * deviations[1])
        self._seen = _Seen(key, known, hour, x, hourly, off, lean, fast, raws, deviations, fused)
        return self._seen

    def _hourly(self, hour: int) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Return the means of an hour, and which metrics have none: these have the fast mean."""
        stored = self._hours[hour]
        unmet = stored == _UNMET
        return np.where(unmet, self._row["fast"], stored.astype(np.float32) / np.float32(_FINE)), unmet

    def _spread(self) -> Floats:
        weight = -np.expm1(self._row["n"] * np.float32(math.log1p(-self.SPREAD))) + (self._row["n"] == 0)
        found: Floats = np.sqrt(self._row["off_squared"] / weight) + self.LEAST
        return found

    def _learn_tail(self, seen: _Seen) -> None:
        row, fused = self._row, seen.fused
        past = np.maximum(row["n"] - _EARLY, 0.0)
        rate = np.maximum(1.0 / self.TAIL, 1.0 / (past + 1.0)) * (row["n"] > _EARLY)
        row["scale"][:] += rate * (fused - row["scale"])
        step = np.maximum(2.0 * rate, self.STEP) * row["scale"]
        row["limit"][:] += step * (self.SHARE - (fused <= row["limit"]))
        limit = np.maximum(row["limit"], self.FLOOR)
        over = (row["n"] > _EARLY) & (fused > limit)
        beyond = past * (1.0 - self.SHARE)
        slow = np.maximum(1.0 / (self.TAIL * (1.0 - self.SHARE)), 1.0 / (beyond + 1.0))
        excess = np.minimum(fused - limit, np.where(beyond > 6, self.WILD * row["excess"], np.inf))
        row["excess"][:] += over * slow * (excess - row["excess"])

    def _learn_channels(self, seen: _Seen, n: Floats) -> None:
        row = self._row
        rate = np.maximum(np.float32(1.0 / self.HORIZON), 1.0 / n)
        limit = np.where(n > _EARLY + 1, self.CLIP * (np.sqrt(self._vars) + self.UNIT), np.float32(np.inf))
        off = np.minimum(np.maximum(seen.raws - self._means, -limit), limit)
        row["short"][:] += self.SHORT * (seen.raws[1] - row["short"])
        self._means += rate * off
        self._vars[:] = (1.0 - rate) * (self._vars + rate * off * off)

    def _learn_season(self, seen: _Seen) -> None:
        row, n = self._row, self._row["n"].astype(np.float64)
        unmet = self._hours[seen.hour] == _UNMET
        rate = np.maximum(self.RATE, 1.0 / (n / 24.0 + 1.0))
        mean = np.where(unmet, seen.x, seen.hourly + rate * (seen.x - seen.hourly))
        # Rounded up as often as the rest demands, in an order that the count gives: else small steps would be lost.
        dither = n * ((math.sqrt(5.0) - 1.0) / 2.0) % 1.0
        self._hours[seen.hour] = np.clip(np.floor(mean * _FINE + dither), _UNMET + 1, 32_767).astype(np.int16)
        row["drift"][:] += self.SLOW * seen.off
        row["off_squared"][:] += np.float32(self.SPREAD) * (seen.off * seen.off - row["off_squared"])


#: Values before a channel says anything.
_EARLY = 100


def _hour(time: int) -> int:
    """Return the place of a time's hour among ``HOURS``.

    >>> _hour(0), _hour(2 * DAY)
    (0, 24)
    """
    weekend = (time // DAY + _THURSDAY) % 7 >= 5
    return int(time % DAY * 24 // DAY + 24 * weekend)


class WindowScorer(Scorer):
    """The light scorer of one metric of counts a minute, as an estimator; ``WindowBank`` scores many at once.

    Examples
    --------
    >>> scorer = WindowScorer()
    >>> for minute in range(2_000):
    ...     scorer.learn_one({"time": minute * 60_000_000}, 50 + minute % 7)
    >>> scorer.score_one({"time": 2_000 * 60_000_000}, 5_000) > scorer.ALARM
    True
    """

    name: ClassVar[str] = WindowBank.NAME
    ALARM: ClassVar[float] = WindowBank.ALARM
    LIMIT: ClassVar[int] = 200

    def __init__(self) -> None:
        self._bank = WindowBank(1)

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
        bank = WindowBank(0)
        bank.load(state)
        if bank.count != 1:
            raise ValueError(f"{self.name} scorer: the snapshot is of {bank.count} metrics, not one")
        self._bank = bank
