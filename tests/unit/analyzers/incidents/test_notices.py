"""Whoever is notified is told of an attack once, of what is new of it soon, and now and then that it is still open."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec
import pytest
from pydantic import ValidationError

from analyzers.incidents.book import HOUR, MINUTE, IncidentBook
from analyzers.incidents.minutes import Minute
from analyzers.incidents.notices import NotifySettings, microseconds
from analyzers.incidents.settings import IncidentSettings
from state.alerts import Level
from state.incidents import IncidentUpdate
from tests.unit.analyzers.incidents.test_book import T0, Fleet, attack


class Paged(Fleet):
    """A fleet whose minutes pass whether anything is sighted or not, and what is told of it."""

    def __init__(self, notify: NotifySettings | None = None, **settings: float) -> None:
        super().__init__(**settings)
        self.book = IncidentBook(self.book._settings, HOUR, notify=notify)
        self.pages: list[tuple[str, int]] = []

    def take(self, updates: list[IncidentUpdate]) -> None:
        self.pages += [(u.reason, (u.notified_at - T0) // MINUTE) for u in updates if u.reason]

    def pass_until(self, start: int, until: int) -> None:
        for minute in range(start, until, MINUTE):
            self.take(self.book.advance(Minute(minute, [], [])).updates)

    def said(self, minute: int, host: str, rule: str, level: Level = Level.medium, user: str = "") -> None:
        self.take(self.minute(self.rule(host, rule, T0 + minute * MINUTE, level, user)).updates)


def test_a_running_attack_is_told_of_when_something_is_new_and_not_more_often_than_the_group_interval() -> None:
    fleet = Paged()
    for minute in range(60):  # each minute more of the same
        fleet.said(minute, "ws-1", "r1")
    assert fleet.pages == [("new", 0)]
    fleet.said(60, "ws-1", "r2", Level.critical)  # more severe: at once, the last was long ago
    fleet.said(61, "ws-1", "r3", user="alice")  # a user
    fleet.said(62, "ws-2", "r4", user="alice")  # and a host: both wait, and are one message
    fleet.pass_until(T0 + 63 * MINUTE, T0 + 80 * MINUTE)
    assert fleet.pages[1:] == [("changed", 60), ("changed", 65)]


def test_an_open_incident_is_told_of_again_each_repeat_interval_and_closes_by_itself_when_time_passes() -> None:
    fleet = Paged(NotifySettings(repeat_interval="5h"))
    fleet.said(0, "ws-1", "r1", Level.high)
    fleet.pass_until(T0 + MINUTE, T0 + 30 * HOUR)  # other hosts' windows close, and nobody signals anything
    assert fleet.pages == [("new", 0), ("repeat", 300), ("closed", 370)]
    assert len(fleet.book) == 0


def test_those_who_never_heard_of_an_incident_do_not_hear_that_it_became_part_of_another() -> None:
    fleet = Paged(NotifySettings(group_wait="10m"))
    fleet.said(0, "ws-1", "r1", user="alice")
    fleet.said(1, "dc-1", "r2")
    fleet.said(3, "dc-1", "r3", user="alice")
    assert fleet.pages == []
    fleet.pass_until(T0 + 4 * MINUTE, T0 + HOUR)
    assert fleet.pages == [("new", 10)]
    told = Paged()
    told.said(0, "ws-1", "r1", user="alice")
    told.said(1, "dc-1", "r2")
    told.said(3, "dc-1", "r3", user="alice")
    assert told.pages == [("new", 0), ("new", 1), ("merged", 3)]


def minutes(seed: int) -> Iterator[Minute]:
    """Yield minutes of two days, those in which nothing is sighted among them."""
    fleet, at = Fleet(), T0
    for sightings in attack(seed, fleet):
        given = sorted(sightings, key=lambda sighting: sighting.order)
        yield from (Minute(start, [], []) for start in range(at, given[0].minute, MINUTE))
        at = given[0].minute + MINUTE
        born = [(host, watch.born) for host, watch in sorted(fleet.watches.items()) if watch.born >= 0]
        for host, _ in born:
            fleet.watches[host].born = -1
        yield Minute(given[0].minute, given, born)
    yield Minute(T0 + 72 * HOUR, [], [])


def test_it_does_not_matter_in_which_minutes_it_is_heard_that_time_passed_nor_that_a_crash_came_between() -> None:
    rng, found = random.Random(5), []
    every = list(minutes(2))
    for chance in (1.0, 0.3, 0.0):
        book, told, records = IncidentBook(IncidentSettings(), HOUR), [], {}
        for place, minute in enumerate(every):
            if minute.sightings or rng.random() < chance or minute is every[-1]:
                updates = book.advance(minute).updates
                told += [(u.incident.id, u.reason, u.notified_at, u.incident.explanation) for u in updates if u.reason]
                records.update((u.incident.id, u.incident) for u in updates)
            if chance == 0.3 and place % 50 == 0:
                book = IncidentBook.restore(IncidentSettings(), HOUR, book.snapshot())
        found.append((sorted(told), records))
    assert {reason for _, reason, _, _ in found[0][0]} == {"new", "changed", "repeat", "merged", "closed"}
    assert found[1:] == found[:1] * 2


def test_what_an_earlier_version_told_of_is_not_new_again() -> None:
    fleet = Paged()
    fleet.said(0, "ws-1", "r1", Level.high)
    saved = msgspec.msgpack.decode(fleet.book.snapshot())
    saved["version"] = 2
    for cluster in saved["clusters"]:
        del cluster["notice"], cluster["bonds"]
    del saved["files"]
    fleet.book = IncidentBook.restore(IncidentSettings(), HOUR, msgspec.msgpack.encode(saved))
    fleet.said(1, "ws-1", "r1", Level.high)
    fleet.said(9, "ws-2", "r1", Level.high)
    assert fleet.pages == [("new", 0), ("changed", 9)]


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("1h30m", 5_400), ("2d", 172_800), ("0s", 0), ("500ms", 0.5)]
)
def test_durations_are_written_as_for_prometheus(text: str, seconds: float) -> None:
    assert microseconds(text) == seconds * 1_000_000


@pytest.mark.parametrize("text", ["", "5", "5 m", "-1m", "m", "5m1h", "9" * 30 + "s", "53w"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        NotifySettings(group_interval=text)


def test_reminders_without_end_are_refused() -> None:
    with pytest.raises(ValidationError, match="less than 1m"):
        NotifySettings(repeat_interval="0s")
