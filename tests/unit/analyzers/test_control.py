"""A live setting holds from its event time on, whatever order things come in."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from analyzers.control import LIVE, MAX_CHANGES, Change, Timeline, Told, check, read
from analyzers.host import HostEvents
from analyzers.router.candidate import Candidate
from operators.align import Aligner, HostItem
from operators.batch import END_OF_TIME, ShardItem
from state.alerts import Level
from state.control import EARLIEST, Refusal, Setting, new_id
from tests.unit.operators.test_align import items_of

SECOND = 1_000_000


def setting(name: str, value: Any, from_time: int) -> Setting:
    return Setting(
        version=1, id=new_id(), author="ann", reason="why", written_at=EARLIEST, from_time=from_time, name=name,
        value=value,
    )  # fmt: skip


def expected(changes: list[Change], name: str, time: int) -> Any:
    """Say it the simple way: of all that hold, the last by event time, then by offset."""
    holding = [c for c in changes if c.setting.name == name and c.setting.from_time <= time]
    return max(holding, key=lambda c: (c.setting.from_time, c.offset)).setting.value if holding else None


told = st.lists(
    st.one_of(
        st.tuples(st.just("anomaly.least"), st.sampled_from([1.0, 2.0, 3.0, None]), st.integers(0, 900)),
        st.tuples(st.just("anomaly.mute_minutes"), st.integers(0, 3), st.integers(0, 900)),
        st.tuples(st.just("alerts.min_level"), st.sampled_from([level.name for level in Level]), st.integers(0, 900)),
    ),
    max_size=12,
)


def changes_of(drawn: list[tuple[str, Any, int]]) -> list[Change]:
    return [Change(setting(name, value, time * SECOND), offset) for offset, (name, value, time) in enumerate(drawn)]


@given(told, st.integers(0, 2**32), st.lists(st.integers(-5, 905), max_size=20))
def test_order_and_repeats_make_no_difference(drawn: list[tuple[str, Any, int]], seed: int, times: list[int]) -> None:
    changes = changes_of(drawn)
    shuffled = changes * 2
    random.Random(seed).shuffle(shuffled)
    timeline = Timeline(shuffled)
    assert timeline.history() == sorted(changes, key=lambda c: (c.setting.from_time, c.offset))
    for name in LIVE:
        for time in times:
            assert timeline.value(name, time * SECOND) == expected(changes, name, time * SECOND)
            coming = timeline.after(name, time * SECOND)
            later = [c.setting.from_time for c in changes if c.setting.name == name]
            assert (coming.setting.from_time if coming else None) == min(
                (t for t in later if t > time * SECOND), default=None
            )


def play(parts: list[list[ShardItem]], changes: list[Change], order: random.Random, restart: bool) -> list[HostItem]:
    """Feed partitions and changes in a random interleaving in which each change comes before the clock passes it.

    A restart reads all changes written so far at once, as the flow does.
    """
    names = [part[0].origin for part in parts]
    written: list[Change] = []
    waiting = list(changes)
    order.shuffle(waiting)
    aligner = Aligner(names, silent_windows=3)
    queues = [list(part) for part in parts]
    out: list[HostItem] = []
    while any(queues):
        if order.random() < 0.3:
            known = [*written, *(waiting.pop() for _ in range(order.randint(0, len(waiting))))]
            written = known
            for change in order.sample(known, len(known)):
                aligner.change(change)
        queue = order.choice([q for q in queues if q])
        aligner.add(queue.pop(0))
        for change in [c for c in waiting if c.setting.from_time <= aligner.watermark]:
            assert aligner.change(change), "it came in time and was taken for late"
            waiting.remove(change)
            written.append(change)
        out += aligner.release()
        if restart and order.random() < 0.3:
            state = aligner.snapshot()
            aligner = Aligner(names, silent_windows=3, timeline=Timeline(written))
            aligner.restore(state)
    return out


stamp = st.tuples(st.integers(0, 900), st.just("a"), st.booleans())
partition = st.lists(stamp, min_size=1, max_size=40)


@how(max_examples=60, deadline=None)
@given(st.lists(partition, min_size=1, max_size=3), told, st.integers(1, 7), st.integers(0, 2**32), st.booleans())
def test_hosts_are_given_what_holds_at_the_event_time_of_each_item(
    stamps: list[list[tuple[int, str, bool]]], drawn: list[tuple[str, Any, int]], cuts: int, seed: int, restart: bool
) -> None:
    changes = changes_of(drawn)
    parts = [items_of(f"t-{p}", s, cuts) for p, s in enumerate(stamps)]
    released = play(parts, changes, random.Random(seed), restart)
    assert any(isinstance(item, HostEvents) for item in released)
    for item in released:
        if isinstance(item, HostEvents):
            given = (item.tuning.least, item.tuning.mute_minutes) if item.tuning else (None, None)
            assert given == (
                expected(changes, "anomaly.least", item.start),
                expected(changes, "anomaly.mute_minutes", item.start),
            )
        elif isinstance(item, Candidate):
            level = expected(changes, "alerts.min_level", item.time)
            assert item.lowest == (None if level is None else Level[level])


def test_a_change_that_comes_late_holds_from_the_next_window_and_says_so() -> None:
    aligner = Aligner(["t-0"], silent_windows=60)
    for item in items_of("t-0", [(0, "a", False), (300, "a", False)], 2, ended=False):
        aligner.add(item)
    assert all(item.tuning is None for item in aligner.release() if isinstance(item, HostEvents))
    assert not aligner.change(Change(setting("anomaly.least", 2.0, 60 * SECOND), 0))
    aligner.add(ShardItem(0, "t-0", END_OF_TIME, 0))
    rest = [item for item in aligner.release() if isinstance(item, HostEvents)]
    assert rest and all(item.tuning and item.tuning.least == 2.0 for item in rest)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("anomaly.warm_hours", 5, "unknown_setting"),
        ("host.deviations", 5, "unknown_setting"),
        ("kafka.bootstrap_servers", "evil:9092", "unknown_setting"),
        ("anomaly.least", -1, "bad_value"),
        ("anomaly.per_day", 0, "bad_value"),
        ("anomaly.per_day", 2.5, "bad_value"),
        ("anomaly.least", "4", "bad_value"),
        ("anomaly.least", True, "bad_value"),
        ("anomaly.least", float("inf"), "bad_value"),
        ("anomaly.mute_minutes", -1, "bad_value"),
        ("anomaly.mute_minutes", "2", "bad_value"),
        ("anomaly.mute_minutes", 10**15, "bad_value"),
        ("alerts.min_level", "severe", "bad_value"),
        ("alerts.min_level", 3, "bad_value"),
    ],
)
def test_only_what_is_listed_can_be_changed_and_only_to_what_its_model_takes(
    name: str, value: Any, reason: str
) -> None:
    found = check(name, value)
    assert found is not None and found.reason == reason and name in found.detail
    if value == value and value not in (float("inf"),):
        timeline = Timeline()
        refused = read(setting(name, value, EARLIEST).encode(), 0, timeline)
        assert refused == found and not timeline


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("anomaly.least", 4),
        ("anomaly.least", 2.5),
        ("anomaly.per_day", 1),
        ("anomaly.mute_minutes", 0),
        ("alerts.min_level", "critical"),
    ]
    + [(name, None) for name in LIVE],
)
def test_what_its_model_takes_can_be_set(name: str, value: Any) -> None:
    timeline = Timeline()
    found = read(setting(name, value, EARLIEST).encode(), 7, timeline)
    assert isinstance(found, Told) and found.offset == 7
    assert timeline.at(name, EARLIEST) is not None and timeline.value(name, EARLIEST) == value


def test_the_timeline_is_bounded_and_refuses_what_is_beyond_with_a_reason() -> None:
    timeline = Timeline()
    change = setting("anomaly.least", 2.0, EARLIEST)
    for offset in range(MAX_CHANGES):
        assert timeline.add(Change(change, offset))
    refused = read(json.dumps(json.loads(change.encode())).encode(), MAX_CHANGES, timeline)
    assert isinstance(refused, Refusal) and refused.reason == "too_many"
    # What it has, it still knows.
    assert isinstance(read(change.encode(), 5, timeline), Told)
