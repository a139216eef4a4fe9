"""Escalations: an event that an LLM is to be asked about, with what is known of it and of its host, bounded."""

from __future__ import annotations

import msgspec
import orjson

from analyzers.host import Host
from analyzers.router.candidate import Candidate, Context, Reading
from analyzers.router.router import Decision
from analyzers.router.settings import RouterSettings
from operators.formats import fields
from state.audits import Audited
from state.escalations import MAX_FIELDS, MAX_NAME, MAX_VALUE, Escalation, HostContext, Raised, escalation_id
from state.events import Event

#: Signals that go along, at most; longest reason and id of each, characters.
_RAISED, _TEXT, _SHORT = 16, 512, 256
#: Characters of all fields together: what JSON makes of them must fit a message, whatever they are.
MAX_TOTAL = 12_288


def escalation_of(candidate: Candidate, context: Context, decision: Decision, host: Host) -> Escalation:
    """Return the question that a decision raises."""
    event, reading = candidate.event, candidate.reading
    totals = host.seen()
    versions = {name: version for signal in candidate.signals for name, version in signal.versions}
    if reading is not None:
        versions["model"] = reading.model
        if reading.calibration:
            versions["calibration"] = reading.calibration
    return Escalation(
        id=escalation_id(event.id),
        event_id=event.id[:_SHORT],
        host=event.host[:_SHORT],
        time=max(0, event.time),
        source=event.kind.source[:_SHORT],
        format=event.format[:_SHORT],
        fields=bounded_fields(event),
        raised=tuple(
            Raised(
                kind=signal.kind,
                rule=signal.rule[:_SHORT],
                name=signal.name[:_SHORT],
                level=signal.level.name,  # type: ignore[arg-type]
                time=max(0, signal.time),
                reason=signal.reason[:_TEXT],
                techniques=signal.techniques[:32],
                event_id=signal.event_id[:_SHORT],
            )
            for signal in candidate.signals[:_RAISED]
        ),
        label="" if reading is None else reading.label,
        malicious=0.0 if reading is None else reading.malicious,
        context=HostContext(
            first_seen=max(0, totals.first_seen),
            events=totals.events,
            anomaly=context.anomaly,
            risk=context.risk,
            seen=context.seen,
            recent=host.memory.recent(),
        ),
        stakes=decision.stakes,
        reason=decision.reason[:_TEXT],
        versions=dict(list(versions.items())[:16]),
    )


def audited_of(
    candidate: Candidate, reading: Reading, said: str, settings: RouterSettings, windows: int, screen: bool
) -> Audited:
    """Return a text of the audit sample, with all that decided it."""
    return Audited(
        event_id=candidate.event.id,
        host=candidate.event.host,
        time=candidate.event.time,
        source=reading.source,
        text=reading.text,
        label=reading.label,
        malicious=reading.malicious,
        alerts_from=reading.alerts_from,
        model=reading.model,
        windows=windows,
        screen=screen,
        said=said,
        calibration=reading.calibration,
        one_in=settings.audit_one_in,
        seed=settings.audit_seed,
    )


def bounded_fields(event: Event) -> dict[str, str]:
    """Return the fields of an event as text: as many, and as much of each, as an escalation carries."""
    try:
        found = fields(event)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        # It could be decoded as an event, and all the rest is hostile.
        return {"event.original": event.raw[:MAX_VALUE].decode(errors="replace")}
    bounded: dict[str, str] = {}
    left = MAX_TOTAL
    for name, value in list(found.items())[:MAX_FIELDS]:
        text = _text(value)[: min(MAX_VALUE, left)]
        bounded[name[:MAX_NAME]] = text
        left -= len(name[:MAX_NAME]) + len(text)
        if left <= 0:
            break
    return bounded


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value, default=str).decode()
    except (TypeError, ValueError, RecursionError):
        return str(value)
