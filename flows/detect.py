"""The detect flow: telemetry in; alerts, host windows, dead letters and the ledger out.

The graph is the diagram of ARCHITECTURE.md, step by step. A step id is stored data: renaming one loses its state.
``python -m bytewax.run flows.detect`` runs it against the configured services.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream

from analyzers.anomaly.barrier import Report, WindowClosed
from analyzers.anomaly.scorers.registry import make_scorer
from analyzers.bert.judge import TextJudge
from analyzers.bert.meanings import Bar
from analyzers.control import Timeline
from analyzers.correlations.hits import Hits
from analyzers.criticality import Criticality
from analyzers.incidents.sightings import Heard
from analyzers.ledger import LedgerDelta
from analyzers.metrics import MetricSet
from analyzers.router.times import LaneTimes
from analyzers.rules import RuleSet
from flows.activation import BUILTIN_RULES
from flows.control import listen
from flows.routing import load_router
from flows.settings import Settings, load_settings
from flows.texts import load_texts
from flows.usage import UsageError
from flows.verdicts import answer
from operators.alerts import AlertLogic
from operators.align import AlignLogic, Released
from operators.batch import Collected, Judged, ShardItem
from operators.bert import TextStep
from operators.calibrations import Calibrations
from operators.collect import SHARD_KEYS, Collector
from operators.control import ControlSource
from operators.correlations import CORRELATIONS, CorrelationLogic
from operators.drift import Drifting
from operators.files import FileSource
from operators.fleet import AlarmLogic, FleetLogic, FleetOut
from operators.host import Decided, HostIn, HostLogic, HostOut, host_of
from operators.incidents import KEY, IncidentLogic
from operators.kafka import KafkaSource, list_partitions
from operators.ledger import LedgerLogic
from operators.models import Models
from operators.roster import HostForgotten
from operators.rules import Judge, count
from operators.sinks import Out, Sink
from operators.sinks.kafka import KafkaSink
from operators.sinks.postgres import PostgresSink
from operators.verdicts import VerdictSource
from operators.versions import Versions
from state.alerts import FLEET, Signal
from state.audits import Audited
from state.escalations import Escalated
from state.events import Rejected
from state.incidents import IncidentUpdate
from state.windows import HostSeen, HostWindow


def build(
    source: KafkaSource | FileSource,
    sinks: Sequence[Sink],
    rules: RuleSet | Versions,
    host_metrics: MetricSet,
    settings: Settings,
    control: ControlSource | None = None,
    texts: TextJudge | Models | None = None,
    verdicts: VerdictSource | None = None,
    calibrations: Calibrations | None = None,
    times: LaneTimes | None = None,
) -> Dataflow:
    """Build the graph; a replay has no control topic, and its rules stay what they are.

    Without ``texts`` no text is judged; without ``verdicts`` no LLM is asked. Without ``calibrations`` texts are
    settled by that of the settings, for good. ``times`` is told what judging takes in this process.
    """
    for name in set(settings.anomaly.scorers.values()):
        make_scorer(name)  # brings River's in now; at the first closed window it would stall the stream for seconds
    asks = verdicts is not None
    router = load_router(settings.router, settings.bert, texts, asks) if calibrations is None else calibrations.first
    drifting = Drifting(router)
    flow = Dataflow("detect")
    batches = op.input("source", flow, source)
    judge = Judge(rules.of, rules.recent.append) if isinstance(rules, Versions) else Judge(lambda _: rules)
    judged = op.map("rules", batches, judge.judge)
    hits = op.filter_map("hits", judged, hits_of)
    if texts is not None:
        bar = Bar(settings.bert.alert_from, settings.bert.thresholds)
        routers = None if calibrations is None else calibrations.of
        step = (
            TextStep(texts.of, bar, router, texts.recent.append, drifting, routers)
            if isinstance(texts, Models)
            else TextStep(lambda _: texts, bar, router, drifting=drifting, routers=routers)
        )
        judged = op.map("bert", judged, step.read)
    flow_time = int(settings.time.flow_seconds * 1e6)
    timeline = control.timeline if control is not None else Timeline()
    collector = Collector(host_metrics, settings.alerts.lowest, flow_time, timeline)
    collected = op.map("collect", judged, collector.collect)
    counted = op.inspect("count", collected, partial(count, times=times))

    shards = op.flat_map("shards", counted, to_shards)
    to_align, refused = (shards, []) if control is None else listen(flow, control, shards)
    logic = partial(AlignLogic, source.origins, settings.time, settings.limits, timeline)
    released = op.stateful_batch("align", to_align, logic)
    items: Stream[tuple[str, HostIn]] = op.filter_map("by_host", released, by_host)
    if verdicts is not None:
        items, refused_verdicts = answer(flow, verdicts, items)
        refused = [*refused, refused_verdicts]
    hosts = op.stateful_batch(
        "host",
        items,
        partial(
            HostLogic,
            host_metrics,
            settings.anomaly,
            router,
            settings.alerts.lowest,
            drifting=drifting,
            windows=settings.bert.windows,
            screen=settings.bert.screen,
        ),
    )

    to_fleet = op.merge(
        "to_fleet", op.filter_map("closed", released, closed_of_fleet), op.filter_map("reports", hosts, report_of_fleet)
    )
    fleet = op.stateful_batch("fleet", to_fleet, partial(FleetLogic, host_metrics, settings.anomaly))
    unusual = op.merge("to_alarm", op.filter_map("unusual", fleet, unusual_by_host), op.filter_map("gone", hosts, gone))
    alarms = op.stateful_batch("alarm", unusual, partial(AlarmLogic, host_metrics, settings.anomaly))

    correlate = partial(CorrelationLogic, source.origins, settings.correlations, settings.alerts.lowest, timeline)
    correlated = op.stateful_batch("correlate", hits, correlate)

    heard = op.merge(
        "all_heard",
        op.filter_map("closed_windows", released, for_incidents),
        op.filter_map("heard", hosts, for_incidents),
        op.filter_map("fleet_closed", fleet, for_incidents),
        op.filter_map("alarms_heard", alarms, for_incidents),
        op.filter_map("correlations_heard", correlated, for_incidents),
    )
    group = settings.alerts.group_minutes * 60_000_000
    assets = Criticality(settings.assets.criticality)
    home = settings.formats.home_networks
    logic_of = partial(
        IncidentLogic, settings.incidents, group, timeline, assets=assets, notify=settings.notify, home=home
    )
    incidents = op.stateful_batch("incidents", heard, logic_of)

    signals = op.merge(
        "all_signals",
        op.flat_map("at_once", counted, at_once_by_entity),
        op.filter_map("signals", hosts, signal_by_entity),
        op.filter_map("fleet_signals", fleet, signal_by_entity),
        op.filter_map("alarm_signals", alarms, signal_by_entity),
        op.filter_map("others_alerts", incidents, signal_by_entity),
        op.filter_map("correlation_signals", correlated, signal_by_entity),
    )
    alerts = op.stateful_batch("alerts", signals, partial(AlertLogic, settings.alerts, timeline))

    read = op.flat_map("read", counted, read_by_origin)
    decided = op.filter_map("decided", hosts, decided_by_origin)
    ledger = op.stateful_batch("ledger", op.merge("route", read, decided), LedgerLogic)

    out: Stream[Any] = op.merge(
        "out",
        op.key_rm("alerts_out", alerts),
        op.filter_map("windows_out", hosts, only_windows),
        op.filter_map("incidents_out", incidents, only_incidents),
        op.key_rm("ledger_out", ledger),
        op.flat_map("dead_letters", counted, dead_letters),
        *refused,
    )
    for sink in sinks:
        op.output(sink.name, out, sink)
    return flow


def flow() -> Dataflow:
    """Build the graph over the configured services, for ``python -m bytewax.run flows.detect``."""
    settings = load_settings()
    source = KafkaSource(settings.kafka, settings.formats, settings.time, list_partitions(settings.kafka))
    sinks: list[Sink] = [PostgresSink(settings.postgres), KafkaSink(settings.kafka)]
    control = ControlSource.open(settings.kafka)
    verdicts = VerdictSource.open(settings.kafka) if settings.llm.configured else None
    rules, host_metrics, texts = load_rules(settings), load_metrics(settings), load_texts(settings)
    return build(source, sinks, rules, host_metrics, settings, control, texts, verdicts)


def load_rules(settings: Settings) -> RuleSet:
    """Load the rules in force: shipped ones, and those of the settings.

    Raises:
        UsageError: a path of the settings does not exist.
    """
    paths = ([BUILTIN_RULES] if settings.rules.builtin else []) + settings.rules.paths
    try:
        return RuleSet.load(paths, placeholders=settings.rules.placeholders, cache=settings.rules.cache_folder)
    except FileNotFoundError as error:
        raise UsageError(f"setting rules.paths: {error}") from error


def load_metrics(settings: Settings) -> MetricSet:
    """Load the host metrics in force.

    Raises:
        UsageError: the file of the settings cannot be read, or is no metric set, or a metric that the settings choose a
            scorer for is not in it.
    """
    try:
        found = MetricSet.load(settings.metrics.definitions) if settings.metrics.definitions else MetricSet.load()
    except (OSError, ValueError) as error:
        raise UsageError(f"setting metrics.definitions: {error}") from error
    if wrong := sorted(settings.anomaly.scorers.keys() - set(found.names)):
        raise UsageError(f"setting anomaly.scorers: no metric {wrong[0]!r}; known: {', '.join(found.names)}")
    return found


def to_shards(collected: Collected) -> Iterable[tuple[str, ShardItem]]:
    """Give every shard its item of the batch."""
    return zip(SHARD_KEYS, collected.shards, strict=True)


def by_host(released: tuple[str, Released]) -> tuple[str, HostIn] | None:
    """Key what a shard released by its host."""
    item = released[1]
    return None if isinstance(item, WindowClosed) else (host_of(item), item)


def closed_of_fleet(released: tuple[str, Released]) -> tuple[str, WindowClosed | Report] | None:
    """Keep which windows shards closed, for the one step that sees the fleet."""
    return (FLEET, released[1]) if isinstance(released[1], WindowClosed) else None


def report_of_fleet(out: tuple[str, HostOut]) -> tuple[str, WindowClosed | Report] | None:
    """Keep what hosts say of their windows, for the same step."""
    return (FLEET, out[1]) if isinstance(out[1], Report) else None


def unusual_by_host(out: tuple[str, FleetOut]) -> tuple[str, Report | HostForgotten] | None:
    """Key what no shift of the fleet explains by its host."""
    return (out[1].host, out[1]) if isinstance(out[1], Report) else None


def gone(out: tuple[str, HostOut]) -> tuple[str, Report | HostForgotten] | None:
    """Keep which hosts are forgotten, keyed by host."""
    return (out[1].host, out[1]) if isinstance(out[1], HostForgotten) else None


def for_incidents(out: tuple[str, object]) -> tuple[str, Heard | WindowClosed] | None:
    """Keep what is said for incidents, and up to when all of it has been said."""
    return (KEY, out[1]) if isinstance(out[1], Heard | WindowClosed) else None


def only_incidents(out: tuple[str, IncidentUpdate | Signal]) -> Out | None:
    """Keep the incidents that changed."""
    return out[1] if isinstance(out[1], IncidentUpdate) else None


def hits_of(judged: Judged) -> tuple[str, Hits] | None:
    """Take out what there is for correlations, for the one step that sees all of it."""
    return (CORRELATIONS, judged.hits) if judged.hits is not None else None


def at_once_by_entity(collected: Collected) -> Iterable[tuple[str, Signal | HostForgotten]]:
    """Key the signals that do not wait by their entity."""
    return [(signal.entity, signal) for signal in collected.at_once]


def signal_by_entity(out: tuple[str, object]) -> tuple[str, Signal | HostForgotten] | None:
    """Keep signals, keyed by their entity, and which hosts are forgotten."""
    if isinstance(out[1], HostForgotten):
        return out[1].host, out[1]
    return (out[1].entity, out[1]) if isinstance(out[1], Signal) else None


def read_by_origin(collected: Collected) -> Iterable[tuple[str, LedgerDelta]]:
    """Key what was read by its partition."""
    return [] if collected.ledger is None else [(collected.ledger.origin, collected.ledger)]


def decided_by_origin(out: tuple[str, HostOut]) -> tuple[str, LedgerDelta] | None:
    """Keep the lanes that the host step decided, keyed by the event's partition."""
    return (out[1].origin, out[1].delta()) if isinstance(out[1], Decided) else None


def only_windows(out: tuple[str, HostOut]) -> Out | None:
    """Keep what the host step says of windows and totals, and what it would ask an LLM."""
    return out[1] if isinstance(out[1], HostWindow | HostSeen | Escalated | Audited) else None


def dead_letters(collected: Collected) -> Iterable[Rejected]:
    """Take out the messages that are no event."""
    return collected.batch.rejected
