"""Bring another calibration into force: check, store in the registry, say so on the control topic."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analyzers.control import Told
from analyzers.router.calibration import Calibration, CalibrationError, load, suits
from analyzers.router.registry import CalibrationRegistry
from analyzers.router.router import UNCALIBRATED
from flows.activation import Base, configure, configured, history, last_of, message_of, messages_of
from flows.settings import Settings
from flows.telling import reaching
from flows.texts import version_of
from flows.usage import UsageError
from operators.control import create, write
from state.alerts import iso
from state.control import EARLIEST, Activation, Refusal, decode

log = logging.getLogger(__name__)


def begin(settings: Settings, model: Base | None) -> Base | None:
    """Store the calibration of the settings; return what fresh partitions begin with, None without registry or judge.

    If it changed since it was last activated, it is activated: ``winnow run`` was started with it. One that cannot be
    used is refused, and the one before stays in force, if there is one.

    Raises:
        UsageError: the calibration of the settings cannot be used and there is none before it, nothing can be stored,
            or Kafka cannot be reached.
    """
    if not settings.bert.enabled or settings.calibration_registry is None:
        return None
    registry = CalibrationRegistry(settings.calibration_registry)
    with reaching(settings):
        create(settings.kafka)
        told, _ = history(settings)
        known = [last_of(messages_of(told, "calibration")), configured_in(registry)]
        before = next((version for version in known if _there(version, registry)), "")
        version = _stored(settings, registry, version_of(settings.bert) if model is None else model.version, before)
        registry.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if configured_in(registry) not in ("", version) and before != version:
            write(
                settings.kafka,
                message_of("calibration", version, EARLIEST, "winnow run", "the settings' calibration changed"),
            )
        configure(registry.folder, version)
        told, end = history(settings)
    base = Base(version, end, time.time_ns() // 1000, "calibration")
    last = last_of(base.past(told))
    if last and _there(last, registry):
        return Base(last, base.end, base.at, "calibration")
    if last:
        log.error("calibration: version %s was activated and is not in %s", last, registry.folder)
    return base


def activate(
    settings: Settings, wanted: Path | str, from_time: int, author: str, reason: str
) -> tuple[str, Activation | None]:
    """Store a calibration and let it hold from an event time on, µs; without message if it is in force already.

    Args:
        settings: all of them.
        wanted: a file, or a version that is stored; ``uncalibrated``: none is to hold any more.
        from_time: event time, µs.
        author: who says so.
        reason: why.

    Raises:
        UsageError: there is no registry, the calibration is damaged, of another schema or of another model than the one
            in force, or Kafka cannot be reached.
    """
    registry = _registry(settings)
    with reaching(settings):
        create(settings.kafka)
        told, _ = history(settings)
        version = _checked(settings, registry, wanted, _in_force(settings, told))
        messages = messages_of(told, "calibration")
        known = [each.from_time for each in messages if each.artifact == version]
        now = last_of(messages) or configured_in(registry) or UNCALIBRATED
        if version == now and min(known, default=from_time) <= from_time:
            return version, None
        message = message_of("calibration", version, from_time, author, reason)
        refused = decode(message.encode())
        if isinstance(refused, Refusal):
            raise UsageError(refused.detail)
        write(settings.kafka, message)
    return version, message


def listing(settings: Settings) -> list[dict[str, Any]]:
    """Return the calibrations that are stored, and when each was activated; that in force last is marked.

    Raises:
        UsageError: there is no registry, or Kafka cannot be reached.
    """
    registry = _registry(settings)
    with reaching(settings):
        told, _ = history(settings)
    messages = messages_of(told, "calibration")
    last = last_of(messages) or configured_in(registry) or UNCALIBRATED
    rows = []
    for version in [*registry.versions(), UNCALIBRATED]:
        row: dict[str, Any] = {"version": version, "last_activated": version == last}
        row["activated"] = [
            {"from": iso(each.from_time), "author": each.author, "reason": each.reason, "id": each.id}
            for each in messages
            if each.artifact == version
        ]
        if version != UNCALIBRATED:
            try:
                row.update(_said(registry.get(version)))
            except CalibrationError as error:
                row["damaged"] = str(error)
        rows.append(row)
    return rows


def _said(found: Calibration) -> dict[str, Any]:
    return {
        "model": found.model,
        "max_miss_rate": found.max_miss_rate,
        "confidence": found.confidence,
        "benign_below": {source: fitted.benign_below for source, fitted in sorted(found.sources.items())},
    }


def _registry(settings: Settings) -> CalibrationRegistry:
    if settings.calibration_registry is None:
        raise UsageError("set recovery.folder or router.registry: workers need a folder to get the calibration from")
    return CalibrationRegistry(settings.calibration_registry)


def configured_in(registry: CalibrationRegistry) -> str:
    """Return which version the registry holds as that of the settings, empty if none."""
    return configured(registry.folder)


def _there(version: str, registry: CalibrationRegistry) -> bool:
    return version == UNCALIBRATED or version in registry


def _in_force(settings: Settings, told: Sequence[Told]) -> str:
    """Return the model that was activated last, else that of the settings."""
    return last_of(messages_of(told, "model")) or version_of(settings.bert)


def _stored(settings: Settings, registry: CalibrationRegistry, model: str, before: str) -> str:
    """Store the calibration of the settings; return the version to begin with."""
    if settings.router.calibration is None:
        return UNCALIBRATED
    try:
        return registry.put(
            load(settings.router.calibration, model, settings.bert.windows, settings.bert.screen)
        ).version
    except (CalibrationError, OSError) as error:
        if before:
            log.error("setting router.calibration: %s; %s stays in force", error, before)
            return before
        raise UsageError(f"setting router.calibration: {error}") from error


def _checked(settings: Settings, registry: CalibrationRegistry, wanted: Path | str, model: str) -> str:
    """Return the version of what is to come into force, which is then stored. Raises UsageError."""
    if wanted == UNCALIBRATED:
        return UNCALIBRATED
    bert = settings.bert
    try:
        if isinstance(wanted, str):
            return suits(registry.get(wanted), model, bert.windows, bert.screen).version
        return registry.put(load(wanted, model, bert.windows, bert.screen)).version
    except (CalibrationError, OSError) as error:
        raise UsageError(f"{error}; nothing is activated") from error
