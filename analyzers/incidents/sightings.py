"""What a host has to say for incidents: another system's alerts by minute, and sightings of anything that signals."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from analyzers.anomaly.rarity_fleet import key_of
from analyzers.anomaly.surprise import Standing
from state.alerts import MAX_EVIDENCE, Level, Signal

#: Rules of other systems that are told apart on a host in a minute; the rest is counted under MORE.
MAX_RULES = 64
MORE = "_more"
MORE_NAME = "Alerts of more rules than are kept apart in a minute"
#: Of each kind of what a sighting links by: users, sources, destinations, files, processes.
MAX_LINKS = 8
#: Longest copy of an event that is kept of an alert of another system, bytes.
MAX_COPY = 4_096

#: Time, id and raw bytes of an event.
Cite = tuple[int, str, bytes]


class Told(msgspec.Struct, frozen=True, gc=False):
    """What another system's alert says of itself."""

    rule: str
    name: str
    #: How severe that system finds it; ``None``: it does not say.
    level: Level | None = None
    techniques: tuple[str, ...] = ()
    tactics: tuple[str, ...] = ()


class AlertCount(msgspec.Struct):
    """Alerts of one rule of another system on one host in one minute, so far. The same in any order of merging."""

    told: Told
    count: int
    first: int
    last: int
    #: The first events in canonical order, at most MAX_EVIDENCE.
    cites: list[Cite]
    #: ``user:…``, ``address:…``, ``to:…``, ``hash:…`` and ``process:…``, as ``bounded`` keeps them.
    links: list[str]

    def merge(self, other: AlertCount) -> None:
        """Add another's alerts to these."""
        # The words are those of the first alert; of several at one time those of the least event id.
        if other.cites[0][:2] < self.cites[0][:2]:
            self.told = other.told
        self.count += other.count
        self.first = min(self.first, other.first)
        self.last = max(self.last, other.last)
        self.cites = sorted((*self.cites, *other.cites), key=_mark)[:MAX_EVIDENCE]
        self.links = bounded((*self.links, *other.links))


#: Alerts by rule.
Alerts = dict[str, AlertCount]


def merge_alerts(into: Alerts, more: Alerts) -> None:
    """Add the alerts of ``more``; at most MAX_RULES rules stay apart, those of the least hashes, whatever the order."""
    for rule, count in more.items():
        known = into.get(rule)
        if known is None:
            into[rule] = count
        else:
            known.merge(count)
    if len(into) <= MAX_RULES + (MORE in into):
        return
    for rule in sorted((rule for rule in into if rule != MORE), key=key_of)[MAX_RULES:]:
        folded = into.pop(rule)
        folded.told = Told(MORE, MORE_NAME)
        known = into.get(MORE)
        if known is None:
            into[MORE] = folded
        else:
            known.merge(folded)


class Sighting(msgspec.Struct, frozen=True, gc=False):
    """What one rule, score or other system said of one host in one minute."""

    host: str
    #: Start of the minute in which it has its place, µs: that of its time, unless it came late.
    minute: int
    kind: str
    rule: str
    name: str
    #: ``None``: not known.
    level: Level | None
    #: Event time of the first and the last, µs, and how many.
    time: int
    last: int
    count: int
    reason: str
    techniques: tuple[str, ...] = ()
    tactics: tuple[str, ...] = ()
    cites: tuple[Cite, ...] = ()
    links: tuple[str, ...] = ()
    #: Start of the grouping window of its alert, if it is not that of its time, µs.
    opened: int = 0
    #: What the host has shown of the rule before; ``None``: it was told of this minute already.
    standing: Standing | None = None
    #: Id of the suppression that it meets; empty: none.
    suppressed: str = ""

    @property
    def value(self) -> str:
        """Return the value by which rarity knows it."""
        return f"{self.kind}:{self.rule}"

    @property
    def order(self) -> tuple[int, str, str, str, str]:
        """Return its place in the canonical order within a minute."""
        return (self.time, self.host, self.kind, self.rule, self.suppressed)

    def joined(self, other: Sighting) -> Sighting:
        """Return what this and another of the same host, minute, kind, rule and suppression say together.

        It does not matter which was first.
        """
        first = min(self, other, key=lambda sighting: (sighting.time, sighting.reason, sighting.name))
        levels = [level for level in (self.level, other.level) if level is not None]
        return msgspec.structs.replace(
            first,
            level=max(levels, default=None),
            last=max(self.last, other.last),
            count=self.count + other.count,
            techniques=tuple(sorted({*self.techniques, *other.techniques})),
            tactics=tuple(sorted({*self.tactics, *other.tactics})),
            cites=tuple(sorted({*self.cites, *other.cites}, key=_mark)[:MAX_EVIDENCE]),
            links=tuple(bounded((*self.links, *other.links))),
            standing=self.standing if self.standing is not None else other.standing,
        )


def signal_of(sighting: Sighting, weight: float, why: str) -> Signal:
    """Return another system's alert as a signal of ours: medium if that system says so, or if it weighs as much."""
    told = sighting.level if sighting.level is not None else Level.low
    level = Level.medium if weight >= 3.0 else Level.low
    (_, event_id, raw), *more = sighting.cites
    return Signal(
        kind="alert",
        rule=sighting.rule,
        name=sighting.name,
        level=max(level, min(told, Level.high)),
        entity=sighting.host,
        time=sighting.time,
        reason=why or "part of an incident",
        techniques=sighting.techniques,
        tactics=sighting.tactics,
        event_id=event_id,
        raw=raw,
        count=sighting.count,
        last=sighting.last,
        more=tuple(more),
        suppressed=sighting.suppressed,
    )


class Heard(msgspec.Struct, frozen=True, gc=False):
    """What a host step made of one item of its shard: a window that it closed, or an event that waited for its turn.

    There is one for each such item, be there anything to say or not, so that it can be told when all have come.
    """

    host: str
    #: Start of the window with whose closing its shard counts it, µs.
    window: int
    sightings: tuple[Sighting, ...] = ()
    #: When the host first had anything to say, µs, if that is now; -1: not now.
    born: int = -1
    #: When it first had, if it is forgotten now; -1: it is not.
    left: int = -1


def links_of(user: str, source: str = "", destination: str = "", host: str = "") -> list[str]:
    """Return what an event links by: its user, unless every machine has one of that name, and its addresses.

    ``address:…`` is who acted, ``to:…`` who was only spoken to: the latter may be what everybody speaks to.

    >>> links_of("LAB\\\\alice", "10.0.0.9", "10.0.0.53", host="web-1"), links_of("SYSTEM", "127.0.0.1")
    (['user:alice', 'address:10.0.0.9', 'to:10.0.0.53'], [])
    """
    found = []
    name = user.rpartition("\\")[2].partition("@")[0].strip().lower()
    if name and name not in EVERYWHERE and not name.endswith("$") and not name.startswith(("dwm-", "umfd-")):
        found.append(f"user:{name}")
    for kind, address in (("address", source), ("to", destination)):
        if address and address != host and not address.startswith(LOCAL):
            found.append(f"{kind}:{address}")
    return found


def bounded(links: Iterable[str]) -> list[str]:
    """Return the first MAX_LINKS of each kind of links, sorted; the same in any order of merging.

    >>> bounded(["user:b", "address:10.0.0.9", "user:a", "user:b"])
    ['address:10.0.0.9', 'user:a', 'user:b']
    """
    counts: dict[str, int] = {}
    found = []
    for link in sorted(set(links)):
        kind = link.partition(":")[0]
        counts[kind] = counts.get(kind, 0) + 1
        if counts[kind] <= MAX_LINKS:
            found.append(link)
    return found


#: Users that are on every machine, and so link nothing.
EVERYWHERE = frozenset(
    ("-", "system", "local service", "network service", "localsystem", "anonymous logon", "root", "nobody", "n/a")
)
#: How addresses begin that are the machine's own, or everyone's.
LOCAL = ("127.", "::1", "0.0.0.0", "fe80:", "169.254.", "224.", "239.", "255.255.255.255", "ff0")  # noqa: S104


def cite_all(events: Iterable[Cite]) -> tuple[Cite, ...]:
    """Return the first events in canonical order, as many as are kept."""
    return tuple(sorted(events, key=_mark)[:MAX_EVIDENCE])


def _mark(cite: Cite) -> tuple[int, str]:
    return cite[:2]
