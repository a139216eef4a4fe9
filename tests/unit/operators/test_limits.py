"""Names that a sender invents must not cost memory without end, push out real hosts, or change what is counted."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.anomaly.settings import AnomalySettings
from analyzers.host import WINDOW, HostEvents
from analyzers.incidents.sightings import Heard
from analyzers.metrics import MetricSet, Partial
from analyzers.metrics.partial import Distinct
from analyzers.router.candidate import Candidate
from analyzers.router.router import Router
from operators.align import SURPLUS, Aligner, HostItem
from operators.batch import END_OF_TIME, HostLate, OpenWindow, ShardItem
from operators.host import HostLogic, host_of
from operators.roster import HOUR, HostForgotten, Roster, overflow_host
from state.alerts import Level, Signal
from state.events import Event, Kind

OVERFLOW = overflow_host(0)
KIND = Kind("test.event", "host", "seen")
DAY = 24 * HOUR


def item(minute: int, hosts: list[str], origin: str = "t-0", **more: object) -> ShardItem:
    """Return what one batch says of a minute: an event a host, and that its partition has ended it."""
    windows = {(h, minute * WINDOW): OpenWindow(Partial({0: 1}), 1, minute * WINDOW, minute * WINDOW) for h in hosts}
    return ShardItem(0, origin, (minute + 1) * WINDOW, 0, windows, **more)  # type: ignore[arg-type]


def candidate(time: int, host: str, level: Level) -> Candidate:
    signal = Signal("rule", "r", "R", level, host, time, "why", event_id=f"t-0-{time}")
    return Candidate(Event("t-0", time, time, host, KIND, b"", "json"), (signal,), time)


def windows(out: list[HostItem]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for one in out:
        if isinstance(one, HostEvents) and one.events:
            counted[one.host] = counted.get(one.host, 0) + one.events
    return counted


def test_hosts_beyond_the_limit_are_counted_together_and_known_ones_stay_apart() -> None:
    aligner = Aligner(["t-0"], roster=Roster(3, 30))
    aligner.add(item(0, ["m", "n"]))
    first = aligner.release()
    aligner.add(item(1, ["a", "b", "c", "m", "n"]))
    assert windows(first) == {"m": 1, "n": 1}
    assert windows(aligner.release()) == {"m": 1, "n": 1, "a": 1, OVERFLOW: 2}
    assert aligner.overflowed == 2


def test_a_flood_of_names_is_bounded_before_its_window_closes_and_no_event_is_lost() -> None:
    aligner = Aligner(["t-0"], roster=Roster(20, 30))
    aligner.add(item(0, ["victim"]))
    aligner.release()
    order = random.Random(1)
    for _ in range(300):
        aligner.add(item(1, [f"{order.random():.12f}" for _ in range(100)] + ["victim"]))
        assert max(map(len, aligner._windows.values())) <= 20 + SURPLUS + 2
    aligner.add(item(2, []))
    counted = windows(aligner.release())
    assert sum(counted.values()) == 300 * 101
    assert (counted["victim"], len(counted)) == (300, 21)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_who_gets_a_place_does_not_depend_on_the_order_of_arrival(seed: int, restart: bool) -> None:
    names = [f"h{n:03d}" for n in range(40)]
    parts = [[item(m, random.Random(m * 7 + p).sample(names, 15), f"t-{p}") for m in range(6)] for p in range(3)]
    expected = windows(play([part[:] for part in parts], random.Random(0), restart=False))
    assert OVERFLOW in expected
    assert windows(play(parts, random.Random(seed), restart)) == expected


def play(parts: list[list[ShardItem]], order: random.Random, restart: bool) -> list[HostItem]:
    import copy

    aligner = Aligner(["t-0", "t-1", "t-2"], roster=Roster(10, 30))
    out: list[HostItem] = []
    while any(parts):
        aligner.add(copy.deepcopy(order.choice([part for part in parts if part]).pop(0)))
        out += aligner.release()
        if restart and order.random() < 0.3:
            state = aligner.snapshot()
            aligner = Aligner(["t-0", "t-1", "t-2"], roster=Roster(10, 30))
            aligner.restore(state)
    return out


def test_candidate_of_a_host_without_a_place_is_decided_once_and_names_the_true_host() -> None:
    aligner = Aligner(["t-0"], roster=Roster(1, 30))
    aligner.add(item(0, ["known"]))
    aligner.release()
    waiting = [candidate(WINDOW, "stranger", Level.low), candidate(WINDOW + 1, "known", Level.low)]
    aligner.add(item(1, [], candidates=waiting))
    released = [one for one in aligner.release() if isinstance(one, Candidate)]
    assert sorted((host_of(one), one.signals[0].entity) for one in released) == [
        (OVERFLOW, OVERFLOW),
        ("known", "known"),
    ]
    assert {one.signals[0].reason for one in released} == {"on stranger: why", "why"}


def test_alerts_of_hosts_without_a_place_are_remembered_for_a_bounded_number() -> None:
    aligner = Aligner(["t-0"], roster=Roster(2, 30))
    aligner.add(item(0, ["x", "y"]))
    hits = [candidate(WINDOW + n, f"s{n}", Level.high) for n in range(5)]
    aligner.add(item(1, [], candidates=hits))
    gone = [one for one in aligner.release() if isinstance(one, HostForgotten)]
    assert [(one.host, host_of(one)) for one in gone] == [("s0", OVERFLOW), ("s1", OVERFLOW), ("s2", OVERFLOW)]
    assert len(aligner.roster.strays) == 2


def test_late_events_of_a_host_without_a_place_are_counted_together() -> None:
    aligner = Aligner(["t-0"], roster=Roster(1, 30))
    aligner.add(item(0, ["known"]))
    aligner.release()
    aligner.add(item(1, [], late={name: HostLate(name, 3, 1, 2) for name in ("known", "stranger")}))
    late = {one.host: one.events for one in aligner.release() if isinstance(one, HostLate)}
    assert late == {"known": 3, OVERFLOW: 3}


@pytest.mark.parametrize("jump", [False, True])
def test_a_host_silent_for_long_is_forgotten_by_event_time_and_makes_room(jump: bool) -> None:
    aligner = Aligner(["t-0"], silent_windows=1, roster=Roster(1, 2))
    aligner.add(item(0, ["old"]))
    out = aligner.release()
    for minute in () if jump else range(10, 3 * 1440, 10):
        aligner.add(item(minute, []))
        out += aligner.release()
    aligner.add(item(3 * 1440 + 7, ["young"]))
    out += aligner.release()
    forgotten = [one for one in out if isinstance(one, HostForgotten)]
    assert [one.host for one in forgotten] == ["old"]
    assert windows(out) == {"old": 1, "young": 1}


def test_a_real_host_cannot_take_the_overflow_hosts_name() -> None:
    aligner = Aligner(["t-0"], roster=Roster(5, 30))
    aligner.add(item(0, ["_overflow-09", "a"]))
    assert windows(aligner.release()) == {"a": 1, OVERFLOW: 1}


def test_forgotten_host_leaves_no_state_and_begins_anew() -> None:
    metrics = MetricSet.load()
    logic = HostLogic(metrics, AnomalySettings(), Router(), Level.low, None)
    window = HostEvents("a", 0, Partial({0: 1}), 0, 1, 9)
    logic.on_batch([window])
    gone = HostForgotten("a", DAY, "a")
    out, discard = logic.on_batch([gone])
    # Incidents are told since when it counted among those who have anything to say; this one never had.
    assert (list(out), discard) == ([gone, Heard("a", DAY)], True)
    out, discard = logic.on_batch([window, gone, HostEvents("a", DAY, Partial({0: 1}), DAY, DAY, 2)])
    assert discard is False
    assert [one.events for one in out if hasattr(one, "first_seen")] == [2]


def test_end_of_time_forgets_nobody_early() -> None:
    aligner = Aligner(["t-0"], roster=Roster(5, 30))
    aligner.add(item(0, ["a"]))
    aligner.add(ShardItem(0, "t-0", END_OF_TIME, 0))
    assert not any(isinstance(one, HostForgotten) for one in aligner.release())


def test_what_many_hosts_did_together_is_no_attack_of_one() -> None:
    metrics = MetricSet.load()
    logic = HostLogic(metrics, AnomalySettings(), Router(), Level.low, None)
    hashes = Partial({0: 10_000_000}, {metrics.names.index("users"): Distinct(set(range(64)))})
    out, _ = logic.on_batch([HostEvents(OVERFLOW, 0, hashes, 0, 1, 9)])
    assert [one.name for one in out if isinstance(one, Signal)] == ["More hosts than are kept apart"]
    out, _ = HostLogic(metrics, AnomalySettings(), Router(), Level.low, None).on_batch(
        [HostEvents("a", 0, hashes, 0, 1, 9)]
    )
    assert [one.name for one in out if isinstance(one, Signal)] == ["Password spraying"]
