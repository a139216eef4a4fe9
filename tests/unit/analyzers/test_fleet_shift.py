"""Patch day is one signal and not one a host, whoever stands out of it is still told, and workers do not matter."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.anomaly.budget import MINUTE
from analyzers.anomaly.budget_anomaly import Reading, Unusual
from analyzers.anomaly.budget_fleet import HOSTS, METRICS, Barrier, FleetShift, ShiftSettings, Sorted

HOUR = 60 * MINUTE
#: A window: minutes since the one before, and by host which metrics were unusual.
STREAMS = st.lists(
    st.tuples(
        st.integers(1, 30),
        st.dictionaries(
            st.sampled_from([f"h{n}" for n in range(8)]),
            st.lists(st.sampled_from(["cpu", "net", "dns"]), min_size=1, max_size=3, unique=True),
            max_size=8,
        ),
    ),
    max_size=20,
)


def reading(metric: str = "cpu", surprise: float = 5.0, value: float = 95.0) -> Reading:
    return Reading(metric, value, surprise, 3.0, 20.0, ("os",))


def hosts(names: range | list[str], time: int, *readings: Reading) -> list[Unusual]:
    return [Unusual(f"h{name}", time, 0, readings) for name in names]


def test_patch_day_is_one_signal() -> None:
    shift = FleetShift(ShiftSettings())
    found = shift.judge(0, hosts(range(80), 0, reading("cpu"), reading("net", 4.0)), 100)
    assert not found.alone
    (one,) = found.shifts
    assert (one.first, one.lead.metric, one.metrics, one.count, one.of) == (True, "cpu", ("cpu", "net"), 80, 100)
    assert "cpu became unusual on 80 of 100 hosts" in one.text()
    assert one.text().endswith("with it moved net")
    # Stragglers, and metrics that follow, belong to it; only the first is a signal.
    later = shift.judge(5 * MINUTE, hosts(range(80, 100), 5 * MINUTE, reading("disk")), 100)
    assert [(s.first, s.since) for s in later.shifts] == []
    more = shift.judge(6 * MINUTE, hosts(range(40), 6 * MINUTE, reading("disk")), 100)
    assert [(s.first, s.since) for s in more.shifts] == [(False, 0)]
    assert not shift.judge(40 * MINUTE, hosts([90], 40 * MINUTE, reading("cpu")), 100).alone


def test_when_it_is_over_the_next_one_is_a_new_signal_and_a_single_host_is_told_again() -> None:
    shift = FleetShift(ShiftSettings(hold_minutes=60))
    shift.judge(0, hosts(range(80), 0, reading()), 100)
    assert len(shift.judge(2 * HOUR, hosts([1], 2 * HOUR, reading()), 100).alone) == 1
    again = shift.judge(9 * HOUR, hosts(range(80), 9 * HOUR, reading()), 100)
    assert [s.first for s in again.shifts] == [True]


def test_a_host_that_stands_out_of_the_shift_is_told_all_the_same() -> None:
    shift = FleetShift(ShiftSettings())
    attacked = Unusual("h7", 0, 0, (reading("cpu", 9.0), reading("lsass", 6.0), reading("net", 4.0)))
    others = hosts([n for n in range(20) if n != 7], 0, reading("cpu", 4.0), reading("net", 4.0))
    found = shift.judge(0, [*others, attacked], 20)
    assert [(one.host, [r.metric for r in one.readings]) for one in found.alone] == [("h7", ["cpu", "lsass"])]
    assert len(found.absorbed) == 19


@pytest.mark.parametrize(
    ("unusual", "of", "shifts"), [(2, 8, 0), (3, 8, 1), (3, 12, 1), (3, 16, 0), (4, 16, 1), (2, 2, 0)]
)
def test_it_takes_a_share_of_the_hosts_and_not_too_few(unusual: int, of: int, shifts: int) -> None:
    found = FleetShift(ShiftSettings()).judge(0, hosts(range(unusual), 0, reading()), of)
    assert len(found.shifts) == shifts
    assert len(found.alone) == (0 if shifts else unusual)


def test_peaks_and_dips_of_one_metric_are_no_common_shift() -> None:
    peaks = hosts(range(2), 0, reading(value=95.0))
    dips = hosts(range(2, 4), 0, reading(value=0.0))
    found = FleetShift(ShiftSettings()).judge(0, [*peaks, *dips], 10)
    assert (len(found.alone), found.shifts) == (4, [])


def test_hosts_that_are_unusual_hours_apart_are_no_shift() -> None:
    shift = FleetShift(ShiftSettings())
    found = [shift.judge(n * HOUR, hosts([n], n * HOUR, reading()), 10) for n in range(10)]
    assert all(len(one.alone) == 1 and not one.shifts for one in found)


def listed(stream: list) -> list[tuple[int, list[Unusual]]]:
    at, found = 0, []
    for minutes, by_host in stream:
        at += minutes * MINUTE
        found.append((at, [Unusual(h, at, 0, tuple(reading(m) for m in ms)) for h, ms in by_host.items()]))
    return found


@settings(max_examples=100, deadline=None)
@given(STREAMS, st.integers(0, 20), st.randoms())
def test_a_restart_midway_and_another_order_of_hosts_give_the_same(
    stream: list, cut: int, chance: random.Random
) -> None:
    chosen = ShiftSettings(hosts=3)
    steady, restarted = FleetShift(chosen), FleetShift(chosen)
    for number, (at, windows) in enumerate(listed(stream)):
        if number == cut:
            restarted = FleetShift.restore(chosen, restarted.snapshot())
        shuffled = list(windows)
        chance.shuffle(shuffled)
        assert steady.judge(at, windows, 8) == restarted.judge(at, shuffled, 8)


@settings(max_examples=100, deadline=None)
@given(STREAMS)
def test_no_window_is_lost_each_is_alone_or_part_of_a_shift(stream: list) -> None:
    shift = FleetShift(ShiftSettings(hosts=3))
    for at, windows in listed(stream):
        found = shift.judge(at, windows, 8)
        assert sorted([one.host for one in found.alone] + found.absorbed) == sorted(one.host for one in windows)
        assert bool(found.shifts) or not found.absorbed


def test_what_is_held_is_bounded() -> None:
    shift = FleetShift(ShiftSettings(share=1.0))
    for minute in range(3):
        at = minute * MINUTE
        shift.judge(at, hosts(range(1_500), at, reading()), 100_000)
        shift.judge(at, [Unusual("h", at, 0, tuple(reading(f"{minute}-{n}") for n in range(900)))], 100_000)
    assert len(shift._metrics) <= METRICS
    assert max(len(known.hosts) for known in shift._metrics.values()) <= HOSTS


@settings(max_examples=60, deadline=None)
@given(STREAMS, st.randoms(), st.integers(0, 200))
def test_however_shards_run_ahead_of_each_other_the_fleet_is_judged_the_same(
    stream: list, chance: random.Random, cut: int
) -> None:
    shards = 4
    chosen = ShiftSettings(hosts=3)
    windows = listed(stream)
    parts = [
        [
            (at, 2 + shard + at % 3, [one for one in found if int(one.host[1:]) % shards == shard])
            for at, found in windows
        ]
        for shard in range(shards)
    ]

    def run(turns: list[int]) -> list[tuple[int, int, Sorted]]:
        barrier, shift, told = Barrier(shards), FleetShift(chosen), []
        waiting = [list(part) for part in parts]
        for number, shard in enumerate(turns):
            if number == cut:
                barrier = Barrier.restore(shards, barrier.snapshot())
            at, known, found = waiting[shard].pop(0)
            barrier.add(shard, at, known, found)
            told += [(c.start, c.hosts, shift.judge(c.start, c.unusual, c.hosts)) for c in barrier.release()]
        return told

    turns = [shard for shard in range(shards) for _ in windows]
    inorder = [shard for _ in windows for shard in range(shards)]
    chance.shuffle(turns)
    told = run(turns)
    assert told == run(inorder)
    assert [at for at, _, _ in told] == [at for at, found in windows if found]


def test_nothing_is_released_before_every_shard_has_said_something() -> None:
    barrier = Barrier(3)
    barrier.add(0, MINUTE, 5, hosts([1], MINUTE, reading()))
    barrier.add(1, 2 * MINUTE, 5, [])
    assert barrier.release() == []
    # A shard without hosts closes windows too, and may skip some.
    barrier.add(2, 9 * MINUTE, 0, [])
    (complete,) = barrier.release()
    assert (complete.start, complete.hosts, [one.host for one in complete.unusual]) == (MINUTE, 10, ["h1"])


def test_snapshots_of_other_versions_are_refused() -> None:
    other = msgspec.msgpack.encode({"version": 9, "metrics": [], "shards": {}, "waiting": []})
    with pytest.raises(ValueError, match="version 9"):
        FleetShift.restore(ShiftSettings(), other)
    with pytest.raises(ValueError, match="version 9"):
        Barrier.restore(3, other)
