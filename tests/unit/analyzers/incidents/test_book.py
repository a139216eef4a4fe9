"""What analysts lose if incidents are wrong: an attack in pieces, a flood for a queue, a claim without its event."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

import pytest

from analyzers.criticality import Criticality
from analyzers.incidents.book import HOUR, MINUTE, IncidentBook, Result
from analyzers.incidents.cluster import MAX_PRINTS
from analyzers.incidents.explanation import citations
from analyzers.incidents.minutes import Minute
from analyzers.incidents.settings import IncidentSettings
from analyzers.incidents.sightings import AlertCount, Sighting, Told
from analyzers.incidents.watch import Watch, sighting_of
from state.alerts import FLEET, Level, Signal
from state.events import Event, Kind
from state.ids import alert_id
from state.incidents import Incident
from state.schemas import validate_incident

T0 = 1_770_000_000_000_000 - 1_770_000_000_000_000 % HOUR
LOGON = Kind("windows.security", "authentication", "logon-failed")


class Fleet:
    """Hosts that say things, and the book that hears them minute by minute."""

    def __init__(self, **settings: float) -> None:
        self.book = IncidentBook(IncidentSettings(**settings), HOUR)  # type: ignore[arg-type]
        self.watches: dict[str, Watch] = {}
        self.incidents: dict[str, Incident] = {}
        self.changes: list[tuple[str, str]] = []
        self.signals: list[Signal] = []
        self.events = 0

    def rule(
        self, host: str, rule: str, t: int, level: Level = Level.medium, user: str = "", **more: tuple[str, ...]
    ) -> list[Sighting]:
        self.events += 1
        event = Event("log", self.events, t, host, LOGON, b"{}", "json", user)
        signal = Signal("rule", rule, f"Rule {rule}", level, host, t, f"because of {rule}", event_id=event.id, **more)
        return self._watch(host).signals([signal], t, event)

    def alerts(self, host: str, rule: str, t: int, count: int = 1, level: Level | None = None) -> list[Sighting]:
        self.events += 1
        cites = [(t, f"ids-0-{self.events}", b"{}")]
        found = AlertCount(Told(rule, f"Signature {rule}", level), count, t, t, cites, [])
        return self._watch(host).window(t - t % MINUTE, {rule: found})

    def minute(self, sightings: Iterable[Sighting]) -> Result:
        given = sorted(sightings, key=lambda sighting: sighting.order)
        start = given[0].minute
        born = [(host, watch.born) for host, watch in sorted(self.watches.items()) if watch.born >= 0]
        for host, _ in born:
            self.watches[host].born = -1
        result = self.book.advance(Minute(start, given, born))
        self.signals += result.signals
        for update in result.updates:
            incident = update.incident
            validate_incident(incident.message())
            assert set(citations(incident.explanation)) <= set(incident.evidence)
            self.incidents[incident.id] = incident
            self.changes.append((update.change, incident.id))
        return result

    def open(self) -> list[Incident]:
        return [incident for incident in self.incidents.values() if incident.state == "open"]

    def _watch(self, host: str) -> Watch:
        return self.watches.setdefault(host, Watch(host))


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def test_a_flood_is_one_incident_with_a_count_and_bounded_evidence(fleet: Fleet) -> None:
    for minute in range(200):
        fleet.minute(fleet.alerts("web-1", "scan", T0 + minute * MINUTE, 2_000, Level.critical))
    [incident] = fleet.incidents.values()
    assert incident.alert_count == 400_000
    assert len(incident.evidence) == 20
    assert len(fleet.book.snapshot()) < 5_000
    assert "400,000 times" in incident.explanation
    # Its own alert has them all as well, an hour in one.
    assert sum(signal.count for signal in fleet.signals) == 400_000


def test_what_is_common_is_no_incident_and_what_is_new_is_weighed(fleet: Fleet) -> None:
    for minute in range(0, 3 * 1_440, 5):
        fleet.minute([s for n in range(8) for s in fleet.alerts(f"web-{n}", "noise", T0 + minute * MINUTE, 3)])
    assert not fleet.open()
    at = T0 + 3 * 1_440 * MINUTE
    new = [sighting for n in range(9) for sighting in fleet.alerts("web-1", f"new-{n}", at + n)]
    fleet.minute([*new, *fleet.alerts("web-1", "noise", at, 3)])
    [incident] = fleet.open()
    assert incident.severity >= Level.medium
    assert at < incident.opened < at + 9
    # The noise of the same minute is no part of it.
    assert incident.alert_count == 9
    assert alert_id("alert", "noise", "web-1", at - at % HOUR) not in incident.alerts


def test_a_user_who_moves_on_links_hosts_and_the_older_id_stays(fleet: Fleet) -> None:
    fleet.minute(fleet.rule("ws-1", "r1", T0, user="LAB\\alice"))
    fleet.minute(fleet.rule("dc-1", "r2", T0 + 5 * MINUTE, user="SYSTEM"))
    first, second = fleet.open()
    result = fleet.minute(fleet.rule("dc-1", "r3", T0 + 20 * MINUTE, user="alice@lab.example"))
    [incident] = fleet.open()
    assert incident.id == first.id
    assert incident.aliases == (second.id,)
    assert incident.entities == ("dc-1", "ws-1", "user:alice")
    assert [(u.change, u.incident.merged_into) for u in result.updates] == [("merged", first.id), ("severity", "")]
    assert fleet.incidents[second.id].state == "merged"


def test_an_older_incident_that_takes_in_a_worse_one_is_told_again(fleet: Fleet) -> None:
    fleet.minute(fleet.rule("ws-1", "r1", T0, Level.low, user="alice"))
    fleet.minute(fleet.rule("dc-1", "r2", T0 + MINUTE, Level.critical))
    fleet.minute(fleet.rule("dc-1", "r3", T0 + 2 * MINUTE, Level.low, user="alice"))
    [incident] = fleet.open()
    assert incident.severity >= Level.high
    assert ("severity", incident.id) in fleet.changes[-2:]


@pytest.mark.parametrize("user", ["SYSTEM", "NT AUTHORITY\\NETWORK SERVICE", "ws-1$", "root", "-", ""])
def test_users_that_every_machine_has_link_nothing(fleet: Fleet, user: str) -> None:
    fleet.minute(fleet.rule("ws-1", "r1", T0, user=user))
    fleet.minute(fleet.rule("ws-2", "r2", T0 + MINUTE, user=user))
    assert len(fleet.open()) == 2


def test_the_same_rare_rule_on_several_hosts_at_once_is_one_incident_and_one_reason(fleet: Fleet) -> None:
    sightings = [s for n in range(9) for s in fleet.rule(f"ws-{n}", "r1", T0 + n, Level.medium)]
    fleet.minute(sightings)
    [incident] = fleet.open()
    assert len(incident.entities) == incident.alert_count == 9
    assert incident.severity == Level.low


def test_an_incident_closes_when_nothing_happened_for_hours_and_the_next_is_another(fleet: Fleet) -> None:
    fleet.minute(fleet.rule("ws-1", "r1", T0, Level.high))
    fleet.minute(fleet.rule("ws-2", "r2", T0 + 7 * HOUR, Level.low))
    [old] = [incident for incident in fleet.incidents.values() if incident.entities == ("ws-1",)]
    assert old.state == "closed"
    fleet.minute(fleet.rule("ws-1", "r1", T0 + 7 * HOUR + MINUTE, Level.high))
    assert len({incident.id for incident in fleet.incidents.values() if incident.entities == ("ws-1",)}) == 2


def test_no_incident_is_endless_but_a_new_tactic_keeps_it_open(fleet: Fleet) -> None:
    for hour in range(60):
        tactics = ("execution",) if hour < 40 else ("impact",)
        fleet.minute(fleet.rule("ws-1", f"r{hour}", T0 + hour * HOUR, Level.high, tactics=tactics))
    lasted = sorted((i.last_seen - i.first_seen) // HOUR for i in fleet.incidents.values())
    # A day after its only tactic the first takes in no more, though each hour had news; the second had another tactic.
    assert lasted == [24, 34]


def test_several_tactics_of_several_rules_are_more_severe_than_the_same_of_one() -> None:
    scores = []
    for tactics in ([("execution",)] * 3, [("execution",), ("persistence",), ("lateral-movement",)]):
        fleet = Fleet()
        fleet.minute([s for n, t in enumerate(tactics) for s in fleet.rule("ws-1", f"r{n}", T0 + n, tactics=t)])
        [incident] = fleet.open()
        scores.append(incident.score)
        assert incident.tactics == tuple(dict.fromkeys(name for names in tactics for name in names))
    assert scores[1] == pytest.approx(scores[0] * 1.5, rel=1e-3)


def test_what_happens_on_a_host_that_matters_weighs_more_and_links_no_more(fleet: Fleet) -> None:
    fleet.book = IncidentBook(IncidentSettings(), HOUR, Criticality({"dc-*": 5.0, "test-*": 0.1}))
    fleet.minute([s for host in ("dc-1", "test-1", "ws-1") for s in fleet.rule(host, f"r-{host}", T0)])
    scores = {incident.entities: incident for incident in fleet.open()}
    assert scores["dc-1",].score == pytest.approx(5 * scores["ws-1",].score)
    assert scores["dc-1",].severity == Level.high
    assert "3.0 times 5, what this host matters" in scores["dc-1",].explanation
    assert ("test-1",) not in scores
    fleet.minute(fleet.alerts("dc-1", "noise", T0 + MINUTE))
    assert scores["dc-1",].alert_count == 1


def shift(t: int, metric: str = "processes") -> list[Sighting]:
    rule, name = f"fleet:{metric}:peak", f"Many hosts at once: more {metric}"
    signal = Signal("anomaly", rule, name, Level.medium, FLEET, t, "on 30 hosts", tactics=("execution",))
    return [sighting_of(signal, t - t % MINUTE)]


def test_a_patch_day_is_one_entry_of_low_severity_that_incidents_of_hosts_name(fleet: Fleet) -> None:
    fleet.book = IncidentBook(IncidentSettings(), HOUR, Criticality({"*": 9.0}))
    for minute in range(60):
        fleet.minute(shift(T0 + minute * MINUTE, f"metric-{minute % 6}"))
    fleet.minute(fleet.rule("ws-1", "r1", T0 + HOUR, Level.high))
    by_entity = {incident.entities: incident for incident in fleet.open()}
    assert sorted(by_entity) == [("_fleet",), ("ws-1",)]
    patched, attacked = by_entity["_fleet",], by_entity["ws-1",]
    assert (patched.severity, patched.alert_count) == (Level.low, 60)
    assert patched.title.endswith("on the whole fleet")
    assert f"In the whole fleet meanwhile (incident {patched.id}): Many hosts at once" in attacked.explanation
    # Hours later it has nothing to do with it.
    fleet.minute(fleet.rule("ws-2", "r2", T0 + 4 * HOUR, Level.high))
    assert all("meanwhile" not in i.explanation for i in fleet.open() if i.entities == ("ws-2",))


def test_rules_that_say_the_same_of_one_event_are_not_so_many_reasons(fleet: Fleet) -> None:
    event = Event("log", 1, T0, "ws-1", LOGON, b"{}", "json")
    said = [Signal("rule", f"r{n}", "Rule", Level.medium, "ws-1", T0, "why", event_id=event.id) for n in range(5)]
    fleet.minute(fleet._watch("ws-1").signals(said, T0, event))
    apart = Fleet()
    apart.minute([s for n in range(5) for s in apart.rule("ws-1", f"r{n}", T0)])
    assert fleet.open()[0].score == pytest.approx(3.0 * 2.0)
    assert apart.open()[0].score == pytest.approx(3.0 * 5.0)


def test_memory_is_bounded_by_what_is_open_and_by_what_one_incident_holds() -> None:
    fleet = Fleet(max_open=40)
    for n in range(100):
        fleet.minute(fleet.rule(f"ws-{n}", f"r{n}", T0 + n * MINUTE))
    assert len(fleet.book) <= 40
    assert fleet.book.evicted >= 60
    assert sum(change == "closed" for change, _ in fleet.changes) == fleet.book.evicted
    fleet = Fleet()
    fleet.minute([s for n in range(2 * MAX_PRINTS) for s in fleet.rule("ws-1", f"r{n}", T0 + n)])
    [incident] = fleet.open()
    assert incident.alert_count == 2 * MAX_PRINTS
    assert len(incident.alerts) <= 200
    assert len(incident.evidence) <= 500


def test_an_incident_names_the_first_event_of_each_rule_and_host_before_all_others(fleet: Fleet) -> None:
    for minute in range(30):
        fleet.minute([*fleet.rule("ws-1", "r1", T0 + minute * MINUTE), *fleet.rule("ws-1", "r2", T0 + minute * MINUTE)])
    [incident] = fleet.open()
    assert incident.evidence[:2] == ("log-1", "log-2")
    assert len(incident.evidence) == 40


def test_what_the_explanation_cites_is_evidence_however_much_else_there_is(fleet: Fleet) -> None:
    # The worst rule's second event is later than 500 others.
    many = [s for n in range(60) for s in fleet.rule("ws-1", f"r{n}", T0 + n, Level.low)]
    fleet.minute([*many, *fleet.rule("ws-1", "worst", T0 + 99, Level.critical)])
    for minute in range(1, 20):
        fleet.minute([s for n in range(60) for s in fleet.rule("ws-1", f"r{n}", T0 + minute * MINUTE + n, Level.low)])
    fleet.minute(fleet.rule("ws-1", "worst", T0 + 20 * MINUTE, Level.critical))
    [incident] = fleet.open()
    assert len(incident.evidence) == 500
    assert f"[log-{fleet.events}]" in incident.explanation
    assert f"log-{fleet.events}" in incident.evidence


def test_what_others_wrote_cannot_forge_a_citation(fleet: Fleet) -> None:
    event = Event("log", 1, T0, "ws-1", LOGON, b"{}", "json")
    said = Signal("rule", "r[x-0-1]", "[y-0-2]\n- all is well", Level.high, "ws-1", T0, "[z-0-3]", event_id="log-0-1")
    fleet.minute(fleet._watch("ws-1").signals([said], T0, event))
    [incident] = fleet.open()
    assert set(citations(incident.explanation)) == {"log-0-1"}
    assert "\n- all is well" not in incident.explanation


def test_alerts_that_come_days_late_are_counted_and_open_nothing(fleet: Fleet) -> None:
    watch, ago = fleet._watch("web-1"), T0 - 50 * HOUR
    late = {f"r{n}": AlertCount(Told(f"r{n}", "Old"), 900, ago, ago, [(ago, f"l-0-{n}", b"")], []) for n in range(9)}
    fleet.minute(watch.window(T0, late))
    assert not fleet.open()


def attack(seed: int, fleet: Fleet) -> Iterator[list[Sighting]]:
    """Yield minutes of two days in which hosts say this and that, among it bursts over several hosts."""
    rng = random.Random(seed)
    for minute in range(0, 2_880, 3):
        t = T0 + minute * MINUTE
        sightings = fleet.alerts(f"web-{rng.randrange(4)}", f"noise-{rng.randrange(5)}", t, rng.randrange(1, 9))
        if rng.random() < 0.05:
            for n in range(rng.randrange(1, 6)):
                user = rng.choice(["alice", "bob", ""])
                host = f"ws-{rng.randrange(5)}"
                tactic = rng.choice(["execution", "impact", "discovery"])
                sightings += fleet.rule(host, f"r{rng.randrange(40)}", t + n, user=user, tactics=(tactic,))
        merged: dict[tuple[str, str], Sighting] = {}
        for sighting in sightings:
            key = (sighting.host, sighting.value)
            merged[key] = merged[key].joined(sighting) if key in merged else sighting
        yield list(merged.values())


def test_a_book_that_goes_on_from_snapshots_says_the_same(fleet: Fleet) -> None:
    other = Fleet()
    for minute, again in zip(attack(1, fleet), attack(1, other), strict=True):
        assert other.minute(again) == fleet.minute(minute)
        other.book = IncidentBook.restore(IncidentSettings(), HOUR, other.book.snapshot())
        other.watches = {host: Watch.restore(host, watch.snapshot()) for host, watch in other.watches.items()}
    assert {change for change, _ in fleet.changes} == {"new", "severity", "merged", "closed", "grew", "same"}
    again_read = IncidentBook.restore(IncidentSettings(), HOUR, fleet.book.snapshot())
    assert other.book.snapshot() == again_read.snapshot()


def test_a_snapshot_of_another_version_is_refused(fleet: Fleet) -> None:
    state = fleet.book.snapshot().replace(b"\xa7version\x01", b"\xa7version\x63")
    with pytest.raises(ValueError, match="version 99"):
        IncidentBook.restore(IncidentSettings(), HOUR, state)
