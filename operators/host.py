"""Host: windows, scores and lanes of one host, as a step keyed by host."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, cast

import msgspec
from bytewax.operators import StatefulBatchLogic

from analyzers.anomaly.barrier import Report
from analyzers.anomaly.settings import AnomalySettings
from analyzers.host import Host, HostEvents
from analyzers.incidents.sightings import Heard, Sighting
from analyzers.ledger import LedgerDelta
from analyzers.metrics import MetricSet
from analyzers.router.candidate import Candidate
from analyzers.router.router import SHED_LLM, Decision, Lane, Router, Said
from analyzers.router.verdicts import signal_of
from operators import metrics
from operators.align import HostItem
from operators.batch import HostLate
from operators.collect import AT_ONCE
from operators.drift import Drifting
from operators.escalate import audited_of, escalation_of
from operators.formats.told import indicators
from operators.roster import RESERVED, HostForgotten
from state.alerts import Level, Signal
from state.audits import Audited
from state.escalations import Escalated, LlmVerdict, escalation_id
from state.ledger import SPAN
from state.windows import HostSeen, HostWindow


class Decided(msgspec.Struct, frozen=True, gc=False):
    """An event's final lane, for the ledger of the partition that it came from."""

    origin: str
    bucket: int
    lane: Lane

    def delta(self) -> LedgerDelta:
        """Return what this adds to the ledger."""
        delta = LedgerDelta(self.origin, self.bucket)
        setattr(delta, self.lane, 1)
        return delta


#: What the host step emits.
HostOut = HostWindow | HostSeen | Signal | Decided | HostForgotten | Report | Heard | Escalated | Audited
#: What it takes in.
HostIn = HostItem | LlmVerdict


def host_of(item: HostIn) -> str:
    """Return the host that an item is about."""
    if isinstance(item, Candidate):
        return item.event.host
    return item.via if isinstance(item, HostForgotten) else item.host


def overflowing(window: HostEvents) -> list[Signal]:
    """Return what is to be said of a window in which a shard had more hosts than it keeps apart."""
    if not window.events:
        return []
    reason = (
        f"{window.events:,} events in a minute are of hosts beyond those kept apart (limits.hosts), and were counted "
        "together: no metric of such a host is judged; rules are"
    )
    return [
        Signal(
            kind="threshold",
            rule="hosts:overflow",
            name="More hosts than are kept apart",
            level=Level.medium,
            entity=window.host,
            time=window.start,
            reason=reason,
        )
    ]


class HostLogic(StatefulBatchLogic[HostIn, HostOut, bytes]):
    """Wrap a Host for ``op.stateful_batch``.

    Args:
        host_metrics: the metric set in force.
        settings: how windows are scored.
        router: chooses the lane of each candidate.
        lowest: rule matches below this level raise no signal; from ``high`` on they were alerted at once, by collect.
        state: a snapshot to go on from.
        drifting: told whether an LLM agrees with what was decided.
        windows: how many windows of a long text are read.
        screen: whether there is a screen before the text model.
    """

    def __init__(
        self,
        host_metrics: MetricSet,
        settings: AnomalySettings,
        router: Router,
        lowest: Level,
        state: bytes | None,
        drifting: Drifting | None = None,
        windows: int = 16,
        screen: bool = False,
    ) -> None:
        self._read_by = windows, screen
        self._drifting = drifting
        self._host = Host.restore(host_metrics, settings, state) if state is not None else None
        self._new = partial(Host, metrics=host_metrics, settings=settings)
        self._router = router
        self._lowest = lowest

    def on_batch(self, values: list[HostIn]) -> tuple[Iterable[HostOut], bool]:
        """Take in windows and candidates in canonical order, and verdicts whenever they come."""
        host = self._host
        out: list[HostOut] = []
        seen = False
        for value in values:
            if isinstance(value, HostForgotten):
                out.append(value)
                if value.host == value.via:
                    out.append(Heard(value.host, value.before, left=-1 if host is None else host.watch.since))
                    host, seen = None, False
                continue
            if isinstance(value, LlmVerdict):
                out += self._answered(host, value)
                continue
            if host is None:
                host = self._new(host_of(value))
            if isinstance(value, HostEvents):
                rows, signals = host.close_window(value)
                out += rows
                # What many hosts did together says nothing about one.
                if host.name.startswith(RESERVED):
                    said = overflowing(value)
                    out.append(Report(host.name, value.start))
                else:
                    said = signals
                    out.append(host.report or Report(host.name, value.start))
                out += said
                sightings = host.watch.signals(said, value.start)
                # What was told since the last window has its place in this one: the past is not re-ordered.
                sightings += host.watch.signals(host.memory.take_late(), value.start)
                if value.alerts:
                    sightings += host.watch.window(value.start, value.alerts)
                out.append(_heard(host, value.start, sightings))
                seen = seen or value.events > 0
            elif isinstance(value, HostLate):
                host.add_late(value.events, value.first, value.last)
                seen = True
            else:
                out += self._decide(host, value)
        if seen and host is not None:
            out.append(host.seen())
        self._host = host
        return out, StatefulBatchLogic.DISCARD if host is None else StatefulBatchLogic.RETAIN

    def _decide(self, host: Host, candidate: Candidate) -> list[HostOut]:
        """Return an event's lane, what is asked and alerted about it, and what incidents hear of it."""
        event = candidate.event
        # What is suppressed is as if it had not been said; an event of which all is suppressed is not asked about.
        wanted = tuple(signal for signal in candidate.signals if not signal.suppressed)
        muted = bool(candidate.signals) and not wanted
        quiet = candidate
        if len(wanted) < len(candidate.signals):
            quiet = msgspec.structs.replace(candidate, signals=wanted)
        context = host.memory.context(quiet, host.anomaly)
        decision = self._router.decide(quiet, context, max(candidate.shed, SHED_LLM) if muted else candidate.shed)
        metrics.DECIDED.labels(lane=decision.lane).inc()
        out: list[HostOut] = [Decided(event.origin, event.offset // SPAN, decision.lane)]
        audited = decision.audit and not muted
        asked = decision.lane == "llm" or (audited and decision.lane == "bert" and self._router.asks)
        if asked or (decision.wanted and not muted):
            metrics.ESCALATIONS.labels(asked="yes" if asked else "no").inc()
            out.append(Escalated(escalation_of(quiet, context, decision, host), asked))
        if asked:
            host.memory.ask(escalation_id(event.id), event.raw, decision.said if decision.audit else "")
        elif audited and decision.lane == "rule" and decision.said and self._drifting is not None:
            self._drifting.audited(decision.said, decision.said != "benign")
        if quiet.reading is not None and not muted and decision.lane != "rule" and self._router.audits(event.id):
            out.append(audited_of(quiet, quiet.reading, decision.said, self._router.settings, *self._read_by))
        host.memory.meet(quiet)
        lowest = self._lowest if candidate.lowest is None else candidate.lowest
        told = [_marked(signal, decision) for signal in candidate.signals if signal.level >= lowest]
        named = indicators(event) if told else ()
        out.append(_heard(host, candidate.window, host.watch.signals(told, candidate.time, event, named)))
        out += (msgspec.structs.replace(signal, raw=event.raw) for signal in told if signal.level < AT_ONCE)
        return out

    def _answered(self, host: Host | None, verdict: LlmVerdict) -> list[Signal]:
        """Return what a verdict says; of one that was taken in before, nothing."""
        signal = signal_of(verdict)
        if host is None:  # forgotten since, or its events are counted with others'
            return [] if signal is None else [signal]
        awaited = host.memory.answer(verdict.id)
        if awaited is None:
            return []
        copy, said = awaited
        metrics.LLM_VERDICTS.labels(verdict=verdict.verdict or verdict.status).inc()
        if said and verdict.status == "answered" and self._drifting is not None:
            self._drifting.audited(cast("Said", said), (said == "benign") == (verdict.verdict == "benign"))
        if signal is None:
            return []
        host.memory.tell_late(signal)
        return [msgspec.structs.replace(signal, raw=copy)]

    def snapshot(self) -> Any:
        """Return the host's state."""
        return self._host.snapshot() if self._host is not None else None


def _marked(signal: Signal, decision: Decision) -> Signal:
    """Return what the text judge says, with a mark if it would be left to an LLM, or is until that one answers."""
    if signal.kind != "text" or not (decision.wanted or decision.lane == "llm"):
        return signal
    mark = "llm: asked" if decision.lane == "llm" else decision.reason.rpartition("; ")[2]
    return msgspec.structs.replace(signal, reason=f"{signal.reason} ({mark})")


def _heard(host: Host, window: int, sightings: list[Sighting]) -> Heard:
    born, host.watch.born = host.watch.born, -1
    return Heard(host.name, window, tuple(sightings), born)
