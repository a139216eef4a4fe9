"""JSON schemas of the messages that other tools read."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import best_match

from state.alerts import ALERT_VERSION
from state.control import CONTROL_VERSION, KINDS
from state.escalations import ESCALATION_VERSION, VERDICT_VERSION
from state.incidents import INCIDENT_VERSION


class SchemaError(ValueError):
    """A message is not what its schema says; names the place and what was wrong there."""


@functools.cache
def alert_schema(version: int = ALERT_VERSION) -> dict[str, Any]:
    """Return the JSON schema of alert messages of one version."""
    schema: dict[str, Any] = json.loads((files(__name__) / f"alert.v{version}.json").read_text("utf-8"))
    return schema


def validate_alert(message: Mapping[str, Any]) -> None:
    """Raise ``SchemaError`` unless ``message`` is an alert message of the version that this Winnow writes."""
    error = best_match(_validator().iter_errors(message))
    if error is not None:
        raise SchemaError(f"alert{error.json_path[1:]}: {error.message[:300]}")


@functools.cache
def incident_schema(version: int = INCIDENT_VERSION) -> dict[str, Any]:
    """Return the JSON schema of incident messages of one version."""
    schema: dict[str, Any] = json.loads((files(__name__) / f"incident.v{version}.json").read_text("utf-8"))
    return schema


def validate_incident(message: Mapping[str, Any]) -> None:
    """Raise ``SchemaError`` unless ``message`` is an incident message of the version that this Winnow writes."""
    error = best_match(_incident_validator().iter_errors(message))
    if error is not None:
        raise SchemaError(f"incident{error.json_path[1:]}: {error.message[:300]}")


@functools.cache
def _incident_validator() -> Draft202012Validator:
    return Draft202012Validator(incident_schema(), format_checker=FormatChecker())


@functools.cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(alert_schema(), format_checker=FormatChecker())


@functools.cache
def control_schema(kind: str, version: int = CONTROL_VERSION) -> dict[str, Any]:
    """Return the JSON schema of one kind of control message, of one version."""
    text = (files(__name__) / f"control.{kind}.v{version}.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def validate_control(message: Mapping[str, Any]) -> None:
    """Raise ``SchemaError`` unless ``message`` is a control message of a kind and version that this Winnow writes."""
    kind = message.get("kind")
    if kind not in KINDS:
        raise SchemaError(f"control: unknown kind {str(kind)[:100]}")
    error = best_match(Draft202012Validator(control_schema(kind)).iter_errors(message))
    if error is not None:
        raise SchemaError(f"control{error.json_path[1:]}: {error.message[:300]}")


@functools.cache
def escalation_schema(version: int = ESCALATION_VERSION) -> dict[str, Any]:
    """Return the JSON schema of escalations to the LLM lane, of one version."""
    schema: dict[str, Any] = json.loads((files(__name__) / f"escalation.v{version}.json").read_text("utf-8"))
    return schema


@functools.cache
def llm_verdict_schema(version: int = VERDICT_VERSION) -> dict[str, Any]:
    """Return the JSON schema of the LLM lane's verdicts, of one version."""
    schema: dict[str, Any] = json.loads((files(__name__) / f"llm_verdict.v{version}.json").read_text("utf-8"))
    return schema
