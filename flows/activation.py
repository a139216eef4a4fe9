"""Bring another version of the rules into force: compile, store in the registry, say so on the control topic."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

import analyzers.rules
from analyzers.control import Timeline, Told, read
from analyzers.rules.loading import rule_files
from analyzers.rules.registry import Registry
from flows.compile import Order, Outcome, compile_apart
from flows.settings import Settings
from flows.telling import reaching
from flows.usage import UsageError
from operators.control import create, exists, read_topic, write
from operators.held import Activated, What
from state.control import CONTROL_VERSION, EARLIEST, Activation, Refusal, decode, new_id

log = logging.getLogger(__name__)

#: The Sigma rules that Winnow ships.
BUILTIN_RULES = Path(analyzers.rules.__file__).with_name("builtin")
#: File in the registry that names the version of the settings' rules that was activated last.
CONFIGURED = "configured"


class Base(msgspec.Struct, frozen=True):
    """What a partition begins with of which nothing is known: a version, and which activations are past."""

    version: str
    #: Offset at which the control topic ended, and the wall clock, µs, when that was decided.
    end: int
    at: int
    what: What = "rules"

    def past(self, told: Iterable[Told]) -> list[Activation]:
        """Return the activations that the version comes of, or overtook."""
        return [
            each.message
            for each in told
            if isinstance(each.message, Activation)
            and each.message.what == self.what
            and each.offset < self.end
            and each.message.from_time <= self.at
        ]


class Done(msgspec.Struct):
    """What an activation came to."""

    outcome: Outcome
    #: None if the version is in force already, or nothing could be stored.
    message: Activation | None


def begin(settings: Settings) -> Base | None:
    """Compile the rules of the settings; return what fresh partitions begin with, None without a registry.

    If they changed since they were last activated, they are activated: ``winnow run`` was started with them.

    Raises:
        UsageError: they cannot be compiled or stored, or Kafka cannot be reached.
    """
    if settings.registry is None:
        return None
    with reaching(settings):
        create(settings.kafka)
        told, _ = history(settings)
        registry = Registry(settings.registry)
        before = _last(told)
        outcome = compile_apart(_order(settings, None, before or configured(registry.folder)))
        if not outcome.version and not (outcome.problems or before):
            raise UsageError(f"setting rules.paths: {outcome.error}")
        if not outcome.version:
            # A set that was in force is better than none.
            outcome.version = before or _stored_shipped(settings)
            log.error("rules: %s; version %s is in force", outcome.error, outcome.version)
        elif configured(registry.folder) not in ("", outcome.version) and before != outcome.version:
            write(settings.kafka, _message(outcome.version, EARLIEST, "winnow run", "the settings' rules changed"))
        _report(outcome)
        configure(registry.folder, outcome.version)
        told, end = history(settings)
    base = Base(outcome.version, end, time.time_ns() // 1000)
    last = last_of(base.past(told))
    if last and last in registry:
        return msgspec.structs.replace(base, version=last)
    if last:
        log.error("rules: version %s was activated and is not in %s", last, registry.folder)
    return base


def activate(settings: Settings, paths: Sequence[Path] | None, from_time: int, author: str, reason: str) -> Done:
    """Compile rules, those of the settings if ``paths`` is None, and let them hold from an event time on, µs.

    Raises:
        UsageError: there is no registry, or Kafka cannot be reached.
    """
    if settings.registry is None:
        raise UsageError("set recovery.folder or rules.registry: workers need a folder to get the rules from")
    registry = Registry(settings.registry)
    with reaching(settings):
        create(settings.kafka)
        told, _ = history(settings)
        now = _last(told) or configured(registry.folder)
        outcome = compile_apart(_order(settings, paths, now))
        if not outcome.version:
            return Done(outcome, None)
        if paths is None:
            configure(registry.folder, outcome.version)
        known = [each.from_time for each in _messages(told) if each.artifact == outcome.version]
        if outcome.version == now and min(known, default=from_time) <= from_time:
            return Done(outcome, None)
        message = _message(outcome.version, from_time, author, reason)
        refused = decode(message.encode())
        if isinstance(refused, Refusal):
            raise UsageError(refused.detail)
        write(settings.kafka, message)
    return Done(outcome, message)


class Watch(threading.Thread):
    """Looks at the settings' rule files, and activates them when they changed."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="rules", daemon=True)
        self._settings = settings
        self._seen = self._look()

    def run(self) -> None:
        """Look for as long as the process lives."""
        while True:
            time.sleep(self._settings.rules.watch_seconds)
            try:
                self.check()
            except Exception as error:  # what stands still here must not end who watches the workers
                log.error("rules: changed files could not be activated: %s", error)

    def check(self) -> Done | None:
        """Activate the rules if a file changed; return what came of it."""
        now = self._look()
        if now == self._seen:
            return None
        done = activate(
            self._settings, None, time.time_ns() // 1000, "winnow run", "rule files changed (rules.watch_seconds)"
        )
        self._seen = now
        _report(done.outcome)
        return done

    def _look(self) -> list[tuple[str, int, int]]:
        seen = []
        for path in rule_files([path for path in self._settings.rules.paths if path.exists()]):
            try:
                status = path.stat()
            except OSError:
                continue
            seen.append((str(path), status.st_mtime_ns, status.st_size))
        return seen


def _order(settings: Settings, paths: Sequence[Path] | None, before: str) -> Order:
    assert settings.registry is not None
    cache = settings.rules.cache_folder
    return Order(
        paths=[str(path) for path in (settings.rules.paths if paths is None else paths)],
        shipped=[str(BUILTIN_RULES)] if settings.rules.builtin else [],
        placeholders=settings.rules.placeholders,
        registry=str(settings.registry),
        cache=None if cache is None else str(cache),
        before=before,
    )


def _stored_shipped(settings: Settings) -> str:
    outcome = compile_apart(msgspec.structs.replace(_order(settings, None, ""), paths=[]))
    if not outcome.version:
        raise UsageError(f"rules: {outcome.error}")
    return outcome.version


def history(settings: Settings) -> tuple[list[Told], int]:
    """Return the activations that the control topic holds, and the offset at which it ends."""
    told: list[Told] = []
    timeline = Timeline()

    def take(offset: int, raw: bytes | None) -> None:
        item = read(raw, offset, timeline)
        if isinstance(item, Told) and isinstance(item.message, Activation):
            told.append(item)

    end = read_topic(settings.kafka, take) if exists(settings.kafka) else 0
    return told, end


def _last(told: Sequence[Told]) -> str:
    return last_of(_messages(told))


def _messages(told: Sequence[Told]) -> list[Activation]:
    return messages_of(told, "rules")


def messages_of(told: Sequence[Told], what: str) -> list[Activation]:
    """Return the activations of ``what``."""
    return [each.message for each in told if isinstance(each.message, Activation) and each.message.what == what]


def last_of(messages: Sequence[Activation]) -> str:
    """Return the version that came into force last, empty if there is none."""
    return max((Activated.of(each) for each in messages), key=lambda each: each.order).version if messages else ""


def _message(version: str, from_time: int, author: str, reason: str) -> Activation:
    return message_of("rules", version, from_time, author, reason)


def message_of(what: What, version: str, from_time: int, author: str, reason: str) -> Activation:
    """Return the message that a version comes into force."""
    return Activation(
        version=CONTROL_VERSION,
        id=new_id(),
        author=author,
        reason=reason,
        written_at=time.time_ns() // 1000,
        from_time=from_time,
        what=what,
        artifact=version,
    )


def configured(folder: Path) -> str:
    """Return which version a registry holds as that of the settings, empty if none."""
    try:
        return (folder / CONFIGURED).read_text().strip()
    except FileNotFoundError:
        return ""


def configure(folder: Path, version: str) -> None:
    """Write down in a registry which version is that of the settings."""
    draft = folder / f".{CONFIGURED}.new"
    draft.write_text(version + "\n")
    draft.replace(folder / CONFIGURED)


def _report(outcome: Outcome) -> None:
    if outcome.error:
        log.error("rules: %s", outcome.error)
    if outcome.kept:
        names = ", ".join(f"{title} ({id})" for id, title in list(outcome.kept.items())[:5])
        log.warning("rules: %d rules are broken and keep their former form: %s", len(outcome.kept), names)
