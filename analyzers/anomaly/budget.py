"""Alerting by budget: at most so many anomalies a host and day, from a threshold that follows the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from analyzers.anomaly.budget_anomaly import COMPANIONS, Anomaly, Reading, Unusual
from analyzers.anomaly.rarity_fleet import key_of
from analyzers.anomaly.settings import BudgetSettings as BudgetSettings

MINUTE = 60_000_000
DAY = 1_440 * MINUTE
#: Metrics of a host of which it is held that they alarmed, or since when they are unusual.
HELD = 32
#: A metric of which nothing unusual was told for longer than this is unusual anew.
BREAK = 10 * MINUTE
#: Half-life of habituation, µs.
FORGETS = 3 * DAY

Status = Literal["warming", "quiet", "muted", "spent", "alarm", "added"]


class Verdict(msgspec.Struct, frozen=True):
    """What became of a window."""

    status: Status
    #: Decades that had to be passed.
    threshold: float
    anomaly: Anomaly | None = None
    #: From when on the host is judged, µs.
    warm_at: int = 0


class _Alarmed(msgspec.Struct, array_like=True):
    """What is held of a metric that alarmed."""

    until: int
    #: Alarms, fading by FORGETS, as of ``at``.
    count: float
    at: int


class _Run(msgspec.Struct, array_like=True):
    """A stretch in which a metric is unusual."""

    since: int
    last: int


class _Saved(msgspec.Struct):
    version: int
    host: str
    refused: int
    now: int
    opened: int
    raised: float
    spent: list[int]
    alarmed: dict[int, _Alarmed]
    runs: dict[int, _Run]


class Alarm:
    """Decide which unusual windows of a host are anomalies. ``judge`` them in order of time, once shifts are out.

    The threshold follows the host: each anomaly raises it by ``step``, at most ``per_day`` times, and half of the rise
    is taken back in ``calm_hours``. So a noisy host needs more to be heard than a quiet one, and is not deaf for long.
    What passes within ``open_minutes`` of an anomaly is added to it, for an attack's steps are one thing to look at. A
    metric that alarmed is mute for a while, and then needs more than before: it habituates. Past ``per_day`` in 24
    hours nothing is said. While the host is new nothing is said either, but the threshold already follows.

    >>> alarm = Alarm("web-1", BudgetSettings(warm_hours=0))
    >>> peak = Reading("logins", 90.0, 6.2, 0.0, 12.0)
    >>> verdict = alarm.judge(Unusual("web-1", 0, 0, (peak,)))
    >>> verdict.status, verdict.anomaly.lead.metric, verdict.anomaly.lead.side
    ('alarm', 'logins', 'peak')
    >>> alarm.judge(Unusual("web-1", MINUTE, 0, (peak,))).status
    'muted'
    """

    VERSION = 1

    def __init__(self, host: str, settings: BudgetSettings) -> None:
        self.host = host
        #: Anomalies that the budget had no room for, so far.
        self.refused = 0
        #: May be changed between windows.
        self.settings = settings
        self._now = 0
        self._opened = 0
        self._raised = 0.0
        self._spent: list[int] = []
        self._alarmed: dict[int, _Alarmed] = {}
        self._runs: dict[int, _Run] = {}

    def judge(self, window: Unusual) -> Verdict:
        """Judge an unusual window; one that is older than the last is judged as if it came right after it."""
        settings = self.settings
        now = max(window.time, self._now)
        if self._now:
            self._raised *= 2.0 ** ((self._now - now) / (settings.calm_hours * 60 * MINUTE))
        threshold, self._now = settings.least + self._raised, now
        self._follow(now, window.readings)
        loud = [reading for reading in window.readings if reading.tells and reading.surprise >= threshold]
        passed = [reading for reading in loud if self._heard(reading, now, threshold)]
        warm_at = window.born + round(settings.warm_hours * 60 * MINUTE)
        if not passed:
            status: Status = "warming" if now < warm_at else "muted" if loud else "quiet"
            return Verdict(status, threshold, None, warm_at)
        if now < warm_at:
            self._rise()
            return Verdict("warming", threshold, None, warm_at)
        self._spent = [spent for spent in self._spent if spent > now - DAY]
        adds = bool(self._spent) and now - self._spent[-1] < settings.open_minutes * MINUTE
        if not adds and len(self._spent) >= settings.per_day:
            self.refused += 1
            return Verdict("spent", threshold, None, warm_at)
        if not adds:
            self._rise()
            self._spent.append(now)
            self._opened = window.time
        for reading in passed:
            self._mute(reading.metric, now)
        lead = passed[0]
        run = self._runs.get(key_of(lead.metric))
        moved = tuple(reading for reading in window.readings if reading.metric != lead.metric)[:COMPANIONS]
        since = min(run.since, window.time) if run else window.time
        anomaly = Anomaly(self.host, window.time, self._opened, lead, since, moved, tuple(passed), threshold)
        return Verdict("added" if adds else "alarm", threshold, anomaly, warm_at)

    def snapshot(self) -> bytes:
        """Return the state as versioned bytes."""
        return msgspec.msgpack.encode(
            _Saved(
                self.VERSION,
                self.host,
                self.refused,
                self._now,
                self._opened,
                self._raised,
                self._spent,
                self._alarmed,
                self._runs,
            )
        )

    @classmethod
    def restore(cls, settings: BudgetSettings, state: bytes) -> Alarm:
        """Return one that goes on from a snapshot.

        Raises:
            ValueError: the snapshot is of another version.
        """
        saved = msgspec.msgpack.decode(state, type=_Saved)
        if saved.version != cls.VERSION:
            raise ValueError(f"alarm of {saved.host}: snapshot version {saved.version} cannot be read")
        alarm = cls(saved.host, settings)
        alarm.refused, alarm._now, alarm._opened = saved.refused, saved.now, saved.opened
        alarm._raised, alarm._spent = saved.raised, saved.spent
        alarm._alarmed, alarm._runs = saved.alarmed, saved.runs
        return alarm

    def _rise(self) -> None:
        # Not without end: what a storm, or all that is new on a new host, has raised must fall again within days.
        settings = self.settings
        self._raised = min(self._raised + settings.step, settings.step * settings.per_day)

    def _heard(self, reading: Reading, start: int, threshold: float) -> bool:
        known = self._alarmed.get(key_of(reading.metric))
        if known is None:
            return True
        needed = threshold + self.settings.habituation * self._count(known, start)
        return start >= known.until and reading.surprise >= needed

    def _mute(self, metric: str, start: int) -> None:
        key = key_of(metric)
        known = self._alarmed.pop(key, None)
        count = 1.0 + (self._count(known, start) if known else 0.0)
        if len(self._alarmed) >= HELD:
            # What alarmed least of late gives way; those still mute stay, unless all are.
            least = min(self._alarmed.items(), key=lambda item: (item[1].until, self._count(item[1], start), item[0]))
            del self._alarmed[least[0]]
        self._alarmed[key] = _Alarmed(start + round(self.settings.mute_minutes * MINUTE), count, start)

    def _count(self, known: _Alarmed, start: int) -> float:
        return float(known.count * 2.0 ** ((known.at - start) / FORGETS))

    def _follow(self, start: int, ranked: Sequence[Reading]) -> None:
        """Keep since when metrics are unusual: of the most unusual ones, if there are too many."""
        runs = {key: run for key, run in self._runs.items() if start - run.last <= BREAK}
        for reading in ranked:
            key = key_of(reading.metric)
            if key in runs:
                runs[key].last = start
            elif len(runs) < HELD:
                runs[key] = _Run(start, start)
        self._runs = runs
