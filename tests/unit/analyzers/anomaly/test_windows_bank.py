"""The light scorer of counts a minute: many metrics in one call, each as if alone; days, weekends, dips."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analyzers.anomaly.scorers.scorer import TIME
from analyzers.anomaly.scorers.windows import BYTES, WindowBank, WindowScorer

MINUTE = 60_000_000
DAY = 1_440 * MINUTE
#: Monday 2024-01-01 00:00 UTC, µs.
MONDAY = 1_704_067_200_000_000


def windows(count: int, metrics: int, seed: int = 1) -> np.ndarray:
    """Return counts, a window a row: means from 1 to 10,000, with peaks."""
    chance = np.random.default_rng(seed)
    values = chance.poisson(10.0 ** (4 * np.arange(metrics) / max(1, metrics - 1)), (count, metrics)).astype(float)
    return np.where(chance.random((count, metrics)) < 0.01, values * 5 + 5, values)


def test_metrics_side_by_side_score_as_each_alone() -> None:
    bank, alone = WindowBank(4), [WindowScorer() for _ in range(4)]
    highest = 0.0
    for at, row in enumerate(windows(700, 4)):
        time = MONDAY + at * 10 * MINUTE
        together = bank.score(row, time)
        assert together.tolist() == [s.score_one({TIME: time}, v) for s, v in zip(alone, row, strict=True)]
        highest = max(highest, together.max())
        bank.learn(row, time)
        for scorer, value in zip(alone, row, strict=True):
            scorer.learn_one({TIME: time}, value)
    assert highest > 0.99


def test_a_metric_without_a_value_stays_as_it_was_and_one_that_joins_changes_no_other() -> None:
    bank, other = WindowBank(2), WindowBank(2)
    for at, row in enumerate(windows(900, 3)):
        time = MONDAY + at * MINUTE
        if at == 300:
            bank.grow(3)
        row = row[: bank.count]
        if at % 3 == 0 and at >= 300:
            row[2] = math.nan
            assert bank.score(row, time)[2] == 0.0
            before = bank.snapshot()
            bank.learn([math.nan, math.inf, -math.inf], time)
            assert bank.snapshot() == before
        assert bank.score(row, time)[:2].tolist() == other.score(row[:2], time).tolist()
        bank.learn(row, time)
        other.learn(row[:2], time)
    assert bank.warm.tolist() == [True, True, True]
    bank.keep([1])
    assert bank.score(row[1:2], time + MINUTE)[0] == other.score(row[:2], time + MINUTE)[1]
    with pytest.raises(ValueError, match="cannot shrink"):
        bank.grow(0)


def test_a_metric_costs_at_most_200_bytes_and_a_restart_changes_no_score() -> None:
    values = windows(800, 50)
    bank = WindowBank(50)
    for at, row in enumerate(values[:400]):
        bank.learn(row, MONDAY + at * MINUTE)
    state = bank.snapshot()
    assert BYTES <= 200 and len(state) <= 50 * BYTES + 64
    again = WindowBank(0)
    again.load(state)
    for at, row in enumerate(values[400:], 400):
        assert again.score(row, MONDAY + at * MINUTE).tolist() == bank.score(row, MONDAY + at * MINUTE).tolist()
        again.learn(row, MONDAY + at * MINUTE)
        bank.learn(row, MONDAY + at * MINUTE)
    assert again.snapshot() == bank.snapshot()
    for broken in (state[:-1], state[:20], b"", state.replace(b"windows", b"light\0\0")):
        with pytest.raises(ValueError):
            WindowBank(0).load(broken)


def office(minute: int, level: float = 200.0) -> float:
    """Return what a desk does: much from 8 to 18 on working days, little else."""
    day, hour = minute // 1_440 % 7, minute // 60 % 24
    return level if day < 5 and 8 <= hour < 18 else level / 20


@pytest.fixture(scope="module")
def desk() -> WindowBank:
    """Return a bank of one desk that has learned two weeks, every third minute."""
    chance, bank = np.random.default_rng(2), WindowBank(1)
    for minute in range(0, 14 * 1_440, 3):
        bank.learn([chance.poisson(office(minute))], MONDAY + minute * MINUTE)
    return bank


@pytest.mark.parametrize(
    ("day", "hour", "value", "unusual"),
    [
        (14, 12, 200, False),
        (14, 12, 5, True),
        (14, 3, 200, True),
        (14, 3, 10, False),
        (19, 12, 200, True),
        (19, 12, 10, False),
    ],
    ids=["work at noon", "a dip at noon", "work at night", "rest at night", "work on Saturday", "rest on Saturday"],
)
def test_working_days_nights_and_weekends_are_known(
    desk: WindowBank, day: int, hour: int, value: float, unusual: bool
) -> None:
    bank = WindowBank(0)
    bank.load(desk.snapshot())
    # What lasts is what counts: the same for some minutes.
    surprises = []
    for minute in range(6):
        time = MONDAY + day * DAY + hour * 60 * MINUTE + minute * MINUTE
        surprises.append(float(bank.surprises([value], time)[0]))
        bank.learn([value], time)
    assert (max(surprises) >= 3.0) == unusual


def test_the_band_is_of_the_hour_and_in_counts(desk: WindowBank) -> None:
    noon, night = MONDAY + 14 * DAY + 12 * 60 * MINUTE, MONDAY + 14 * DAY + 3 * 60 * MINUTE
    by_day, by_night = desk.band(noon), desk.band(night)
    assert 150 < by_day.middle[0] < 250 and 5 < by_night.middle[0] < 15
    assert by_day.low[0] < 200 < by_day.high[0]
    assert by_night.high[0] < 200


def test_one_event_more_on_a_quiet_host_is_no_alarm_and_many_are() -> None:
    bank = WindowBank(2)
    for minute in range(1_500):
        bank.learn([minute % 200 == 199, 0.0], MONDAY + minute * MINUTE)
    time = MONDAY + 1_500 * MINUTE
    assert bank.score([1.0, 0.0], time)[0] < bank.ALARM
    assert bank.score([40.0, 40.0], time).min() > bank.ALARM
