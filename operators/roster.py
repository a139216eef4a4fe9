"""Which hosts a shard keeps apart: those known, how many at most, and when one is forgotten. Pure.

Every host costs memory for as long as it is remembered, and its name is the sender's to choose. So a shard knows a
limited number; what comes from further ones is counted together, under a host of the shard's own, ``_overflow-<shard>``
(not one for all: windows of several shards would meet in one host out of order).
"""

from __future__ import annotations

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from state.alerts import FLEET

OVERFLOW = "_overflow"
#: How names of hosts begin that are no hosts: hosts counted together, and the fleet.
RESERVED = (OVERFLOW, FLEET)
HOUR = 3_600_000_000


class LimitSettings(BaseModel):
    """How much is remembered, for memory not to grow with whatever names are sent."""

    model_config = ConfigDict(extra="forbid")

    hosts: int = Field(
        default=100_000,
        ge=32,
        le=10_000_000,
        description="Hosts kept apart, in all; a shard holds its 32nd part, and counts further ones together.",
    )
    forget_days: int = Field(
        default=30, ge=1, le=36_500, description="Days of event time after which a silent host is forgotten."
    )


class HostForgotten(msgspec.Struct, frozen=True, gc=False):
    """A host that is no longer remembered."""

    host: str
    #: What of it is older than this goes, µs.
    before: int
    #: Host step that passes this on: the overflow host if the forgotten one had no place of its own.
    via: str


def overflow_host(shard: int) -> str:
    """Return the host that stands for all that a shard has no place for.

    >>> overflow_host(7)
    '_overflow-07'
    """
    return f"{OVERFLOW}-{shard:02d}"


class Roster:
    """The hosts that one shard knows. It is changed in canonical order only, so that who gets a place is no accident.

    Args:
        limit: hosts known at most.
        forget_days: days of silence after which a host is forgotten.

    >>> roster = Roster(1, 30)
    >>> roster.wake("web-1", 0), roster.wake("web-2", 0)
    (True, False)
    """

    def __init__(self, limit: int, forget_days: int) -> None:
        self._limit = limit
        self._forget_hours = forget_days * 24
        #: The host that stands for those without a place.
        self.overflow = overflow_host(0)
        #: Hosts that get a window each minute, to the start of their last one with events.
        self.awake: dict[str, int] = {}
        #: Hosts that were silent for long, or were never in a window, to the last time there was news of them.
        self.asleep: dict[str, int] = {}
        #: Hosts without a place whose alerts are remembered all the same, oldest first.
        self.strays: dict[str, int] = {}
        self._swept: int | None = None

    def __contains__(self, host: str) -> bool:
        return host in self.awake or host in self.asleep or host == self.overflow

    @property
    def room(self) -> int:
        """Return how many more hosts can be known."""
        # The overflow host takes nobody's place.
        own = self.overflow in self.awake or self.overflow in self.asleep
        return max(0, self._limit - len(self.awake) - len(self.asleep) + own)

    def wake(self, host: str, start: int) -> bool:
        """Note a window with events; say whether the host is known, or could become so."""
        if not self.hear(host, start):
            return False
        self.asleep.pop(host, None)
        self.awake[host] = start
        return True

    def hear(self, host: str, time: int) -> bool:
        """Note news of a host other than a window; say whether the host is known, or could become so."""
        if host in self.awake:
            return True
        if host not in self.asleep and host != self.overflow and (not self.room or host.startswith(RESERVED)):
            return False
        self.asleep[host] = max(time, self.asleep.get(host, time))
        return True

    def tire(self, host: str) -> None:
        """Give a host no more windows until it is heard of again."""
        self.asleep[host] = self.awake.pop(host)

    def sweep(self, start: int) -> list[HostForgotten]:
        """Forget the hosts that fell silent too long before ``start`` (µs). Told by whole hours, and done once in one:
        the answer must not depend on which windows of the hour there were."""
        hour = start // HOUR
        if hour == self._swept:
            return []
        self._swept = hour
        gone = sorted(host for host, last in self.asleep.items() if hour - last // HOUR > self._forget_hours)
        for host in gone:
            del self.asleep[host]
        return [HostForgotten(host, start, host) for host in gone]

    def stray(self, host: str, time: int) -> list[HostForgotten]:
        """Note an alert on a host without a place; as many such are remembered as hosts are."""
        self.strays.pop(host, None)
        self.strays[host] = time
        gone = []
        while len(self.strays) > self._limit:
            oldest = next(iter(self.strays))
            del self.strays[oldest]
            if oldest not in self:
                gone.append(HostForgotten(oldest, time, self.overflow))
        return gone
