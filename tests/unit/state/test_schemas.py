"""The alert message's schema: what a consumer may rely on, and what it is spared."""

from __future__ import annotations

from typing import Any

import pytest

from state.alerts import MAX_EVIDENCE, Alert, Level
from state.ids import alert_id, incident_id
from state.incidents import Incident, IncidentUpdate
from state.schemas import SchemaError, alert_schema, incident_schema, validate_alert, validate_incident

T0 = 1_770_000_000_000_000


def message(**changes: Any) -> dict[str, Any]:
    evidence = tuple(f"winnow.telemetry-0-{n}" for n in range(MAX_EVIDENCE))
    alert = Alert(
        alert_id("rule", "r1", "web-1", T0), "rule", "r1", "A rule", Level.high, "web-1", T0, T0, T0 + 1, 3, "because",
        ("T1059.001",), ("execution",), evidence, (("rules", "v1"),),
    )  # fmt: skip
    return {**alert.message(), **changes}


@pytest.mark.parametrize("level", list(Level))
def test_what_alerts_write_is_valid(level: Level) -> None:
    validate_alert(message(level=level.name))


def test_the_schema_names_exactly_the_messages_fields() -> None:
    schema = alert_schema()
    assert set(schema["properties"]) == set(schema["required"]) == set(message())


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"version": 2}, "alert.version"),
        ({"level": "severe"}, "alert.level"),
        ({"id": "a-1"}, "alert.id"),
        ({"count": 0}, "alert.count"),
        ({"count": "3"}, "alert.count"),
        ({"first_seen": "2026-02-02 02:40:00"}, "alert.first_seen"),
        ({"evidence": ["x"] * (MAX_EVIDENCE + 1)}, "alert.evidence"),
        ({"entity": ""}, "alert.entity"),
        ({"techniques": [1]}, r"alert.techniques\[0\]"),
        ({"surprise": 1}, "alert: "),
    ],
)
def test_an_error_names_the_place(changes: dict[str, Any], place: str) -> None:
    with pytest.raises(SchemaError, match=f"^{place}"):
        validate_alert(message(**changes))


def test_a_missing_field_is_named() -> None:
    broken = message()
    del broken["reason"]
    with pytest.raises(SchemaError, match="'reason' is a required property"):
        validate_alert(broken)


def incident_message(**changes: Any) -> dict[str, Any]:
    return an_incident().message() | changes


def an_incident() -> Incident:
    first = alert_id("rule", "r1", "web-1", T0)
    return Incident(
        incident_id(first, T0), "open", Level.medium, 7.5, ("web-1", "user:alice"), T0, T0 + 1, T0, ("execution",),
        ("T1059.001",), 3, (first,), ("t-0-1",), "A title", "What: …", (incident_id(first, 1),),
    )  # fmt: skip


def test_what_incidents_write_is_valid_and_the_schema_names_exactly_its_fields() -> None:
    validate_incident(incident_message())
    validate_incident(incident_message(opened=None, merged_into=incident_id("a", 0), state="merged"))
    schema = incident_schema()
    assert set(schema["required"]) == set(incident_message())
    told = IncidentUpdate(an_incident(), "same", "repeat", 1_770_000_000_000_000).message()
    validate_incident(told)
    assert set(schema["properties"]) == set(told)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"version": 2}, "incident.version"),
        ({"type": "alert"}, "incident.type"),
        ({"state": "gone"}, "incident.state"),
        ({"opened": ""}, "incident.opened"),
        ({"alerts": ["a-1"]}, r"incident.alerts\[0\]"),
        ({"merged_into": ""}, "incident.merged_into"),
    ],
)
def test_an_incident_that_is_wrong_is_refused_with_the_place(changes: dict[str, Any], place: str) -> None:
    with pytest.raises(SchemaError, match=f"^{place}"):
        validate_incident(incident_message(**changes))
