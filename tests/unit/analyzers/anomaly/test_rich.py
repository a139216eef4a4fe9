"""The rich scorer: what it notices, what it stays silent about, and how small it is."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest

from analyzers.anomaly.scorers import calibration
from analyzers.anomaly.scorers.habituation import Habituation
from analyzers.anomaly.scorers.likelihood import SHARES, SURPRISES, surprise
from analyzers.anomaly.scorers.rich import RichScorer
from analyzers.anomaly.scorers.scorer import TIME

MINUTE = 60_000_000
FIVE = 5 * MINUTE


def taught(values: list[float], step: int = FIVE, **settings: int) -> RichScorer:
    """Return a scorer that has learned values, ``step`` µs apart."""
    scorer = RichScorer(**settings)
    for at, value in enumerate(values):
        scorer.learn_one({TIME: at * step}, value)
    return scorer


def rhythm(days: int, seed: int = 1) -> list[float]:
    """Return values every 5 minutes, high by day and low by night."""
    chance = random.Random(seed)
    return [(200 if 8 <= at * 5 // 60 % 24 < 18 else 20) + chance.gauss(0, 3) for at in range(days * 288)]


class TestNotices:
    @pytest.mark.parametrize("value", [400.0, -100.0], ids=["peak", "dip"])
    def test_a_peak_and_a_dip(self, value: float) -> None:
        chance = random.Random(2)
        scorer = taught([100 + chance.gauss(0, 5) for _ in range(2_000)])
        assert scorer.score_one({TIME: 2_000 * FIVE}, value) >= scorer.ALARM
        assert scorer.score_one({TIME: 2_000 * FIVE}, 103.0) < scorer.ALARM

    def test_a_value_of_the_day_at_night(self) -> None:
        scorer = taught(rhythm(14))
        night, noon = 14 * 288 * FIVE + 3 * 12 * FIVE, 14 * 288 * FIVE + 12 * 12 * FIVE
        assert scorer.fused({TIME: night}, 200.0) > 2 * scorer.fused({TIME: noon}, 200.0)
        assert scorer.surprises({TIME: night}, 200.0)["hour_of_day"] > 2.0

    def test_that_nothing_happens_any_more_by_day(self) -> None:
        scorer = taught(rhythm(14))
        noon = 14 * 288 * FIVE + 12 * 12 * FIVE
        assert scorer.score_one({TIME: noon}, 0.0) >= scorer.ALARM

    def test_that_a_wave_became_flat_within_its_range(self) -> None:
        chance = random.Random(3)
        wave = [50 + 30 * math.sin(at / 3) + chance.gauss(0, 1) for at in range(3_030)]
        for following, notices in (([50.0] * 30, True), (wave[3_000:], False)):
            scorer, scores = taught(wave[:3_000]), []
            for at, value in enumerate(following, 3_000):
                scores.append(scorer.score_one({TIME: at * FIVE}, value))
                scorer.learn_one({TIME: at * FIVE}, value)
            assert (max(scores) >= scorer.ALARM) == notices

    def test_a_peak_though_the_first_value_was_wild(self) -> None:
        chance = random.Random(6)
        scorer = taught([1e6, *(50 + chance.gauss(0, 5) for _ in range(3_000))])
        assert scorer.score_one({TIME: 3_001 * FIVE}, 200.0) >= scorer.ALARM

    def test_a_small_change_of_a_large_and_steady_level(self) -> None:
        chance = random.Random(7)
        scorer = taught([1e6 + chance.gauss(0, 5) for _ in range(3_000)])
        x = {TIME: 3_000 * FIVE}
        assert scorer.score_one(x, 1_000_900.0) >= scorer.ALARM


class TestIsSilent:
    def test_while_warming_up(self) -> None:
        scorer = taught([5.0] * (RichScorer.WARM - 1))
        assert scorer.score_one({TIME: 0}, 1e6) == 0.0

    def test_after_an_alarm_and_then_about_the_same_again(self) -> None:
        chance = random.Random(4)
        scorer = taught([100 + chance.gauss(0, 5) for _ in range(2_000)])
        alarms = []
        for at in range(2_000, 2_400):
            value = 250.0 if at % 60 == 0 else 100 + chance.gauss(0, 5)
            if scorer.score_one({TIME: at * FIVE}, value) >= scorer.ALARM:
                alarms.append(at)
            scorer.learn_one({TIME: at * FIVE}, value)
        assert 2_040 in alarms and len(alarms) <= 2

    def test_but_not_about_an_attack_soon_after_a_false_alarm(self) -> None:
        habituation = Habituation(3.0, silence=100)
        habituation.learn_one(3.1)
        for _ in range(10):
            habituation.learn_one(1.0)
        assert not habituation.alarms(4.0) and habituation.alarms(7.5)

    def test_more_often_the_more_it_has_alarmed(self) -> None:
        habituation = Habituation(3.0, silence=10, memory=1.0)
        least = []
        for _ in range(5):
            habituation.learn_one(9.9)
            for _ in range(50):
                habituation.learn_one(0.0)
            least.append(next(s for s in (3 + i / 100 for i in range(700)) if habituation.alarms(s)))
        assert least == sorted(least) and least[-1] > least[0]
        for _ in range(60_000):
            habituation.learn_one(0.0)
        assert habituation.alarms(3.1)


class TestProbability:
    @pytest.mark.parametrize("points", [*calibration.RICH_CHANNELS, calibration.RICH, *calibration.LIGHT_CHANNELS])
    def test_tables_rise(self, points: tuple[float, ...]) -> None:
        assert len(points) == len(SHARES) and all(a < b for a, b in pairwise(points))

    def test_a_surprise_is_the_share_beyond_and_goes_on_to_its_limit(self) -> None:
        points = calibration.RICH
        assert [surprise(points, value) for value in points] == list(SURPRISES)
        assert SURPRISES[-1] < surprise(points, points[-1] + 1) < surprise(points, points[-1] + 2) <= 6.0
        assert surprise(points, 1e9) == 6.0

    def test_scores_of_one_in_a_hundred_do_not_come_more_often_on_noise(self) -> None:
        """They come less often: the tables are of real series, whose tails are heavier."""
        chance = random.Random(5)
        scorer, beyond = RichScorer(), 0
        for at in range(6_000):
            x = {TIME: at * FIVE}
            value = chance.gauss(0, 1)
            if at >= 1_000:
                beyond += calibration.probability(calibration.RICH, scorer.fused(x, value)) >= 0.99
            scorer.learn_one(x, value)
        assert 0 < beyond <= 5_000 * 0.01


def test_the_band_follows_the_hour() -> None:
    scorer = taught(rhythm(14))
    low, high = scorer.band({TIME: 12 * 12 * FIVE})
    assert low < 200 < high < 400
    assert scorer.band({TIME: 3 * 12 * FIVE})[1] < 200


def test_its_state_is_at_most_8_kb_and_the_sample_depends_on_the_seed() -> None:
    values = rhythm(10)
    one, two = taught(values, seed=1), taught(values, seed=2)
    assert len(one.snapshot()) == len(two.snapshot()) <= RichScorer.LIMIT == 8_000
    assert one.snapshot() != two.snapshot()
