"""What is asked about a host's window: beyond its band, with a meaning; telling metrics get a rich scorer beside."""

from __future__ import annotations

import random

import pytest

from analyzers.anomaly.habits import Habits
from analyzers.anomaly.settings import AnomalySettings
from analyzers.metrics import Meaning, Metric, MetricSet

MINUTE = 60_000_000
BUSY = Meaning("Busy", "low")
METRICS = MetricSet(
    [Metric(name, name, "count", peak=BUSY, dip=BUSY) for name in ("a", "b", "c")] + [Metric("mute", "mute", "count")]
)
MOVED = {index: index for index in range(4)}


def values(chance: random.Random) -> dict[int, float]:
    return {index: float(chance.randint(80, 120)) for index in range(4)}


def promoted(habits: Habits) -> list[str]:
    return [METRICS.names[index] for index in habits._promoted]


def test_a_metric_that_told_is_scored_richly_too_and_the_one_silent_for_longest_gives_way() -> None:
    habits, chance = Habits("web-1", METRICS, AnomalySettings(promote=2)), random.Random(1)
    for minute in range(400):
        habits.judge(minute * MINUTE, values(chance))
    assert promoted(habits) == []
    seen = []
    for minute, index in enumerate((0, 1, 0, 2), 400):
        found = habits.judge(minute * MINUTE, values(chance) | {index: 9_000.0 * 8 ** (minute - 400)}).unusual
        assert found is not None
        seen.append(promoted(habits))
    # The last ones to tell stay; what is still unusual beside them told too.
    assert seen[0] == ["a"] and len(seen[-1]) == 2 and "c" in seen[-1]


def test_nothing_is_promoted_that_tells_nothing_or_unless_it_is_asked_for() -> None:
    for settings, index in ((AnomalySettings(promote=2), 3), (AnomalySettings(), 0)):
        habits, chance = Habits("web-1", METRICS, settings), random.Random(1)
        for minute in range(400):
            habits.judge(minute * MINUTE, values(chance))
        habits.judge(400 * MINUTE, values(chance) | {index: 9_000.0})
        assert promoted(habits) == []


@pytest.mark.parametrize("stop", (401, 700, 1_201))
def test_a_restart_keeps_who_is_promoted_and_what_was_learned(stop: int) -> None:
    def run(restart: int) -> list[object]:
        habits, chance = Habits("web-1", METRICS, AnomalySettings(promote=2)), random.Random(1)
        found: list[object] = []
        for minute in range(1_250):
            if minute == restart:
                habits = Habits.restore("web-1", METRICS, AnomalySettings(promote=2), habits.snapshot(), MOVED)
            peak = {0: 9_000.0} if minute in (400, 1_200) else {}
            found.append(habits.judge(minute * MINUTE, values(chance) | peak))
        return [*found, promoted(habits)]

    assert run(stop) == run(-1)


def test_less_promoted_by_new_settings_holds_after_a_restart() -> None:
    habits, chance = Habits("web-1", METRICS, AnomalySettings(promote=3)), random.Random(1)
    for minute in range(400):
        habits.judge(minute * MINUTE, values(chance))
    habits.judge(400 * MINUTE, values(chance) | {0: 9_000.0, 1: 9_500.0})
    both = promoted(habits)
    assert sorted(both) == ["a", "b"]
    fewer = Habits.restore("web-1", METRICS, AnomalySettings(promote=1), habits.snapshot(), MOVED)
    none = Habits.restore("web-1", METRICS, AnomalySettings(), habits.snapshot(), MOVED)
    assert (promoted(fewer), promoted(none)) == (both[-1:], [])
