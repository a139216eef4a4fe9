"""The light scorer: many metrics in one call, each as if it were alone."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from analyzers.anomaly.scorers.light import BYTES, LightBank, LightScorer
from analyzers.anomaly.scorers.scorer import TIME

MINUTE = 60_000_000


def windows(count: int, metrics: int, seed: int = 1) -> np.ndarray:
    """Return a window a row, a metric a column: levels from 1 to a million, with peaks."""
    chance = np.random.default_rng(seed)
    levels = 10.0 ** (6 * np.arange(metrics) / max(1, metrics - 1))
    values = levels * (1 + 0.1 * chance.standard_normal((count, metrics)))
    return np.where(chance.random((count, metrics)) < 0.01, values * 5, values)


def test_metrics_side_by_side_score_as_each_alone() -> None:
    values = windows(700, 5)
    bank, alone = LightBank(5), [LightScorer() for _ in range(5)]
    for at, row in enumerate(values):
        time = at * 10 * MINUTE
        together = bank.score(row, time)
        assert together.tolist() == [s.score_one({TIME: time}, v) for s, v in zip(alone, row, strict=True)]
        bank.learn(row, time)
        for scorer, value in zip(alone, row, strict=True):
            scorer.learn_one({TIME: time}, value)
    assert together.max() > 0


def test_a_metric_without_a_value_stays_as_it_was() -> None:
    values = windows(900, 3)
    bank, other = LightBank(3), LightBank(2)
    for at, row in enumerate(values):
        if at % 3 == 0:
            row[1] = math.nan
        assert at % 3 or bank.score(row, at * MINUTE)[1] == 0.0
        assert bank.score(row, at * MINUTE)[[0, 2]].tolist() == other.score(row[[0, 2]], at * MINUTE).tolist()
        bank.learn(row, at * MINUTE)
        other.learn(row[[0, 2]], at * MINUTE)
    lone = LightBank(1)
    for at, row in enumerate(values):
        if at % 3:
            lone.learn(row[[1]], at * MINUTE)
    probe = 900 * MINUTE
    assert bank.score([0.0, 5_000.0, 0.0], probe)[1] == lone.score([5_000.0], probe)[0] > 0


def test_a_metric_that_joins_later_begins_anew_and_changes_no_other() -> None:
    values = windows(1_000, 3)
    bank, two, late = LightBank(2), LightBank(2), LightBank(1)
    for at, row in enumerate(values):
        if at == 400:
            bank.grow(3)
        row = row[: bank.count]
        scores = bank.score(row, at * MINUTE)
        assert scores[:2].tolist() == two.score(row[:2], at * MINUTE).tolist()
        bank.learn(row, at * MINUTE)
        two.learn(row[:2], at * MINUTE)
        if at >= 400:
            assert scores[2] == late.score(row[2:], at * MINUTE)[0]
            late.learn(row[2:], at * MINUTE)
    with pytest.raises(ValueError, match="cannot shrink"):
        bank.grow(2)


def test_a_metric_costs_at_most_200_bytes_and_a_restart_changes_no_score() -> None:
    values = windows(800, 50)
    bank = LightBank(50)
    for at, row in enumerate(values[:400]):
        bank.learn(row, at * MINUTE)
    state = bank.snapshot()
    assert BYTES <= 200 and len(state) <= 50 * BYTES + 64
    again = LightBank(0)
    again.load(state)
    for at, row in enumerate(values[400:], 400):
        assert again.score(row, at * MINUTE).tolist() == bank.score(row, at * MINUTE).tolist()
        again.learn(row, at * MINUTE)
        bank.learn(row, at * MINUTE)
    assert again.snapshot() == bank.snapshot()


@pytest.mark.parametrize("value", [1_000_900.0, 999_100.0], ids=["peak", "dip"])
def test_a_large_level_costs_no_precision(value: float) -> None:
    chance = random.Random(1)
    bank = LightBank(1)
    for at in range(3_000):
        bank.learn([1_000_000 + chance.gauss(0, 5)], at * MINUTE)
    assert bank.score([value], 3_000 * MINUTE)[0] >= bank.ALARM
    assert bank.score([1_000_004.0], 3_000 * MINUTE)[0] < bank.ALARM


def test_the_hour_is_known_and_a_dip_by_day_is_found() -> None:
    chance = random.Random(2)
    bank = LightBank(1)
    for at in range(14 * 288):
        day = 8 <= at // 12 % 24 < 18
        bank.learn([(200 if day else 20) + chance.gauss(0, 3)], at * 5 * MINUTE)
    noon, night = (14 * 24 + 12) * 60 * MINUTE, (14 * 24 + 3) * 60 * MINUTE
    assert bank.score([20.0], noon)[0] > bank.score([20.0], night)[0]
    assert bank.score([200.0], night)[0] > bank.score([200.0], noon)[0]


def test_the_band_follows_the_hour_of_the_day_and_holds_what_is_usual() -> None:
    bank, chance = LightBank(2), np.random.default_rng(1)
    inside, first = 0, 3 * 1_440
    for minute in range(4 * 1_440):
        day = 100 + 60 * (480 <= minute % 1_440 < 1_080)
        row = [day + chance.normal(0, 5), 1e6 + chance.normal(0, 10)]
        if minute >= first:
            middle, low, high = bank.band(minute * MINUTE)
            assert (low < middle).all() and (middle < high).all()
            inside += int(low[0] <= row[0] <= high[0])
            assert 1e6 * 0.9 < low[1] < row[1] < high[1] < 1e6 * 1.1
        bank.learn(row, minute * MINUTE)
    assert inside > 0.98 * 1_440
    noon, night = (bank.band((4 * 1_440 + hour * 60) * MINUTE).middle[0] for hour in (12, 3))
    assert (noon, night) == (pytest.approx(160, abs=5), pytest.approx(100, abs=5))


def test_surprises_are_scores_before_anyone_got_used_to_them() -> None:
    bank = LightBank(1)
    for at, row in enumerate(windows(400, 1)):
        bank.learn(row, at * MINUTE)
    peaks = []
    for at in range(400, 410):
        score, surprise = float(bank.score([30.0], at * MINUTE)[0]), float(bank.surprises([30.0], at * MINUTE)[0])
        assert score <= 1 - 10**-surprise + 1e-12
        peaks.append((score, surprise))
        bank.learn([30.0], at * MINUTE)
    assert peaks[0][0] == pytest.approx(1 - 10 ** -peaks[0][1])
    assert peaks[1][0] < LightBank.ALARM < 1 - 10 ** -peaks[1][1]


def test_metrics_that_are_kept_go_on_as_if_the_others_had_never_been() -> None:
    values = windows(600, 4)
    bank, alone = LightBank(4), LightBank(2)
    for at, row in enumerate(values[:400]):
        bank.learn(row, at * MINUTE)
        alone.learn(row[[3, 1]], at * MINUTE)
    assert bank.warm.tolist() == [True] * 4
    bank.keep([3, 1])
    for at, row in enumerate(values[400:], 400):
        assert bank.score(row[[3, 1]], at * MINUTE).tolist() == alone.score(row[[3, 1]], at * MINUTE).tolist()
        bank.learn(row[[3, 1]], at * MINUTE)
        alone.learn(row[[3, 1]], at * MINUTE)
    assert bank.snapshot() == alone.snapshot()
