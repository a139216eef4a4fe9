"""What many hosts did at once reaches the queue of incidents, with the minute that it is of and not before."""

from __future__ import annotations

from analyzers.anomaly.barrier import END, Report, WindowClosed
from analyzers.incidents.minutes import Minutes
from analyzers.incidents.sightings import Heard
from operators.fleet import with_heard
from state.alerts import FLEET, Level, Signal

W = 60_000_000
SHIFT = Signal("anomaly", "fleet:logons:peak", "Many hosts at once: logons", Level.medium, FLEET, 5 * W, "on 12 hosts")


def test_a_minute_waits_for_what_the_fleet_says_of_it() -> None:
    judged = [WindowClosed(0, 4 * W, 0, 0), SHIFT, Report("web-1", 5 * W), WindowClosed(0, 5 * W, 0, 1)]
    out = list(with_heard(judged))
    assert [item for item in out if not isinstance(item, Heard)][:-1] == judged[:-1]
    minutes = Minutes(1)
    for item in out:
        if isinstance(item, WindowClosed):
            minutes.close(item)
    minutes.hear(Heard("web-1", 5 * W))  # as its alarm says
    assert minutes.release() == []
    [heard] = [item for item in out if isinstance(item, Heard)]
    minutes.hear(heard)
    [minute] = minutes.release()
    assert [(sighting.host, sighting.rule) for sighting in minute.sightings] == [(FLEET, "fleet:logons:peak")]


def test_a_quiet_fleet_adds_nothing() -> None:
    judged = [WindowClosed(0, 4 * W, 0, 0), WindowClosed(0, END, 0)]
    assert list(with_heard(judged)) == judged
