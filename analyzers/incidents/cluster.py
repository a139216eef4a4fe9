"""An incident in the making: what was sighted, by rule and host, and the risk that remains of it. Plain data."""

from __future__ import annotations

import msgspec

from analyzers.incidents.sightings import Sighting
from state.alerts import MAX_EVIDENCE, Level

#: Rules and hosts that are told apart; what comes beyond is counted with the host's ``_more``.
MAX_PRINTS = 256
#: Ids of alerts kept of one fingerprint.
MAX_ALERTS = 24
#: Hosts and links that are kept.
MAX_HOSTS = 500
MAX_LINKS = 200
#: Of these, files.
MAX_FILES = 50
#: Links to other hosts, and within a process tree, that the explanation can name.
MAX_BONDS = 16
#: Share of its risk that a rule adds where another says as much of the same event.
SAME_EVENT = 0.25
#: What each further tactic adds to the score, and the most that all add.
TACTIC = 0.25
TACTICS = 1.0


class Print(msgspec.Struct):
    """What one rule said on one host: a fingerprint."""

    host: str
    kind: str
    rule: str
    name: str
    level: Level | None
    first: int
    last: int
    count: int = 0
    #: Risk as of ``at``, and the most that it was.
    weight: float = 0.0
    at: int = 0
    best: float = 0.0
    #: Why it weighs what it does, at its best.
    why: str = ""
    techniques: list[str] = []
    tactics: list[str] = []
    #: Time and id of the first events.
    cites: list[tuple[int, str]] = []
    alerts: list[str] = []

    def risk(self, t: int, half_life: float) -> float:
        """Return what remains at ``t`` (µs) of its risk."""
        return self.weight * 2.0 ** (-max(0, t - self.at) / half_life) if self.weight else 0.0


class Notice(msgspec.Struct):
    """What was last said of an incident to those who are notified."""

    #: When, µs; 0: nothing yet.
    at: int = 0
    #: When something is to be said next, µs.
    due: int = 0
    #: Severity, and how many tactics and entities it then had.
    said: tuple[int, int, int] = (0, 0, 0)


class Cluster(msgspec.Struct):
    """Sightings that belong together; an incident once its score is high enough."""

    id: str
    first: int
    last: int
    #: When something unusual was last seen, and a tactic for the first time, µs.
    active: int
    tactic_at: int
    prints: dict[str, Print] = {}
    #: Hosts, to when something unusual was last seen there.
    hosts: dict[str, int] = {}
    #: What it names of what can link, addresses in any role as ``address:…``, to when that was last seen.
    links: dict[str, int] = {}
    tactics: list[str] = []
    score: float = 0.0
    severity: Level = Level.informational
    opened: int = 0
    #: Whether it was ever put out.
    told: bool = False
    aliases: list[str] = []
    #: How hosts came to be part of it, by host and what linked it.
    bonds: dict[str, str] = {}
    #: Once it was put out.
    notice: Notice | None = None

    def fingerprint(self, sighting: Sighting) -> Print | None:
        """Return what is known of the sighting's rule on its host."""
        return self.prints.get(_key(sighting.host, sighting.kind, sighting.rule))

    def add(self, sighting: Sighting, weight: float, why: str, t: int, alert: str, half_life: float) -> None:
        """Take in a sighting of ``weight`` at ``t`` (µs), a part of ``alert``."""
        mark = self.fingerprint(sighting)
        if mark is None:
            mark = self._open(sighting)
        mark.count += sighting.count
        mark.first = min(mark.first, sighting.time)
        mark.last = max(mark.last, sighting.last)
        if weight > 0.0:
            mark.weight, mark.at = max(weight, mark.risk(t, half_life)), t
            self.active = max(self.active, t)
            if sighting.host in self.hosts or len(self.hosts) < MAX_HOSTS:
                self.hosts[sighting.host] = t
            for link in map(_shown, sighting.links):
                if link in self.links or self._has_room(link):
                    self.links[link] = t
        if weight > mark.best or not mark.why:
            mark.best, mark.why = max(weight, mark.best), why
        if sighting.level is not None:
            mark.level = sighting.level if mark.level is None else max(mark.level, sighting.level)
        mark.techniques = sorted({*mark.techniques, *sighting.techniques})
        mark.tactics = sorted({*mark.tactics, *sighting.tactics})
        for tactic in sighting.tactics:
            if tactic not in self.tactics:
                self.tactics.append(tactic)
                self.tactic_at = max(self.tactic_at, t)
        if sighting.cites and (len(mark.cites) < MAX_EVIDENCE or sighting.cites[0][:2] < mark.cites[-1]):
            cites = {*mark.cites, *(cite[:2] for cite in sighting.cites)}
            mark.cites = sorted(cites)[:MAX_EVIDENCE]
        if alert not in mark.alerts and len(mark.alerts) < MAX_ALERTS:
            mark.alerts.append(alert)
        self.first = min(self.first, sighting.time)
        self.last = max(self.last, sighting.last)

    def bind(self, host: str, by: str, other: str) -> None:
        """Remember what linked a host to another, or to what it did itself before; the first of each kind."""
        name = f"{host} {by.partition(':')[0]}"
        if name not in self.bonds and len(self.bonds) < MAX_BONDS:
            self.bonds[name] = f"{host} to {other if other != host else 'itself'} by {by}"

    def host_risk(self, host: str, t: int, half_life: float) -> float:
        """Return what remains at ``t`` of the risk on one host."""
        return sum(mark.risk(t, half_life) for mark in self.prints.values() if mark.host == host)

    def host_best(self, host: str) -> float:
        """Return what its rules weighed on one host at their best, together."""
        return sum(mark.best for mark in self.prints.values() if mark.host == host)

    def risk(self, t: int, half_life: float) -> float:
        """Return what remains at ``t`` of the risk of all: a rule counts once, where it weighs most.

        What one rule says of many hosts is not so many reasons; nor, but for SAME_EVENT of them, what many rules say of
        one event.
        """
        most: dict[tuple[str, str], tuple[float, str]] = {}
        for key, mark in self.prints.items():
            risk = mark.risk(t, half_life)
            if risk > most.get((mark.kind, mark.rule), (0.0, ""))[0]:
                most[mark.kind, mark.rule] = (risk, mark.cites[0][1] if mark.cites else key)
        events: dict[str, float] = {}
        total = 0.0
        for risk, event in most.values():
            events[event] = max(events.get(event, 0.0), risk)
            total += SAME_EVENT * risk
        return total + (1.0 - SAME_EVENT) * sum(events.values())

    def rate(self, t: int, half_life: float) -> float:
        """Return the score at ``t``: risk, more where several rules show several tactics."""
        risk = self.risk(t, half_life)
        if len(self.tactics) > 1 and len({(m.kind, m.rule) for m in self.prints.values()}) > 1:
            risk *= 1.0 + min(TACTIC * (len(self.tactics) - 1), TACTICS)
        return risk

    def take_in(self, other: Cluster) -> None:
        """Make another cluster part of this one."""
        for key, mark in other.prints.items():
            known = self.prints.get(key)
            if known is None and len(self.prints) < MAX_PRINTS:
                self.prints[key] = mark
            elif known is None:
                self._fold(mark)
            else:
                _join(known, mark)
        for host, t in other.hosts.items():
            if host in self.hosts or len(self.hosts) < MAX_HOSTS:
                self.hosts[host] = max(t, self.hosts.get(host, t))
        for link, t in other.links.items():
            if link in self.links or self._has_room(link):
                self.links[link] = max(t, self.links.get(link, t))
        for name, bond in other.bonds.items():
            if len(self.bonds) < MAX_BONDS:
                self.bonds.setdefault(name, bond)
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        self.active = max(self.active, other.active)
        self.tactic_at = max(self.tactic_at, other.tactic_at)
        self.tactics += [tactic for tactic in other.tactics if tactic not in self.tactics]
        # Its severity stays what was last told of it: what the other brings is news.
        self.score = max(self.score, other.score)
        opened = [t for t in (self.opened, other.opened) if t]
        self.opened = min(opened, default=0)
        self.aliases += [*other.aliases, other.id]

    def _has_room(self, link: str) -> bool:
        """Say whether what is new to link by is kept. Processes say nothing to people; files must leave room."""
        if link.startswith("process:") or len(self.links) >= MAX_LINKS:
            return False
        return not link.startswith("hash:") or sum(known.startswith("hash:") for known in self.links) < MAX_FILES

    def _open(self, sighting: Sighting) -> Print:
        host, kind, rule, name = sighting.host, sighting.kind, sighting.rule, sighting.name
        if len(self.prints) >= MAX_PRINTS:
            kind, rule, name = "more", "_more", "Further rules"
            known = self.prints.get(_key("", kind, rule))
            if known is not None:
                return known
            host = ""
        mark = Print(host, kind, rule, name, sighting.level, sighting.time, sighting.last)
        self.prints[_key(host, kind, rule)] = mark
        return mark

    def _fold(self, mark: Print) -> None:
        key = _key("", "more", "_more")
        known = self.prints.get(key)
        if known is None:
            self.prints[key] = Print("", "more", "_more", "Further rules", mark.level, mark.first, mark.last)
            known = self.prints[key]
        _join(known, mark)


def _join(known: Print, mark: Print) -> None:
    known.count += mark.count
    known.first, known.last = min(known.first, mark.first), max(known.last, mark.last)
    if mark.weight > known.weight:
        known.weight, known.at = mark.weight, mark.at
    if mark.best > known.best:
        known.best, known.why = mark.best, mark.why
    known.techniques = sorted({*known.techniques, *mark.techniques})
    known.tactics = sorted({*known.tactics, *mark.tactics})
    known.cites = sorted({*known.cites, *mark.cites})[:MAX_EVIDENCE]
    known.alerts = sorted({*known.alerts, *mark.alerts})[:MAX_ALERTS]


def _shown(link: str) -> str:
    return "address:" + link.removeprefix("to:") if link.startswith("to:") else link


def _key(host: str, kind: str, rule: str) -> str:
    return f"{kind}:{rule}@{host}"
