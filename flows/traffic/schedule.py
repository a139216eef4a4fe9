"""The traffic: everyone's habits and the attacks, in the order of event time."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterator
from itertools import accumulate
from operator import attrgetter
from random import Random
from typing import NamedTuple

from flows.traffic.clock import HOUR, MINUTE, SECOND, load
from flows.traffic.fleet import Fleet, Host
from flows.traffic.habits import HABITS, Habit
from flows.traffic.message import Message, Tape
from flows.traffic.scenarios import SCENARIOS
from flows.traffic.settings import TrafficSettings

#: Messages that one slice of event time is meant to hold; slices are made and sorted whole.
_SLICE_MESSAGES = 2_000
#: Trials that measure how many messages a habit leaves behind.
_TRIALS = 100
_by_time = attrgetter("time")


class Occurrence(NamedTuple):
    """One attack of the schedule."""

    time: int
    scenario: str
    attack_id: str


class _Source(NamedTuple):
    """A habit of all hosts of its role, with its rate and who is how likely to act."""

    habit: Habit
    hosts: tuple[Host, ...]
    #: Summed activity up to each host.
    shares: list[float]
    #: Acts a µs on average over a week, all hosts together.
    rate: float


class Traffic:
    """Telemetry of an imagined company. The same seed, start and settings always give the same bytes.

    ``start`` is event time in µs since the epoch.

    >>> traffic = Traffic(seed=7, start=1_700_000_000_000_000, settings=TrafficSettings(hosts=4, attacks_per_hour=0))
    >>> messages = list(traffic.messages(until=1_700_000_060_000_000))
    >>> messages == list(traffic.messages(until=1_700_000_060_000_000))
    True
    """

    def __init__(self, seed: int, start: int, settings: TrafficSettings | None = None) -> None:
        self.seed = seed
        self.start = start
        self.settings = settings or TrafficSettings()
        wanted = {*self.settings.scenarios, *(planned.scenario for planned in self.settings.attacks)}
        if unknown := wanted - SCENARIOS.keys():
            raise ValueError(f"unknown scenario: {', '.join(sorted(unknown))}; known: {', '.join(SCENARIOS)}")
        self.fleet = Fleet.build(self.settings.hosts, self.settings.domain, self.settings.utc_offset_hours)
        self._sources = self._weigh()

    def messages(self, until: int) -> Iterator[Message]:
        """Yield all messages with a time before ``until`` (µs), in order of time.

        What comes before does not depend on ``until``: a shorter run is the beginning of a longer one. Traffic is
        made a slice at a time, so that an endless run needs little memory.
        """
        tape = Tape(Random(f"{self.seed}:benign"))  # noqa: S311
        attacks = self.attacks()
        upcoming = next(attacks, None)
        step = self._slice()
        pending: list[Message] = []
        now = self.start
        while now < until:
            end = now + step
            self._act(tape, now, end)
            pending += tape.messages
            tape.messages = []
            while upcoming is not None and upcoming.time < end:
                pending += self.attack(upcoming)
                upcoming = next(attacks, None)
            # Sorting is stable, and what is left of the slice before is sorted already.
            pending.sort(key=_by_time)
            cut = bisect(pending, min(end, until) - 1, key=_by_time)
            yield from pending[:cut]
            del pending[:cut]
            now = end

    def attacks(self) -> Iterator[Occurrence]:
        """Yield the schedule of attacks in order of time: planned ones and random ones. Endless if any are random."""
        settings = self.settings
        planned = sorted(
            (self.start + int(plan.offset * SECOND), number, plan.scenario)
            for number, plan in enumerate(settings.attacks)
        )
        names = settings.scenarios or tuple(SCENARIOS)
        rng = Random(f"{self.seed}:schedule")  # noqa: S311
        number = 0
        at = float(self.start)
        while settings.attacks_per_hour:
            at += rng.expovariate(settings.attacks_per_hour / HOUR)
            while planned and planned[0][0] <= at:
                time, _, name = planned.pop(0)
                number += 1
                yield Occurrence(time, name, f"{name}-{number}")
            number += 1
            name = rng.choice(names)
            yield Occurrence(int(at), name, f"{name}-{number}")
        for time, _, name in planned:
            number += 1
            yield Occurrence(time, name, f"{name}-{number}")

    def attack(self, occurrence: Occurrence) -> list[Message]:
        """Return one attack's messages in order of time; the same whenever it is asked for."""
        rng = Random(f"{self.seed}:{occurrence.attack_id}")  # noqa: S311
        scenario = SCENARIOS[occurrence.scenario]
        return scenario.generate(rng, self.fleet, occurrence.time, occurrence.attack_id)

    def _act(self, tape: Tape, start: int, end: int) -> None:
        """Let everyone follow their habits from ``start`` to ``end``."""
        middle = (start + end) // 2
        offset = self.settings.utc_offset_hours
        loads: dict[str, float] = {}
        for source in self._sources:
            rhythm = source.habit.rhythm
            busy = loads.get(rhythm)
            if busy is None:
                busy = loads[rhythm] = load(rhythm, middle, offset)
            act, hosts, shares = source.habit.act, source.hosts, source.shares
            for _ in range(_poisson(tape.rng, source.rate * busy * (end - start))):
                host = hosts[bisect(shares, tape.random() * shares[-1], hi=len(hosts) - 1)]
                act(tape, self.fleet, host, tape.integer(start, end))

    def _weigh(self) -> list[_Source]:
        """Scale the bulk habits so that all habits together give the rate that is asked for."""
        sources = []
        bulk = rare = 0.0
        for habit in HABITS:
            hosts = self.fleet.by_role[habit.role]
            if not hosts:
                continue
            shares = list(accumulate(host.activity for host in hosts))
            rate = habit.per_hour / HOUR * shares[-1]
            tape = Tape(Random(0))  # noqa: S311
            for _ in range(_TRIALS):
                habit.act(tape, self.fleet, hosts[0], 0)
            each = rate * len(tape.messages) / _TRIALS * SECOND
            if habit.rare:
                rare += each
            else:
                bulk += each
            sources.append(_Source(habit, hosts, shares, rate))
        scale = max(0.0, self.settings.rate - rare) / bulk
        return [source if source.habit.rare else source._replace(rate=source.rate * scale) for source in sources]

    def _slice(self) -> int:
        """Return the length of a slice in µs: whole minutes for little traffic, less for much."""
        return int(min(MINUTE, max(SECOND / 20, _SLICE_MESSAGES / self.settings.rate * SECOND)))


def _poisson(rng: Random, mean: float) -> int:
    """Draw from a Poisson distribution: by Knuth's product below a mean of 30, by its normal limit above."""
    if mean <= 0:
        return 0
    if mean > 30:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    threshold, count, product = math.exp(-mean), 0, rng.random()
    while product > threshold:
        count += 1
        product *= rng.random()
    return count
