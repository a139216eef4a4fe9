"""Incidents are the same at any number of workers only if minutes are whole and in order before they are judged."""

from __future__ import annotations

import random

from analyzers.anomaly.barrier import END, WindowClosed
from analyzers.anomaly.surprise import Standing
from analyzers.incidents.minutes import Minute, Minutes
from analyzers.incidents.sightings import (
    MAX_RULES,
    MORE,
    AlertCount,
    Alerts,
    Heard,
    Sighting,
    Told,
    links_of,
    merge_alerts,
)
from state.alerts import MAX_EVIDENCE

W = 60_000_000


def sighting(host: str, minute: int, n: int) -> Sighting:
    time = minute * W + n
    standing = Standing(0.0, 10.0, 20.0) if n == 0 else None
    cites = ((time, f"t-0-{n}", b""),)
    return Sighting(host, minute * W, "rule", "r", "R", None, time, time, 1, f"why {n}", cites=cites, standing=standing)


def run(items: list[Heard | WindowClosed], restore: bool = False) -> list[Minute]:
    minutes, found = Minutes(2), list[Minute]()
    for item in items:
        if isinstance(item, Heard):
            minutes.hear(item)
        else:
            minutes.close(item)
        found += minutes.release()
        if restore:
            minutes = Minutes.restore(2, minutes.snapshot())
    return found


def test_what_hosts_say_in_any_order_comes_out_in_one() -> None:
    heard = [
        Heard(f"h{h}", w * W, (sighting(f"h{h}", w, n),), w * W if (w, n) == (1, 0) else -1)
        for w in range(1, 6)
        for h in range(4)
        for n in range(3)
    ]
    # Each shard has two hosts, of which it counts a window and two events a minute.
    closed = [WindowClosed(shard, w * W, 2, 4) for w in range(1, 6) for shard in range(2)]
    expected = run([*heard, *closed])
    assert [minute.start // W for minute in expected] == [1, 2, 3, 4, 5]
    assert all([s.count for s in minute.sightings] == [3] * 4 for minute in expected)
    assert expected[0].born == [(f"h{h}", W) for h in range(4)]
    assert [event_id for _, event_id, _ in expected[0].sightings[0].cites] == ["t-0-0", "t-0-1", "t-0-2"]
    for seed in range(20):
        rng = random.Random(seed)
        shuffled = sorted(heard, key=lambda _: rng.random())
        items: list[Heard | WindowClosed] = list(shuffled)
        # Closings of one shard stay in order; they come at any time.
        for item in closed:
            after = max((i for i, other in enumerate(items) if _earlier(other, item)), default=-1)
            items.insert(rng.randrange(after + 1, len(items) + 1), item)
        assert run(items, restore=seed % 2 == 0) == expected


def _earlier(other: Heard | WindowClosed, item: WindowClosed) -> bool:
    return isinstance(other, WindowClosed) and other.shard == item.shard


def test_nothing_is_released_while_a_host_is_missing_and_all_at_the_end() -> None:
    minutes = Minutes(1)
    minutes.hear(Heard("h1", W, (sighting("h1", 1, 0),)))
    minutes.close(WindowClosed(0, W, 2))
    minutes.close(WindowClosed(0, 2 * W, 0))
    assert minutes.release() == []
    minutes.hear(Heard("h2", W))
    assert [minute.start for minute in minutes.release()] == [W]
    # What stands later in time than its window waits for the next one, which may never be.
    minutes.hear(Heard("h1", END, (sighting("h1", 7, 1),)))
    minutes.close(WindowClosed(0, END, 0, 1))
    assert [minute.start for minute in minutes.release()] == [7 * W]


def test_hosts_that_are_forgotten_are_told_of_with_the_minute_in_which_they_are() -> None:
    minutes = Minutes(1)
    minutes.hear(Heard("h1", W, (sighting("h1", 1, 0),), W))
    minutes.hear(Heard("h2", 5 * W, left=2 * W))
    minutes.hear(Heard("h1", 9 * W, (sighting("h1", 9, 0),)))
    minutes = Minutes.restore(1, minutes.snapshot())
    for start in (1, 5, 9):
        minutes.close(WindowClosed(0, start * W, 1))
    assert [(m.start // W, m.born, m.left) for m in minutes.release()] == [
        (1, [("h1", W)], []),
        (5, [], []),  # over, and nothing was sighted
        (9, [], [(5 * W, 2 * W)]),
    ]


def counts(rule: str, n: int) -> AlertCount:
    cites = [(n * 10 + i, f"t-0-{n * 10 + i}", b"raw") for i in range(10)]
    return AlertCount(Told(rule, f"name {n}"), 10, n * 10, n * 10 + 9, cites, [f"user:u{n}"])


def test_alerts_add_up_to_the_same_in_any_order_of_batches() -> None:
    parts = [{f"r{rule}": counts(f"r{rule}", n)} for rule in range(2 * MAX_RULES) for n in range(3)]
    found = []
    for seed in range(4):
        into: Alerts = {}
        rng = random.Random(seed)
        for part in sorted(parts, key=lambda _: rng.random()):
            merge_alerts(into, {rule: counts(rule, alert.first // 10) for rule, alert in part.items()})
        assert len(into) == MAX_RULES + 1
        assert sum(alert.count for alert in into.values()) == 2 * MAX_RULES * 30
        assert all(len(alert.cites) == MAX_EVIDENCE for alert in into.values())
        found.append({rule: (a.told.name, a.count, a.first, a.last, a.links) for rule, a in into.items()})
    assert found[1:] == found[:1] * 3
    assert found[0][MORE][1] == MAX_RULES * 30


def test_links_are_bounded_and_leave_out_the_host_itself() -> None:
    assert links_of("LAB\\Alice", "10.0.0.5", "10.0.0.1", host="10.0.0.1") == ["user:alice", "address:10.0.0.5"]
    assert links_of("", "10.0.0.1", "10.0.0.5", host="10.0.0.1") == ["to:10.0.0.5"]
    assert links_of("DWM-1", "fe80::1", "::1", "0.0.0.0") == []
