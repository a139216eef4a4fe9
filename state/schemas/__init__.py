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
def _validator() -> Draft202012Validator:
    return Draft202012Validator(alert_schema(), format_checker=FormatChecker())
