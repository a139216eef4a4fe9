"""A suppression reaches every step that could alert, and no other signal than it names."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from analyzers.alerts import AlertSettings, AlertUpdate
from analyzers.anomaly.barrier import WindowClosed
from analyzers.anomaly.settings import AnomalySettings
from analyzers.control import Timeline
from analyzers.incidents.settings import IncidentSettings
from analyzers.incidents.sightings import AlertCount, Heard, Told
from analyzers.incidents.watch import Watch
from analyzers.metrics import MetricSet
from analyzers.router.candidate import Candidate
from analyzers.router.router import Router
from analyzers.router.settings import RouterSettings
from operators.alerts import AlertLogic
from operators.batch import Batch, Judged
from operators.collect import Collector
from operators.formats import Decoder, FormatSettings
from operators.host import Decided, HostLogic
from operators.incidents import CLOSERS, IncidentLogic
from state.alerts import Level, Signal
from state.control import Suppression, new_id
from state.escalations import Escalated
from state.events import Event
from state.incidents import Incident, IncidentUpdate
from state.suppressions import Suppressed

T = 1_770_000_000_000_000 - 1_770_000_000_000_000 % 3_600_000_000
MINUTE = 60_000_000


def timeline(rule: str | None = None, entity: str | None = None, **more: Any) -> tuple[Timeline, str]:
    found = Timeline()
    told = Suppression(
        version=1, id=new_id(), author="ann", reason="why", written_at=T, from_time=more.pop("since", T), rule=rule,
        entity=entity, until_time=None, **more,
    )  # fmt: skip
    assert found.suppressions.add(told, 0) is None
    return found, told.id


def events(*users: str) -> list[Event]:
    lines = [
        b'{"timestamp":"2026-02-02T02:40:0%dZ","host":"web-1","event_type":"login","user":"%s","extra":{"deep":"x"}}'
        % (n, user.encode())
        for n, user in enumerate(users)
    ]
    return Decoder("t-0", FormatSettings(), "json").decode_batch(lines, list(range(len(lines))), 0).events


def said(event: Event, rule: str, level: Level) -> Signal:
    return Signal("rule", rule, f"Rule {rule}", level, event.host, event.time, "why", event_id=event.id)


def collect(found: Timeline, *users: str) -> tuple[list[Signal], list[Candidate]]:
    batch = Batch("t-0", 0, T, T, events(*users), consumed=len(users))
    signals = {i: [said(e, "r-high", Level.high), said(e, "r-low", Level.low)] for i, e in enumerate(batch.events)}
    collected = Collector(MetricSet.load(), timeline=found).collect(Judged(batch, signals, "v"))
    return collected.at_once, [candidate for item in collected.shards for candidate in item.candidates]


def test_collect_marks_what_meets_the_fields_of_its_event_at_once_and_in_order() -> None:
    found, name = timeline("r-high", fields={"user.name": "SVC-*", "extra.deep": "x"})
    at_once, candidates = collect(found, "svc-backup", "alice")
    assert [(signal.event_id, signal.suppressed) for signal in at_once] == [("t-0-0", name), ("t-0-1", "")]
    marks = {signal.event_id: signal.suppressed for c in candidates for signal in c.signals if signal.rule == "r-high"}
    assert marks == {"t-0-0": name, "t-0-1": ""}
    assert not any(signal.suppressed for c in candidates for signal in c.signals if signal.rule == "r-low")


def test_an_entry_without_a_rule_leaves_high_matches_alone() -> None:
    found, name = timeline(None, "web-1")
    at_once, candidates = collect(found, "alice")
    assert [signal.suppressed for signal in at_once] == [""]
    assert [signal.suppressed for c in candidates for signal in c.signals] == ["", name]


def limit(rule: str = "failed_logins:peak", time: int = T, **more: Any) -> Signal:
    return Signal("threshold", rule, "Many failed logons", Level.medium, "web-1", time, "why", **more)


def test_what_is_suppressed_makes_no_alert_and_is_counted_across_a_restart() -> None:
    found, name = timeline("failed_logins", "web-1")
    hit = Signal("rule", "r1", "R", Level.high, "web-1", T, "why", event_id="t-0-1", suppressed=name)
    step = AlertLogic(AlertSettings(), found, None)
    out, _ = step.on_batch([limit(), hit, limit("ports:peak")])
    assert [item.alert.rule for item in out if isinstance(item, AlertUpdate)] == ["ports:peak"]
    step = AlertLogic(AlertSettings(), found, step.snapshot())
    out, keep = step.on_batch([limit(time=T + 1), limit(time=T - 1)])
    counts = [(c.kind, c.rule, c.suppression, c.count) for c in out if isinstance(c, Suppressed)]
    assert counts == [("threshold", "failed_logins:peak", name, 2)] and not keep
    assert len([item for item in out if isinstance(item, AlertUpdate)]) == 1  # before it began


def test_field_conditions_never_hold_for_what_is_said_of_no_event() -> None:
    found, _ = timeline("failed_logins", "web-1", fields={"user.name": "*"})
    out, _ = AlertLogic(AlertSettings(), found, None).on_batch([limit()])
    assert [type(item) for item in out] == [AlertUpdate]


def test_rules_are_judged_once_with_their_event() -> None:
    # By the time it is booked the entry may be known, and its event is not at hand any more.
    found, _ = timeline("r1", fields={"user.name": "x"})
    hit = Signal("rule", "r1", "R", Level.high, "web-1", T, "why", event_id="t-0-1")
    (out,) = AlertLogic(AlertSettings(), found, None).on_batch([hit])[0]
    assert isinstance(out, AlertUpdate)


def host_step(candidate: Candidate) -> list[Any]:
    step = HostLogic(
        MetricSet.load(), AnomalySettings(), Router(RouterSettings(ask_stakes=0.0), asks=True), Level.low, None
    )
    return list(step.on_batch([candidate])[0])


@pytest.mark.parametrize("suppressed", ["", "c-1"])
def test_an_event_of_which_all_is_suppressed_is_decided_and_asked_of_nobody(suppressed: str) -> None:
    (event,) = events("alice")
    signals = (msgspec.structs.replace(said(event, "r1", Level.medium), suppressed=suppressed),)
    out = host_step(Candidate(event, signals, event.time))
    assert [item.lane for item in out if isinstance(item, Decided)] == ["rule" if suppressed else "llm"]
    assert bool([item for item in out if isinstance(item, Escalated)]) is not bool(suppressed)
    # It goes on to be counted.
    assert [item.suppressed for item in out if isinstance(item, Signal)] == [suppressed]
    (heard,) = [item for item in out if isinstance(item, Heard)]
    assert [sighting.suppressed for sighting in heard.sightings] == [suppressed]


class Story:
    """What the incident step makes of what one host says, minute by minute."""

    def __init__(self, found: Timeline) -> None:
        self.found = found
        self.step = IncidentLogic(IncidentSettings(), 60 * MINUTE, found, None)
        self.watch = Watch("web-1")
        self.incidents: dict[str, Incident] = {}
        self.signals: list[Signal] = []

    def minute(self, number: int, signals: list[Signal], others: dict[str, AlertCount] | None = None) -> None:
        start = T + number * MINUTE
        sightings = self.watch.signals(signals, start) + self.watch.window(start, others or {})
        values: list[Heard | WindowClosed] = [Heard("web-1", start, tuple(sightings), start if not number else -1)]
        values += [WindowClosed(closer, start, 1 if closer == 0 else 0) for closer in range(CLOSERS)]
        for item in self.step.on_batch(values)[0]:
            if isinstance(item, IncidentUpdate):
                self.incidents[item.incident.id] = item.incident
            else:
                self.signals.append(item)
        self.step = IncidentLogic(IncidentSettings(), 60 * MINUTE, self.found, self.step.snapshot())


def test_incidents_weigh_nothing_that_is_suppressed_and_say_what_it_was() -> None:
    found, name = timeline("failed_logins", "web-1")
    story = Story(found)
    story.minute(0, [limit()])
    assert not story.incidents
    hit = Signal("rule", "r1", "Web shell", Level.high, "web-1", T + MINUTE, "why", event_id="t-0-1")
    story.minute(1, [hit, limit(time=T + MINUTE)])
    story.minute(2, [limit(time=T + 2 * MINUTE)])
    ((incident),) = story.incidents.values()
    assert (incident.alert_count, incident.score) == (1, 6.0)
    line = next(line for line in incident.explanation.splitlines() if line.startswith("Suppressed"))
    assert "(failed_logins:peak) 3 times on web-1 from" in line and f"by {name}." in line

    plain = Story(Timeline())
    plain.minute(1, [hit, limit(time=T + MINUTE)])
    assert all(incident.score > 6.0 for incident in plain.incidents.values())


def test_others_alerts_are_suppressed_by_their_rule_and_all_of_them_are_counted() -> None:
    found, name = timeline("2210000")
    story = Story(found)
    cites = [(T + 5, "ids-0-1", b"{}")]
    story.minute(0, [], {"2210000": AlertCount(Told("2210000", "Scan", Level.low), 400, T + 5, T + 9, cites, [])})
    assert not story.incidents
    ((signal),) = story.signals
    assert (signal.suppressed, signal.count) == (name, 400)
    (count,) = AlertLogic(AlertSettings(), found, None).on_batch([signal])[0]
    assert isinstance(count, Suppressed)
    assert (count.count, count.kind, count.last_event) == (400, "alert", "ids-0-1")


def test_a_suppressed_match_does_not_make_the_same_rule_usual() -> None:
    watch = Watch("web-1")
    hit = Signal("rule", "r1", "R", Level.low, "web-1", T, "why", event_id="t-0-1")
    (muted,) = watch.signals([msgspec.structs.replace(hit, suppressed="c-1")], T)
    (loud,) = watch.signals([hit], T)
    assert muted.standing is None and loud.standing is not None
    assert watch.born == T
