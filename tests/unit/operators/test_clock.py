"""The watermark must not depend on where batches are cut, nor be moved by one wrong stamp."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from operators.clock import LOOKAHEAD, EventClock
from state.events import Event, Kind

KIND = Kind("test.event", "host", "seen")
SECOND = 1_000_000


def event(time: int, offset: int = 0, host: str = "web-1") -> Event:
    return Event("t-0", offset, time, host, KIND, b"", "json")


def test_late_event_is_judged_by_the_watermark_it_met() -> None:
    clock = EventClock(lateness=5 * SECOND, future=600 * SECOND)
    placed = clock.place([event(100 * SECOND), event(96 * SECOND), event(94 * SECOND)], now=100 * SECOND)
    assert placed.late == {2: 95 * SECOND}
    assert clock.watermark == 95 * SECOND


def test_event_of_next_year_does_not_end_todays_windows() -> None:
    clock = EventClock(lateness=5 * SECOND, future=600 * SECOND)
    placed = clock.place([event(100 * SECOND), event(10**15), event(101 * SECOND)], now=100 * SECOND)
    assert placed.future == {1: 95 * SECOND}
    assert placed.late == {}
    assert clock.watermark == 96 * SECOND


def test_recorded_outlier_is_ahead_of_its_time_but_a_pause_is_not() -> None:
    steady = [event(i * SECOND) for i in range(100)]
    outlier = [*steady[:50], event(10**13), *steady[50:]]
    clock = EventClock(5 * SECOND, 600 * SECOND)
    assert list(clock.place_recorded(outlier, []).future) == [50]
    pause = [*steady, *(event(10**13 + i * SECOND) for i in range(100))]
    clock = EventClock(5 * SECOND, 600 * SECOND)
    placed = clock.place_recorded(pause, [])
    assert placed.future == {}
    assert clock.watermark == 10**13 + 94 * SECOND


def test_first_event_in_the_far_future_does_not_make_everything_late() -> None:
    clock = EventClock(5 * SECOND, 600 * SECOND)
    placed = clock.place_recorded([event(10**14), *(event(i * SECOND) for i in range(40))], [])
    assert list(placed.future) == [0]
    assert placed.late == {}


times = st.lists(st.integers(0, 10_000).map(lambda s: s * SECOND), min_size=1, max_size=120)


@given(times, st.lists(st.integers(1, 40), min_size=1, max_size=10))
def test_cutting_batches_elsewhere_changes_nothing(stamps: list[int], sizes: list[int]) -> None:
    events = [event(time, i) for i, time in enumerate(stamps)]
    whole = EventClock(5 * SECOND, 60 * SECOND)
    expected = whole.place_recorded(events, [])
    live = EventClock(5 * SECOND, 60 * SECOND)
    expected_live = live.place(events, now=5_000 * SECOND)

    cut, cut_live = EventClock(5 * SECOND, 60 * SECOND), EventClock(5 * SECOND, 60 * SECOND)
    late, future, late_live, future_live = {}, {}, {}, {}
    start, turn = 0, 0
    while start < len(events):
        end = min(start + sizes[turn % len(sizes)], len(events))
        turn += 1
        placed = cut.place_recorded(events[start:end], events[end : end + LOOKAHEAD - 1])
        late |= {start + i: w for i, w in placed.late.items()}
        future |= {start + i: w for i, w in placed.future.items()}
        placed = cut_live.place(events[start:end], now=5_000 * SECOND)
        late_live |= {start + i: w for i, w in placed.late.items()}
        future_live |= {start + i: w for i, w in placed.future.items()}
        start = end
    assert (late, future, cut.watermark, cut.start) == (expected.late, expected.future, whole.watermark, whole.start)
    assert (late_live, future_live, cut_live.watermark) == (expected_live.late, expected_live.future, live.watermark)


def test_idle_clock_follows_the_wall_but_never_goes_back() -> None:
    clock = EventClock(5 * SECOND, 600 * SECOND)
    clock.place([event(100 * SECOND)], now=100 * SECOND)
    clock.follow(50 * SECOND)
    assert clock.watermark == 95 * SECOND
    clock.follow(200 * SECOND)
    assert clock.watermark == 195 * SECOND
