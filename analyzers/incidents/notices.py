"""When to say something of an incident again: grouping and repeat intervals in the manner of Alertmanager. Pure.

https://prometheus.io/docs/alerting/latest/configuration/#route, with an incident for a group, in event time.
"""

from __future__ import annotations

import heapq
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from analyzers.incidents.cluster import Cluster, Notice
from state.incidents import Reason

_UNITS = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000, "w": 604_800_000_000}
_DURATION = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
#: Longest interval, µs.
_LONGEST = 52 * _UNITS["w"]


def microseconds(duration: str) -> int:
    """Return a duration as Prometheus writes them, in µs.

    Raises:
        ValueError: it is none, or longer than a year.

    >>> microseconds("1h30m") // 1_000_000, microseconds("0s")
    (5400, 0)
    """
    found = _DURATION.fullmatch(duration) if 0 < len(duration) <= 40 else None
    if found is None:
        raise ValueError(f"{duration[:40]!r} is no duration such as 30s, 5m or 1h30m")
    units = (_UNITS[unit] for unit in ("w", "d", "h", "m", "s", "ms"))
    total = sum(int(number) * unit for number, unit in zip(found.groups(default="0"), units, strict=True))
    if total > _LONGEST:
        raise ValueError(f"{duration} is longer than 52w")
    return total


def _checked(duration: str) -> str:
    microseconds(duration)
    return duration


def _long(duration: str) -> str:
    if microseconds(duration) < _UNITS["m"]:
        raise ValueError(f"{duration} is less than 1m")
    return duration


class NotifySettings(BaseModel):
    """How often an incident is told of on winnow.alerts. Names and meaning are Alertmanager's; time is event time."""

    model_config = ConfigDict(extra="forbid")

    group_wait: Annotated[str, AfterValidator(_checked)] = Field(
        default="30s",
        description="How long to wait before an incident is told of first, from the minute in which it began. "
        "Incidents are built by whole minutes, so up to a minute costs nothing.",
    )
    group_interval: Annotated[str, AfterValidator(_checked)] = Field(
        default="5m",
        description="How long to wait before what is new of an incident is told: its severity, a tactic, a host, user, "
        "address or file. Its end is told at once.",
    )
    repeat_interval: Annotated[str, AfterValidator(_long)] = Field(
        default="4h", description="How long to wait before an open incident of which nothing is new is told of again."
    )


class Notices:
    """When each incident is to be told of next. ``change`` it, then ``take`` what is due, in order of time."""

    def __init__(self, settings: NotifySettings) -> None:
        self._wait = microseconds(settings.group_wait)
        self._interval = microseconds(settings.group_interval)
        self._repeat = microseconds(settings.repeat_interval)
        #: By incident, µs; and in order of time, those that were put off or ended still among them.
        self._due: dict[str, int] = {}
        self._order: list[tuple[int, str]] = []

    def change(self, cluster: Cluster, t: int) -> None:
        """Take in what an incident has become in the minute that began at ``t`` (µs)."""
        notice = cluster.notice
        if notice is None:
            cluster.notice = notice = Notice(due=t + self._wait)
        elif notice.at and notice.said != said(cluster):
            notice.due = min(notice.due, max(t, notice.at + self._interval))
        self._put(cluster.id, notice.due)

    def next(self, until: int) -> tuple[int, str] | None:
        """Return when an incident is due next, up to a time (both µs), and which."""
        while self._order and self._order[0][0] <= until:
            due, name = self._order[0]
            if self._due.get(name) == due:
                return due, name
            heapq.heappop(self._order)
        return None

    def take(self, cluster: Cluster) -> tuple[Reason, int]:
        """Return why an incident that is due is told of, and at what time, µs."""
        notice = cluster.notice
        if notice is None:
            raise ValueError(f"{cluster.id} is not due")
        now = said(cluster)
        why: Reason = "new" if not notice.at else "changed" if now != notice.said else "repeat"
        notice.at, notice.said, notice.due = notice.due, now, notice.due + self._repeat
        self._put(cluster.id, notice.due)
        return why, notice.at

    def end(self, cluster: Cluster) -> bool:
        """Forget an incident; return whether it was ever told of."""
        self._due.pop(cluster.id, None)
        return cluster.notice is not None and cluster.notice.at > 0

    def restore(self, cluster: Cluster, now: int) -> None:
        """Go on with an incident of a snapshot; an earlier version told of it whenever it was more severe."""
        if cluster.told and cluster.notice is None:
            cluster.notice = Notice(now, now + self._repeat, said(cluster))
        if cluster.notice is not None:
            self._put(cluster.id, cluster.notice.due)

    def _put(self, name: str, due: int) -> None:
        if self._due.get(name) == due:
            return
        self._due[name] = due
        heapq.heappush(self._order, (due, name))
        if len(self._order) > 2 * len(self._due) + 100:
            self._order = sorted((due, name) for name, due in self._due.items())


def said(cluster: Cluster) -> tuple[int, int, int]:
    """Return what must change for an incident to be told of again: severity, tactics and entities, which only grow."""
    return int(cluster.severity), len(cluster.tactics), len(cluster.hosts) + len(cluster.links)
