"""Patch day is one signal and not one a host, whoever stands out of it is still told, and workers do not matter."""

from __future__ import annotations

import random
from collections.abc import Iterable
from functools import partial

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.anomaly.barrier import END, Barrier, Report, WindowClosed
from analyzers.anomaly.budget import MINUTE
from analyzers.anomaly.budget_anomaly import Reading, Unusual
from analyzers.anomaly.budget_fleet import HOSTS, METRICS, FleetShift, ShiftSettings, Sorted
from analyzers.anomaly.drift import UnusualDrift
from analyzers.anomaly.fleet import Fleet
from analyzers.anomaly.settings import AnomalySettings, Tuning
from analyzers.anomaly.telling import HostAlarm
from analyzers.metrics import Meaning, Metric, MetricSet
from state.alerts import FLEET, Level, Signal

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

    def run(turns: list[int]) -> list[tuple[int, int, Sorted]]:
        """Let shards close windows in turns of chance, and their hosts report them in any order."""
        order, barrier, shift, told = random.Random(seed), Barrier(shards), FleetShift(chosen), []
        waiting = [list(windows) for _ in range(shards)]
        on_the_way: list[Report] = []
        for number, shard in enumerate(turns):
            if number == cut:
                barrier = Barrier.restore(shards, barrier.snapshot())
            at, found = waiting[shard].pop(0)
            unusual = {one.host: one for one in found if int(one.host[1:]) % shards == shard}
            known = [f"h{n}" for n in range(8) if n % shards == shard]
            barrier.close(WindowClosed(shard, at, len(known)))
            on_the_way += [Report(name, at, unusual.get(name)) for name in known]
            order.shuffle(on_the_way)
            for _ in range(order.randint(0, len(on_the_way))):
                barrier.report(on_the_way.pop())
            told += judge(shift, barrier)
        for report in on_the_way:
            barrier.report(report)
        return told + judge(shift, barrier)

    turns = [shard for shard in range(shards) for _ in windows]
    inorder = [shard for _ in windows for shard in range(shards)]
    chance.shuffle(turns)
    seed = chance.random()
    told = run(turns)
    assert told == run(inorder)
    assert [(at, known) for at, known, _ in told] == [(at, 8) for at, _ in windows]


def judge(shift: FleetShift, barrier: Barrier) -> list[tuple[int, int, Sorted]]:
    return [
        (c.start, c.hosts, shift.judge(c.start, [r.unusual for r in c.reports if r.unusual], c.hosts))
        for c in barrier.release()
    ]


def test_nothing_is_released_before_every_shard_has_said_something() -> None:
    barrier = Barrier(3)
    (found,) = hosts([1], MINUTE, reading())
    barrier.report(Report("h1", MINUTE, found))
    barrier.close(WindowClosed(0, MINUTE, 1))
    barrier.close(WindowClosed(1, 2 * MINUTE, 5))
    assert barrier.release() == []
    # A shard without hosts closes windows too, and may skip some.
    barrier.close(WindowClosed(2, 9 * MINUTE, 0))
    (complete,) = barrier.release()
    assert (complete.start, complete.hosts, [one.host for one in complete.reports]) == (MINUTE, 1, ["h1"])


def test_the_last_window_of_a_replay_does_not_wait_for_shards_that_ended_before() -> None:
    barrier = Barrier(2)
    barrier.close(WindowClosed(0, MINUTE, 0))
    barrier.close(WindowClosed(0, END, 0))
    barrier.close(WindowClosed(1, 5 * MINUTE, 1))
    barrier.close(WindowClosed(1, END, 0))
    barrier.report(Report("h1", 5 * MINUTE))
    assert [window.start for window in barrier.release()] == [MINUTE, 5 * MINUTE]


def test_snapshots_of_other_versions_are_refused() -> None:
    other = msgspec.msgpack.encode(
        {"version": 9, "metrics": [], "shards": {}, "expected": {}, "came": {}, "waiting": [], "rule": "", "alarm": b""}
        | {"barrier": b"", "shift": b"", "drift": b"", "count": 0, "mean": 0, "increase": 0, "least": 0, "recent": 0}
    )
    for restore in (
        partial(FleetShift.restore, ShiftSettings()),
        partial(Barrier.restore, 3),
        partial(HostAlarm.restore, SET, AnomalySettings()),
        partial(Fleet.restore, 3, SET, ShiftSettings()),
        UnusualDrift.restore,
    ):
        with pytest.raises(ValueError, match="version 9"):
            restore(other)


MEANING = Meaning("Busy", "low", ("T1496",), ("impact",))
SET = MetricSet([Metric(name, name, "count", peak=MEANING, dip=MEANING) for name in ("cpu", "net", "dns")])


def minute_of(fleet: Fleet, minute: int, unusual: Iterable[str], of: int) -> list[Signal | Report]:
    """Let all hosts of a fleet of one shard report a minute, some as unusual; return what is judged."""
    fleet.add(WindowClosed(0, minute * MINUTE, of))
    found = {one.host: one for name in unusual for one in hosts([name], minute * MINUTE, reading())}
    for number in range(of):
        fleet.add(Report(f"h{number}", minute * MINUTE, found.get(f"h{number}")))
    judged = list(fleet.release())
    # Whoever waits for the hosts' own alarms is told how many windows they will judge.
    left = sum(isinstance(one, Report) for one in judged)
    assert [one for one in judged if isinstance(one, WindowClosed)] == [WindowClosed(1, minute * MINUTE, 0, left)]
    return [one for one in judged if not isinstance(one, WindowClosed)]


def test_patch_day_is_one_alert_of_the_fleet_and_no_host_is_asked() -> None:
    fleet = Fleet(1, SET, ShiftSettings())
    (signal,) = minute_of(fleet, 1, [str(n) for n in range(8)], 10)
    assert isinstance(signal, Signal)
    assert (signal.entity, signal.rule, signal.name) == (FLEET, "fleet:cpu:peak", "Many hosts at once: Busy")
    assert (signal.level, signal.techniques, fleet.absorbed) == (Level.low, ("T1496",), 8)
    assert minute_of(fleet, 2, ["3"], 10) == [] and fleet.absorbed == 9


def test_one_host_goes_to_its_own_alarm_with_the_settings_of_its_window() -> None:
    fleet = Fleet(1, SET, ShiftSettings())
    fleet.add(WindowClosed(0, MINUTE, 1))
    (unusual,) = hosts([1], MINUTE, reading())
    report = Report("h1", MINUTE, unusual, Tuning(per_day=7))
    fleet.add(report)
    assert list(fleet.release()) == [report, WindowClosed(1, MINUTE, 0, 1)]
    fleet.add(WindowClosed(0, END, 0))
    assert list(fleet.release()) == [WindowClosed(1, END, 0)]


def test_a_fleet_that_is_lastingly_less_usual_is_told_once_and_a_restart_changes_nothing() -> None:
    def run(restart: int) -> list[tuple[int, str]]:
        fleet, told = Fleet(1, SET, ShiftSettings(share=1.0)), []
        for minute in range(2_400):
            if minute == restart:
                fleet = Fleet.restore(1, SET, ShiftSettings(share=1.0), fleet.snapshot())
            busy = [str(n) for n in range(4)] if minute >= 2_000 else ["1"] if minute % 90 == 0 else []
            found = minute_of(fleet, minute, busy, 20)
            told += [(minute, one.reason) for one in found if isinstance(one, Signal)]
        return told

    ((minute, reason),) = run(-1)
    assert 2_050 < minute < 2_100
    assert reason.startswith("the share of hosts with an unusual minute rose from 0.51% to 14.99% by 1970-01-02")
    for restart in (700, 2_030, minute + 1):
        assert run(restart) == [(minute, reason)]


def test_one_host_under_attack_for_hours_is_no_drift_of_the_fleet() -> None:
    fleet = Fleet(1, SET, ShiftSettings())
    found = [one for minute in range(2_400) for one in minute_of(fleet, minute, ["1"] if minute > 2_000 else [], 3)]
    assert not any(isinstance(one, Signal) for one in found)
