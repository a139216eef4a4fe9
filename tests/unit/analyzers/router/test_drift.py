"""Drift watch and overload: they speak up when they should, are silent else, and their state is bounded."""

from __future__ import annotations

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from analyzers.router.drift import DriftWatch
from analyzers.router.overload import Overload
from analyzers.router.settings import RouterSettings


def feed(watch: DriftWatch, chances: random.Random, count: int, unsettled: float, sure: float = 0.0005) -> None:
    for _ in range(count):
        if chances.random() < unsettled:
            watch.count("unsettled", 0.5)
        else:
            watch.count("benign", sure)


def test_a_stream_that_stays_as_it_is_raises_no_alarm() -> None:
    told = 0
    for seed in range(20):
        watch, chances = DriftWatch(reference=2_000, block=500, audits=100), random.Random(seed)
        feed(watch, chances, 2_000, 0.02)
        assert not watch.learning
        for _ in range(5):
            feed(watch, chances, 500, 0.02)
            told += bool(watch.drifts())
        for _ in range(400):
            watch.audited("benign", chances.random() < 0.95)
        told += bool(watch.drifts())
    assert told <= 1, "one in a thousand blocks may"


def test_what_changed_is_told_with_shares_before_and_now_until_it_is_as_before() -> None:
    watch, chances = DriftWatch(reference=2_000, block=500), random.Random(1)
    feed(watch, chances, 2_500, 0.01)
    assert watch.drifts() == []
    feed(watch, chances, 500, 0.08)
    kinds = {drift.kind for drift in watch.drifts()}
    assert kinds == {"mix", "certainty"}
    (mix,) = [drift for drift in watch.drifts() if drift.what == "texts that are unsettled"]
    assert mix.before < 0.02 < 0.05 < mix.now and mix.p_value < 1e-4 and "before" in str(mix)
    feed(watch, chances, 500, 0.01)
    assert watch.drifts() == []


def test_a_judge_that_is_less_sure_is_noticed_though_it_decides_the_same() -> None:
    watch, chances = DriftWatch(reference=1_000, block=500), random.Random(1)
    feed(watch, chances, 1_500, 0.01)
    feed(watch, chances, 500, 0.01, sure=0.02)
    assert {drift.kind for drift in watch.drifts()} == {"certainty"}


def test_judges_that_agree_less_than_they_did_are_told_and_those_that_agree_more_are_not() -> None:
    watch, chances = DriftWatch(audits=100), random.Random(2)
    for share, told in ((0.95, False), (0.95, False), (1.0, False), (0.6, True), (0.95, False)):
        for _ in range(100):
            watch.audited("benign", chances.random() < share)
        assert [drift.kind for drift in watch.drifts()] == ["agreement"] * told, share


SETTINGS = RouterSettings(return_seconds=10, shed_seconds=60, shed_all_seconds=300, calm_seconds=30)


def test_cost_is_shed_at_once_and_taken_back_step_by_step_when_it_is_calm() -> None:
    overload = Overload(SETTINGS)
    script = [(5, 0, 0), (59, 1, 0), (60, 2, 1), (300, 3, 2), (59, 4, 2), (10, 10, 2), (10, 39, 2), (10, 40, 1)]
    script += [(11, 45, 1), (3, 50, 1), (3, 79, 1), (3, 80, 0), (3, 500, 0)]
    for lag, now, level in script:
        assert overload.observe(lag, now) == level, (lag, now)


@given(st.lists(st.tuples(st.floats(0, 1_000) | st.just(math.nan), st.floats(0, 20)), max_size=60))
def test_it_never_flaps_and_always_returns(steps: list[tuple[float, float]]) -> None:
    overload, now, since = Overload(SETTINGS), 0.0, 0.0
    level = 0
    for lag, pause in steps:
        now += pause
        before, level = level, overload.observe(lag, now)
        if level < before:
            assert level == before - 1 and lag <= 10 and now - since >= 30
        if level > before:
            assert lag >= 60
        if level != before or not lag <= 10:
            since = now
    for _ in range(4):
        now += 30
        overload.observe(0.0, now)
    assert overload.level == 0


def test_a_clock_that_went_back_does_not_keep_it_shedding_for_long() -> None:
    overload = Overload(SETTINGS)
    overload.observe(100, 1_000)
    overload.observe(0, 1_001)
    assert [overload.observe(0, now) for now in (5, 34, 35)] == [1, 1, 0]
