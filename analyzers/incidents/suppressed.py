"""What was suppressed on each host lately, for the explanation of its incidents. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from analyzers.incidents.sightings import MORE, MORE_NAME, Sighting

#: Hosts of which it is remembered, and counts a host; further ones of a host are counted together.
MAX_HOSTS, MAX_COUNTS = 5_000, 32


class Held(msgspec.Struct):
    """What a suppression kept back of one rule on one host."""

    host: str
    suppression: str
    kind: str
    rule: str
    name: str
    first: int
    last: int
    count: int


class HeldBack(msgspec.Struct):
    """Counts of suppressed sightings, by host. Add them in the canonical order."""

    #: Hosts, the one not heard of for longest first.
    hosts: dict[str, dict[str, Held]] = {}

    def add(self, sighting: Sighting) -> None:
        """Count a suppressed sighting."""
        host, rule, name = sighting.host, sighting.rule, sighting.name
        counts = self.hosts.pop(host, {})
        self.hosts[host] = counts
        while len(self.hosts) > MAX_HOSTS:
            del self.hosts[next(iter(self.hosts))]
        key = f"{sighting.suppressed} {sighting.kind}:{rule}"
        if key not in counts and len(counts) >= MAX_COUNTS:
            key, rule, name = MORE, MORE, MORE_NAME
        known = counts.get(key)
        if known is None:
            known = counts[key] = Held(
                host, sighting.suppressed, sighting.kind, rule, name, sighting.time, sighting.last, 0
            )
        known.count += sighting.count
        known.first, known.last = min(known.first, sighting.time), max(known.last, sighting.last)

    def between(self, hosts: Iterable[str], since: int, until: int) -> list[Held]:
        """Return what was held back on some hosts in a stretch of time (µs), the most frequent first."""
        found = [
            held
            for host in hosts
            for held in self.hosts.get(host, {}).values()
            if held.last >= since and held.first <= until
        ]
        return sorted(found, key=lambda held: (-held.count, held.host, held.suppression, held.kind, held.rule))

    def forget(self, before: int) -> None:
        """Drop what did not grow from ``before`` on, µs."""
        for host, counts in list(self.hosts.items()):
            for key in [key for key, held in counts.items() if held.last < before]:
                del counts[key]
            if not counts:
                del self.hosts[host]
