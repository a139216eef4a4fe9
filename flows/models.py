"""Bring another text model into force: check, store in the registry, say so on the control topic."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from analyzers.bert.manifest import BUILTIN_MODEL, Manifest, ModelError
from analyzers.bert.registry import ModelRegistry
from flows.activation import Base, configure, configured, history, last_of, message_of, messages_of
from flows.settings import Settings
from flows.telling import reaching
from flows.usage import UsageError
from operators.control import create, write
from state.control import EARLIEST, Activation, Refusal, decode

log = logging.getLogger(__name__)


def begin(settings: Settings) -> Base | None:
    """Store the model of the settings; return what fresh partitions begin with, None without registry or judge.

    If it changed since it was last activated, it is activated: ``winnow run`` was started with it. One that cannot be
    used is refused, and the one before stays in force, if there is one.

    Raises:
        UsageError: no model can be used, nothing can be stored, or Kafka cannot be reached.
    """
    if not settings.bert.enabled or settings.model_registry is None:
        return None
    registry = ModelRegistry(settings.model_registry)
    folder = settings.bert.model or BUILTIN_MODEL
    with reaching(settings):
        create(settings.kafka)
        told, _ = history(settings)
        known = [version for version in (last_of(messages_of(told, "model")), configured(registry.folder)) if version]
        before = next((version for version in known if version in registry), "")
        try:
            version = registry.put(folder).version
        except (ModelError, OSError) as error:
            if not before:
                raise UsageError(f"model {folder}: {error}") from error
            log.error("model %s is refused, version %s stays in force: %s", folder, before, error)
            version = before
        else:
            if configured(registry.folder) not in ("", version) and before != version:
                write(
                    settings.kafka,
                    message_of("model", version, EARLIEST, "winnow run", "the settings' model changed"),
                )
            configure(registry.folder, version)
        told, end = history(settings)
    base = Base(version, end, time.time_ns() // 1000, "model")
    last = last_of(base.past(told))
    if last and last in registry:
        return Base(last, base.end, base.at, "model")
    if last:
        log.error("model: version %s was activated and is not in %s", last, registry.folder)
    return base


def activate(
    settings: Settings, folder: Path, from_time: int, author: str, reason: str
) -> tuple[Manifest, Activation | None]:
    """Store a model and let it hold from an event time on, µs; without message if it is in force already.

    Raises:
        UsageError: there is no registry, the model is refused, or Kafka cannot be reached.
    """
    if settings.model_registry is None:
        raise UsageError("set recovery.folder or bert.registry: workers need a folder to get the model from")
    registry = ModelRegistry(settings.model_registry)
    try:
        manifest = registry.put(folder)
    except (ModelError, OSError) as error:
        raise UsageError(f"model {folder}: {error}; nothing is activated") from error
    with reaching(settings):
        create(settings.kafka)
        told, _ = history(settings)
        messages = messages_of(told, "model")
        known = [each.from_time for each in messages if each.artifact == manifest.version]
        now = last_of(messages) or configured(registry.folder)
        if manifest.version == now and min(known, default=from_time) <= from_time:
            return manifest, None
        message = message_of("model", manifest.version, from_time, author, reason)
        refused = decode(message.encode())
        if isinstance(refused, Refusal):
            raise UsageError(refused.detail)
        write(settings.kafka, message)
    return manifest, message
