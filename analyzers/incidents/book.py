"""Build incidents: link what was sighted by host, time and shared indicators, weigh it, say what came of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from analyzers.anomaly.rarity_fleet import Fleet
from analyzers.criticality import Criticality
from analyzers.incidents.cluster import Cluster
from analyzers.incidents.explanation import record
from analyzers.incidents.links import HOUR, MINUTE, NEAR, Links, Network
from analyzers.incidents.minutes import Minute
from analyzers.incidents.notices import Notices, NotifySettings
from analyzers.incidents.settings import IncidentSettings
from analyzers.incidents.sightings import Sighting, signal_of
from analyzers.incidents.suppressed import HeldBack
from analyzers.incidents.weights import surprises_of, weigh
from state.alerts import FLEET, Level, Signal
from state.ids import alert_id, incident_id
from state.incidents import Incident, IncidentUpdate, Reason

#: What must remain of a host's risk, with the new one, for the host's incident to take it in.
REMAINS = 0.5
#: What another system alerted of longer ago than this, before it was read, weighs nothing: it is not of what happens
#: now, and days of it may be read in one moment.
STALE = HOUR
#: Most that what many hosts did at once scores, as a share of medium: it is no attack by itself.
FLEET_MOST = 0.9
#: How often incidents are looked through for those that are over: at times that this divides, whatever is heard when.
SWEEP = NEAR


class Result(msgspec.Struct, frozen=True):
    """What a minute changed, and the alerts of other systems that are worth one of ours."""

    updates: list[IncidentUpdate]
    signals: list[Signal]


class _Saved(msgspec.Struct):
    version: int
    fleet: dict[str, Any]
    clusters: list[Cluster]
    by_host: dict[str, str]
    recent: dict[str, tuple[int, str, str]]
    swept: int
    now: int
    held: HeldBack
    #: By file, and by server of ours, hosts on which signals named it. Not known to version 2.
    files: dict[str, list[str]] = {}


class IncidentBook:
    """All open incidents. ``advance`` once a minute, in order of time; where nothing was sighted, minutes may lack.

    A sighting joins the incident of its host while that host's risk in it lasts, and that of another host where the
    same rare rule was seen within ten minutes, the same user or address within an hour (a server of ours only by what
    it did itself), or the same file while that incident takes in; as long it joins what its process tree is part of.
    What is nothing unusual joins only where its rule or its process tree is part of an incident already, and is counted
    there. What the whole fleet did at once is an incident of its own, at most of severity low, which those of hosts
    name. What is suppressed joins none; the explanations of its host's incidents name it.

    Args:
        settings: when it is an incident.
        group: length of an alert's grouping window, µs; by it alerts are named.
        assets: how much hosts matter: what is signalled there weighs so many times as much.
        notify: how often an incident is told of to those who are notified.
        home: networks that are ours; what is only spoken to there links nothing.
    """

    VERSION = 3
    #: Snapshots that can be gone on from.
    READS = frozenset({2, VERSION})

    def __init__(
        self,
        settings: IncidentSettings,
        group: int,
        assets: Criticality | None = None,
        notify: NotifySettings | None = None,
        home: Sequence[Network] = (),
    ) -> None:
        self._settings = settings
        self._group = group
        self._assets = Criticality({}) if assets is None else assets
        self._half_life = settings.half_life_hours * HOUR
        self._fleet = Fleet()
        self._clusters: dict[str, Cluster] = {}
        self._by_host: dict[str, str] = {}
        self._links = Links(settings, home=home)
        self._notices = Notices(NotifySettings() if notify is None else notify)
        self._held = HeldBack()
        self._swept = 0
        self._now = 0
        #: Incidents closed for want of room since this was last read.
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._clusters)

    def advance(self, minute: Minute) -> Result:
        """Take in a minute; return what it changed."""
        updates: list[IncidentUpdate] = []
        self._pass(minute.start, updates)
        self._now = max(self._now, minute.start)
        signals: list[Signal] = []
        touched: dict[str, None] = {}
        surprises = surprises_of(minute, self._fleet)
        self._links.learn(minute.sightings)
        for sighting in minute.sightings:
            if sighting.suppressed:
                self._held.add(sighting)
                own = self._clusters.get(self._by_host.get(sighting.host, ""))
                if own is not None and own.told and self._takes_in(own, self._now):
                    touched[own.id] = None
                if sighting.kind == "alert":
                    signals.append(signal_of(sighting, 0.0, ""))
                continue
            surprise = surprises.get((sighting.host, sighting.value))
            weight, why = weigh(sighting, surprise, self._settings)
            if sighting.kind == "alert" and sighting.time < minute.start - STALE:
                weight = 0.0
            # A late one has its place in this minute, and a risk that begins now.
            t = min(max(sighting.time, self._now), self._now + MINUTE - 1)
            cluster = self._place(sighting, weight, t, updates)
            if cluster is not None:
                start = sighting.opened or sighting.time
                alert = alert_id(sighting.kind, sighting.rule, sighting.host, start - start % self._group)
                self._add(cluster, sighting, weight, why, t, alert)
                self._rate(cluster, t)
                touched[cluster.id] = None
            if sighting.kind == "alert" and (cluster is not None or (sighting.level or 0) >= Level.medium):
                signals.append(signal_of(sighting, weight, why))
        updates += [self._tell(self._clusters[name]) for name in touched if self._tells(name)]
        if len(self._clusters) > self._settings.max_open:
            updates += self._evict(self._now)
        self._pass(self._now + MINUTE, updates)
        return Result(updates, signals)

    def _pass(self, until: int, updates: list[IncidentUpdate]) -> None:
        """Let time pass: close what is over, and say of what it is time to, each at its own time.

        So nothing depends on which minutes were heard of in between.
        """
        told = {update.incident.id: place for place, update in enumerate(updates)}
        while self._clusters:
            sweep = (self._swept // SWEEP + 1) * SWEEP
            due = self._notices.next(min(until, sweep - 1))
            if due is not None:
                cluster = self._clusters[due[1]]
                reason, at = self._notices.take(cluster)
                place = told.pop(cluster.id, -1)
                if place >= 0 and updates[place].change in ("new", "severity", "grew"):
                    updates[place] = msgspec.structs.replace(updates[place], reason=reason, notified_at=at)
                else:
                    updates.append(IncidentUpdate(self._record(cluster), "same", reason, at))
            elif sweep <= until:
                updates += self._sweep(sweep)
            else:
                return
        if until - self._swept >= SWEEP:
            self._forget(until)
            self._swept = until - until % SWEEP

    def _place(self, sighting: Sighting, weight: float, t: int, updates: list[IncidentUpdate]) -> Cluster | None:
        """Return the incident that a sighting belongs to, a new one if need be; ``None``: to none."""
        own = self._clusters.get(self._by_host.get(sighting.host, ""))
        mark = own.fingerprint(sighting) if own is not None else None
        goes_on = own is not None and mark is not None and t - mark.last <= NEAR and self._takes_in(own, t)
        if weight <= 0.0:
            return own if goes_on else self._tree(sighting, t)
        if own is not None and not goes_on and not self._continues(own, sighting.host, weight, t):
            own = None
        for bond in list(self._links.find(sighting, weight, t)):
            other = self._clusters.get(bond.cluster)  # another link may have just made them one
            if other is None or other is own or not self._takes_in(other, t):
                continue
            own = other if own is None else self._merge(own, other, updates)
            own.bind(sighting.host, bond.by if bond.by != sighting.value else f"sign: {sighting.name}", bond.host)
        if own is None:
            start = sighting.opened or sighting.time
            alert = alert_id(sighting.kind, sighting.rule, sighting.host, start - start % self._group)
            name = incident_id(alert, sighting.minute)
            own = self._clusters[name] = Cluster(name, sighting.time, sighting.last, t, t)
        self._by_host[sighting.host] = own.id
        self._links.remember(sighting, weight, t, own.id)
        return own

    def _tree(self, sighting: Sighting, t: int) -> Cluster | None:
        """Return the incident that the processes of a sighting that weighs nothing are part of."""
        for bond in self._links.find(sighting, 0.0, t):
            cluster = self._clusters.get(bond.cluster)
            if cluster is not None and self._takes_in(cluster, t):
                return cluster
        return None

    def _takes_in(self, cluster: Cluster, t: int) -> bool:
        settings = self._settings
        return (
            t - cluster.active <= settings.idle_hours * HOUR and t - cluster.tactic_at <= settings.tactic_hours * HOUR
        )

    def _continues(self, cluster: Cluster, host: str, weight: float, t: int) -> bool:
        if not self._takes_in(cluster, t):
            return False
        since = t - cluster.hosts.get(host, cluster.first)
        # Where it would be high by what it did on this host alone, all that weighs is of it until it is over.
        severe = self._settings.severity(cluster.host_best(host)) >= Level.high
        if since <= (self._settings.idle_hours * HOUR if severe else NEAR):
            return True
        return cluster.host_risk(host, t, self._half_life) + weight >= REMAINS

    def _merge(self, one: Cluster, other: Cluster, updates: list[IncidentUpdate]) -> Cluster:
        """Make the younger part of the older, whose id stays."""
        old, young = sorted((one, other), key=lambda cluster: (cluster.first, cluster.id))
        if young.told:
            # Those who never heard of it need not hear of its end.
            reason: Reason = "merged" if self._notices.end(young) else ""
            updates.append(IncidentUpdate(self._record(young, "merged", old.id), "merged", reason, self._now))
        old.take_in(young)
        del self._clusters[young.id]
        for host in young.hosts:
            if self._by_host.get(host) == young.id:
                self._by_host[host] = old.id
        self._links.move(young.id, old.id)
        return old

    def _add(self, cluster: Cluster, sighting: Sighting, weight: float, why: str, t: int, alert: str) -> None:
        """Add a sighting with the weight that its host gives it. What links and joins is decided without."""
        matters = self._assets.of(sighting.host) if weight > 0.0 and sighting.host != FLEET else None
        if matters is not None and matters != 1.0:
            weight, why = weight * matters, f"{weight:.1f} times {matters:g}, what this host matters; {why}"
        cluster.add(sighting, weight, why, t, alert, self._half_life)

    def _rate(self, cluster: Cluster, t: int) -> None:
        score = cluster.rate(t, self._half_life)
        if FLEET in cluster.hosts:
            score = min(score, FLEET_MOST * self._settings.medium)
        cluster.score = max(cluster.score, score)
        if not cluster.opened and score >= self._settings.medium:
            cluster.opened = t

    def _tells(self, name: str) -> bool:
        cluster = self._clusters.get(name)
        return cluster is not None and self._settings.severity(cluster.score) > Level.informational

    def _tell(self, cluster: Cluster) -> IncidentUpdate:
        severity = self._settings.severity(cluster.score)
        change = "new" if not cluster.told else "severity" if severity > cluster.severity else "grew"
        cluster.severity, cluster.told = severity, True
        self._notices.change(cluster, self._now)
        return IncidentUpdate(self._record(cluster), change)  # type: ignore[arg-type]

    def _record(
        self, cluster: Cluster, state: Literal["open", "closed", "merged"] = "open", merged_into: str = ""
    ) -> Incident:
        held = self._held.between(cluster.hosts, cluster.first - HOUR, cluster.last + HOUR)
        fleet = self._clusters.get(self._by_host.get(FLEET, ""))
        if fleet is not None and (fleet.last < cluster.first - HOUR or fleet.first > cluster.last + HOUR):
            fleet = None
        return record(cluster, self._settings, held, state, merged_into, None if fleet is cluster else fleet)

    def _sweep(self, now: int) -> list[IncidentUpdate]:
        """Close what is over; forget what never became an incident and no longer weighs."""
        self._swept = now
        over = []
        for cluster in self._clusters.values():
            faded = not cluster.told and cluster.risk(now, self._half_life) < REMAINS / 10
            if not self._takes_in(cluster, now) or (faded and now - cluster.active > NEAR):
                over.append(cluster)
        self._forget(now)
        return self._close(over, now)

    def _forget(self, now: int) -> None:
        self._links.forget(now)
        self._held.forget(now - int(max(1.0, self._settings.idle_hours) * HOUR))

    def _evict(self, now: int) -> list[IncidentUpdate]:
        """Close those of least risk, an eighth at once."""
        order = sorted(self._clusters.values(), key=lambda c: (c.risk(now, self._half_life), c.active, c.id))
        over = order[: len(order) - self._settings.max_open * 7 // 8]
        self.evicted += len(over)
        return self._close(over, now)

    def _close(self, over: list[Cluster], now: int) -> list[IncidentUpdate]:
        gone = {cluster.id for cluster in over}
        if gone:
            for cluster in over:
                self._notices.end(cluster)
                del self._clusters[cluster.id]
            self._by_host = {host: name for host, name in self._by_host.items() if name not in gone}
        return [
            IncidentUpdate(self._record(cluster, "closed"), "closed", "closed", now) for cluster in over if cluster.told
        ]

    def snapshot(self) -> bytes:
        """Return the state as versioned bytes."""
        return msgspec.msgpack.encode(
            _Saved(
                self.VERSION,
                self._fleet.snapshot(),
                list(self._clusters.values()),
                self._by_host,
                self._links.recent,
                self._swept,
                self._now,
                self._held,
                self._links.files,
            )
        )

    @classmethod
    def restore(
        cls,
        settings: IncidentSettings,
        group: int,
        state: bytes,
        assets: Criticality | None = None,
        notify: NotifySettings | None = None,
        home: Sequence[Network] = (),
    ) -> IncidentBook:
        """Return a book that goes on from a snapshot.

        Raises:
            ValueError: the snapshot is of another version.
        """
        saved = msgspec.msgpack.decode(state, type=_Saved)
        if saved.version not in cls.READS:
            raise ValueError(f"incident book: snapshot version {saved.version} cannot be read")
        book = cls(settings, group, assets, notify, home)
        book._fleet = Fleet.restore(saved.fleet)
        book._clusters = {cluster.id: cluster for cluster in saved.clusters}
        book._by_host, book._links = saved.by_host, Links(settings, saved.recent, saved.files, home)
        book._swept, book._now, book._held = saved.swept, saved.now, saved.held
        for cluster in saved.clusters:
            book._notices.restore(cluster, saved.now)
        return book
