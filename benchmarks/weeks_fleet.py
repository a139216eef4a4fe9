"""Four generated weeks of a small fleet: daily and weekly rhythm, nightly jobs, attacks, silences, a patch day."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

MINUTE = 60_000_000
DAYS = 28
MINUTES = DAYS * 1_440
#: Monday 2024-01-01 00:00 UTC, µs.
START = 1_704_067_200_000_000
METRICS = ("events", "logins", "bytes_out", "dns", "processes")
#: Counts a minute of a host at its busiest.
LEVELS = (120.0, 3.0, 40_000.0, 15.0, 8.0)
#: How much more than Poisson counts vary: shape of the gamma that their rate is multiplied by.
SHAPE = 6.0


class Incident(NamedTuple):
    """Something that happens to a host, or to all, and ought to be told."""

    name: str
    #: Number of the host; -1: all.
    host: int
    #: Metrics that it moves, by what they are multiplied, and what is added a minute.
    metrics: tuple[str, ...]
    factor: float
    added: float
    #: First minute and number of minutes.
    start: int
    minutes: int


class Weeks(NamedTuple):
    """What the fleet does: a count by host, metric and minute, and what is in it."""

    counts: npt.NDArray[np.float64]
    incidents: tuple[Incident, ...]


def at(day: int, hour: float) -> int:
    """Return the minute of an hour of a day, days from 0, a Monday."""
    return round(day * 1_440 + hour * 60)


def weeks(hosts: int, seed: int) -> Weeks:
    """Return four weeks of at least six hosts.

    A third of the hosts each: desks (busy in office hours of working days), servers (busy by day, never idle), and
    servers with a job of half an hour each night, which is no attack.
    """
    chance = np.random.default_rng(seed)
    minute = np.arange(MINUTES)
    hour = minute % 1_440 / 60.0
    working = minute // 1_440 % 7 < 5
    office = np.clip(np.minimum(hour - 7.0, 19.0 - hour) / 2.0, 0.0, 1.0) * np.where(working, 1.0, 0.08)
    day = 0.6 + 0.4 * np.sin((hour - 9.0) / 24.0 * 2.0 * np.pi) * np.where(working, 1.0, 0.5)
    counts = np.zeros((hosts, len(METRICS), MINUTES))
    incidents = planned(hosts)
    for host in range(hosts):
        rhythm = 0.02 + 0.98 * office if host % 3 == 0 else day
        for number, (metric, level) in enumerate(zip(METRICS, LEVELS, strict=True)):
            rate = rhythm * level * chance.lognormal(0.0, 0.4)
            if host % 3 == 2 and metric in ("bytes_out", "processes"):
                began = at(0, 1.0 + host / 10.0)
                rate = np.where((minute % 1_440 >= began) & (minute % 1_440 < began + 30), rate + level * 4.0, rate)
            for incident in incidents:
                if incident.host in (host, -1) and metric in incident.metrics:
                    span = slice(incident.start, incident.start + incident.minutes)
                    rate[span] = rate[span] * incident.factor + incident.added
            counts[host, number] = chance.poisson(rate * chance.gamma(SHAPE, 1.0 / SHAPE, MINUTES))
    return Weeks(counts, incidents)


def planned(hosts: int) -> tuple[Incident, ...]:
    """Return what happens, all in the third and fourth week."""
    return (
        Incident("exfiltration by night", 0, ("bytes_out",), 1.0, 60_000.0, at(15, 3.0), 30),
        Incident("brute force by day", 1 % hosts, ("logins",), 1.0, 60.0, at(16, 14.0), 20),
        Incident("DNS tunnel in the evening", 2 % hosts, ("dns",), 1.0, 60.0, at(17, 20.0), 180),
        Incident("many processes by day", 3 % hosts, ("processes",), 4.0, 0.0, at(22, 10.0), 120),
        Incident("exfiltration by day", 4 % hosts, ("bytes_out", "dns"), 5.0, 0.0, at(23, 11.0), 45),
        Incident("work on a Sunday night", 3 % hosts, ("events", "logins", "processes"), 1.0, 25.0, at(20, 2.0), 60),
        Incident("silence by day", 4 % hosts, METRICS, 0.0, 0.0, at(24, 11.0), 60),
        Incident("a dip to a fifth", 1 % hosts, ("events",), 0.2, 0.0, at(25, 13.0), 120),
        Incident("patch day", -1, ("processes", "bytes_out"), 1.0, 100_000.0, at(21, 3.0), 30),
    )
