"""Rarity of what a host shows: what is new or much stands out, what is usual does not, and state is small and lasts."""

from __future__ import annotations

import importlib.util
import math
import random
import string
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import base, checks

from analyzers.anomaly.rarity import MOST, ROW, Rarity
from analyzers.anomaly.rarity_fleet import UNKNOWN, WINDOW, Fleet, key_of

COUNTS = st.dictionaries(st.sampled_from(string.ascii_lowercase), st.integers(1, 10_000), max_size=8)
#: Windows: minutes since the one before, and what was counted.
STREAMS = st.lists(st.tuples(st.integers(1, 3_000), COUNTS), max_size=30)


def taught(values: dict[str, float], minutes: int, every: int = 1) -> Rarity:
    rarity = Rarity()
    for minute in range(0, minutes, every):
        rarity.learn_one(values, t=minute * WINDOW)
    return rarity


def test_a_rule_that_never_matched_here_is_rarer_than_one_that_matches_each_hour_than_one_each_minute() -> None:
    rarity = Rarity()
    for minute in range(2_880):
        rarity.learn_one({"often": 1.0} | ({"hourly": 1.0} if minute % 60 == 0 else {}), t=minute * WINDOW)
    at = 2_880 * WINDOW
    often, hourly, never = (rarity.surprise_one({value: 1.0}, t=at) for value in ("often", "hourly", "never"))
    assert often < 1.0 < hourly < 2.5 < never


def test_a_rule_that_matches_a_thousand_times_at_once_stands_out_though_it_matches_each_minute() -> None:
    rarity = taught({"often": 3.0}, 2_880)
    at = 2_880 * WINDOW
    assert rarity.surprise_one({"often": 1_000.0}, t=at) > rarity.surprise_one({"often": 3.0}, t=at) + 2.0
    # Counting fewer than usual of what is seen at all is no news: silence of a host is a matter of metrics.
    assert rarity.surprises({"often": 1.0}, t=at)[0].times == 0.0


def test_a_host_that_is_new_is_measured_by_what_the_fleet_is_used_to() -> None:
    fleet = Fleet()
    for host in range(20):
        fleet.join(host)
    for minute in range(1_440):
        for _ in range(20):
            fleet.learn_one({"ntp": 1.0}, minute * WINDOW)
    at = 1_440 * WINDOW
    usual = fleet.usual(["ntp", "lsass"], at)
    new = Rarity()
    assert new.surprise_one({"ntp": 1.0}, t=at, usual=usual) < 0.5
    assert new.surprise_one({"lsass": 1.0}, t=at, usual=usual) > 4.0
    # The more of a fleet has never shown it, the rarer; without a fleet nothing but a guess is left.
    assert usual["lsass"].rate < UNKNOWN.rate
    assert new.surprise_one({"ntp": 1.0}, t=at) > 3.0


def test_hosts_that_left_no_longer_make_the_rest_look_rare() -> None:
    fleet = Fleet()
    for _ in range(10):
        fleet.join(0)
    at = 1_440 * WINDOW
    before = fleet.usual(["x"], at)["x"].rate
    for _ in range(9):
        fleet.leave(0, at)
    alone = Fleet()
    alone.join(0)
    assert fleet.usual(["x"], at)["x"].rate == pytest.approx(alone.usual(["x"], at)["x"].rate)
    assert fleet.usual(["x"], at)["x"].rate > before


def test_the_minutes_after_something_very_rare_are_looked_at_more_closely_and_then_no_longer() -> None:
    rarity, forgetful = Rarity(), Rarity(carry=0.0)
    for one in (rarity, forgetful):
        for minute in range(1_440):
            one.learn_one({"often": 1.0}, t=minute * WINDOW)
        one.learn_one({"a": 50.0, "b": 1.0}, t=1_440 * WINDOW)
    for later, (least, most) in {1: (0.3, 3.0), 61: (0.05, 0.75), 1_440: (0.0, 1e-9)}.items():
        at = (1_440 + later) * WINDOW
        rise = rarity.surprise_one({"often": 1.0}, t=at) - forgetful.surprise_one({"often": 1.0}, t=at)
        assert least <= rise < most
    # Where nothing is seen there is nothing to raise.
    assert rarity.score_one({}, t=1_441 * WINDOW) == 0.0


def test_a_host_whose_values_are_always_new_is_not_always_rare() -> None:
    rarity = Rarity(places=10)
    first = rarity.surprise_one({"value-0": 1.0}, t=0)
    for minute in range(2_000):
        rarity.learn_one({f"value-{minute}": 1.0}, t=minute * WINDOW)
    assert rarity.surprise_one({"value-2000": 1.0}, t=2_000 * WINDOW) < 0.8 < 3.0 < first
    assert len(rarity.snapshot()[-1]) == 10 * ROW.size


def test_what_is_seen_often_keeps_its_place_among_values_without_end() -> None:
    rarity = Rarity(places=10)
    for minute in range(3_000):
        rarity.learn_one({"often": 1.0, f"value-{minute}": 1.0}, t=minute * WINDOW)
    assert rarity.surprises({"often": 1.0}, t=3_000 * WINDOW)[0].gap < 0.8
    assert rarity._find(key_of("often")) >= 0


def test_what_a_host_holds_is_at_most_14_hundred_bytes() -> None:
    rarity = Rarity()
    chance = random.Random(1)
    for minute in range(500):
        x = {f"{chance.random()}" * 100: chance.uniform(0, 1e30) for _ in range(10)}
        rarity.learn_one(x, t=1_700_000_000_000_000 + minute * WINDOW)
    assert 840 < len(msgspec.msgpack.encode(rarity.snapshot())) < 1_000
    held = sum(map(sys.getsizeof, [rarity, rarity._rows, rarity.__dict__]))
    assert held < 1_400 + 8 * sys.getsizeof(1.0)


def test_the_fleet_holds_no_more_values_than_it_has_places_and_keeps_the_frequent_ones() -> None:
    fleet = Fleet(places=64)
    fleet.join(0)
    for minute in range(1_000):
        fleet.learn_one({"often": 1.0, f"value-{minute}": 1.0}, minute * WINDOW)
        assert len(fleet._rows) <= 64
    assert fleet.usual(["often"], 1_000 * WINDOW)["often"].rate > 0.2


@settings(max_examples=60, deadline=None)
@given(STREAMS, STREAMS)
def test_scores_after_a_restart_are_those_without_it(before: list, after: list) -> None:
    fleet, rarity = Fleet(places=16), Rarity(places=6)
    fleet.join(0)
    at = 0
    restored: Rarity | None = None
    restored_fleet: Fleet | None = None
    for number, (minutes, x) in enumerate(before + after):
        at += minutes * WINDOW
        if number == len(before):
            restored = Rarity.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(rarity.snapshot())), places=6)
            saved = msgspec.msgpack.decode(msgspec.msgpack.encode(fleet.snapshot()))
            restored_fleet = Fleet.restore(saved, places=16)
        usual = fleet.usual(x, at)
        score = rarity.surprise_one(x, t=at, usual=usual)
        rarity.learn_one(x, t=at, usual=usual)
        fleet.learn_one(x, at)
        if restored is not None and restored_fleet is not None:
            assert restored_fleet.usual(x, at) == usual
            assert restored.surprise_one(x, t=at, usual=usual) == score
            restored.learn_one(x, t=at, usual=usual)
            restored_fleet.learn_one(x, at)
            assert restored.snapshot() == rarity.snapshot()
            assert restored_fleet.snapshot() == fleet.snapshot()


@settings(max_examples=60, deadline=None)
@given(STREAMS, st.randoms())
def test_the_order_in_which_values_of_a_window_are_named_changes_nothing(stream: list, chance: random.Random) -> None:
    one, other = Rarity(places=5), Rarity(places=5)
    at = 0
    for minutes, x in stream:
        at += minutes * WINDOW
        shuffled = list(x.items())
        chance.shuffle(shuffled)
        assert one.surprises(x, t=at) == other.surprises(dict(shuffled), t=at)
        one.learn_one(x, t=at)
        other.learn_one(dict(shuffled), t=at)
    assert one.snapshot() == other.snapshot()


@pytest.mark.parametrize("count", [math.nan, -math.inf, -1.0, 0.0])
def test_a_count_that_says_nothing_was_seen_is_not_seen(count: float) -> None:
    rarity, fleet = taught({"a": 1.0}, 10), Fleet()
    before = rarity.snapshot()[-1]
    rarity.learn_one({"b": count}, t=10 * WINDOW)
    fleet.learn_one({"b": count}, 10 * WINDOW)
    assert rarity.score_one({"b": count}, t=10 * WINDOW) == 0.0
    assert rarity.snapshot()[-1] == before
    assert not fleet.snapshot()["rows"]


def test_counts_and_times_beyond_all_bounds_neither_break_it_nor_its_snapshot() -> None:
    rarity = Rarity()
    for at in (0, 2**62, -(2**62), 4_102_444_800_000_000):
        for count in (math.inf, 1e308, 1e-300, 1.0):
            at = min(at, 4_102_444_800_000_000)
            assert 0.0 <= rarity.score_one({"a": count, "\ud800": 1.0}, t=at) <= 1.0
            rarity.learn_one({"a": count, "\ud800": 1.0}, t=at)
    assert math.isfinite(Rarity.restore(rarity.snapshot()).surprise_one({"a": 1.0}))


def test_an_older_window_is_judged_as_if_it_came_now() -> None:
    rarity = taught({"a": 1.0}, 100)
    assert rarity.surprises({"a": 1.0}, t=5 * WINDOW) == rarity.surprises({"a": 1.0}, t=99 * WINDOW)


def test_a_score_is_the_surprise_as_a_probability_and_never_above_one() -> None:
    rarity = taught({"often": 1.0}, 2_880)
    x = {f"new-{n}": 1e9 for n in range(30)}
    assert rarity.surprise_one(x) > MOST
    assert rarity.score_one(x) == pytest.approx(1.0)
    assert rarity.score_one(x) <= 1.0
    seen = rarity.surprise_one({"often": 2.0})
    assert rarity.score_one({"often": 2.0}) == pytest.approx(1.0 - 10.0**-seen)


@pytest.mark.parametrize("state", [(2, 0, 0, 0.0, 0, 0.0, 0, b""), (1, 0, 0, 0.0, 0, 0.0, 0, b"x" * 20)])
def test_a_snapshot_of_another_version_or_a_broken_one_is_refused(state: tuple) -> None:
    with pytest.raises(ValueError, match="rarity"):
        Rarity.restore(state)


def test_a_snapshot_of_a_fleet_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version 7"):
        Fleet.restore(Fleet().snapshot() | {"version": 7})


def test_it_is_an_anomaly_detector_of_rivers_by_rivers_own_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    # All checks that River has for it, on a stream of ours: River's own is of card payments, and downloaded.
    def streams(model: base.Estimator, scale: int = 1) -> Iterator[list[tuple[dict[str, int], bool]]]:
        chance = random.Random(3)
        usual = [({v: chance.randint(1, 9) for v in chance.sample("abcdef", 3)}, False) for _ in range(200 * scale)]
        yield [({"new": 40}, True) if n % 97 == 96 else row for n, row in enumerate(usual)]

    monkeypatch.setattr(checks, "_yield_datasets", streams)
    done = []
    for check in checks.yield_checks(Rarity()):
        # It asks scikit-learn for the area, which only training brings.
        if check.__name__ != "check_roc_auc" or importlib.util.find_spec("sklearn"):
            check(Rarity())
            done.append(check.__name__)
    assert {"check_pickling", "check_bounded_memory_growth", "check_shuffle_features_no_impact"} <= set(done)


def test_a_worker_does_not_wait_for_rivers_anomaly_detectors_when_it_starts() -> None:
    code = "import sys, analyzers.anomaly.rarity, analyzers.anomaly.budget_fleet; print('river.anomaly' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"
