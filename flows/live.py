"""Run the detect flow against configured services: the checks before, the workers, the end."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from datetime import timedelta
from functools import partial

from bytewax.recovery import RecoveryConfig
from bytewax.run import cli_main
from confluent_kafka import KafkaException

from analyzers.bert.judge import TextJudge
from analyzers.bert.registry import ModelRegistry
from analyzers.router.calibration import suits
from analyzers.router.registry import CalibrationRegistry
from analyzers.router.router import UNCALIBRATED, Router
from analyzers.rules import RuleSet
from analyzers.rules.registry import Registry
from flows.beats import obey, report
from flows.cluster import Place, worker_place
from flows.detect import build, load_metrics, load_rules
from flows.health import serve
from flows.recovery import open_store
from flows.settings import Settings, SettingsError
from flows.texts import check_labels, load_texts, make_judge, shared_verdicts
from flows.usage import UsageError
from operators.calibrations import Calibrations
from operators.control import ControlSource
from operators.kafka import KafkaSource, ensure_topics, list_partitions, stopping
from operators.kafka.topics import PartitionWatch
from operators.models import Models
from operators.pace import open_board
from operators.sinks.kafka import KafkaSink
from operators.sinks.postgres import PostgresSink
from operators.verdicts import VerdictSource
from operators.versions import Versions
from state.control import Activation
from state.head import at_newest
from state.postgres import DatabaseError

log = logging.getLogger(__name__)


def prepare(settings: Settings) -> int | None:
    """See to it that topics, schema and recovery store are there; return the descriptor of the store's lock.

    Raises:
        UsageError: Kafka is not configured or cannot be reached, the database is not migrated, or the recovery store is
            in use or of other topics.
        DatabaseError: the database is not configured or cannot be reached.
    """
    try:
        for topic in ensure_topics(settings.kafka):
            log.warning("topic %s did not exist; it was created", topic)
    except ValueError as error:
        raise UsageError(str(error)) from error
    except KafkaException as error:
        raise UsageError(f"Kafka at {settings.kafka.bootstrap_servers}: {error.args[0].str()}") from error
    if not at_newest(settings.postgres.required_dsn()):
        from state.revisions import pending

        if pending(settings.postgres.required_dsn()):
            raise UsageError("the database is not migrated: run winnow migrate")
    try:
        lock = open_store(settings)
    except (ValueError, KafkaException) as error:
        raise UsageError(f"Kafka at {settings.kafka.bootstrap_servers}: {error}") from error
    if lock is None:
        log.warning("recovery.folder is not set: a restart forgets all state and reads Kafka from its start again")
    return lock


def work(settings: Settings, place: Place) -> None:
    """Be one worker of the detect flow."""
    index, addresses = place.index, place.addresses
    for number in (signal.SIGTERM, signal.SIGINT):
        if threading.current_thread() is threading.main_thread():
            signal.signal(number, lambda *_: stopping.set())
    if settings.metrics.port:
        port = settings.metrics.port + index
        try:
            serve(port, settings.metrics.address, partial(report, settings.supervisor))
        except OSError as error:
            # Who looks on must not decide whether there is anything to see.
            log.warning("metrics and health of worker %d cannot be served on port %d: %s", index, port, error.strerror)
    partitions = place.partitions or list_partitions(settings.kafka)
    if index == 0:
        PartitionWatch(settings.kafka, partitions, settings.supervisor.look_seconds).start()
    clocks = open_board(place.board, len(partitions)) if place.board else None
    control = ControlSource.open(settings.kafka)
    rules = hold_rules(settings, place, control)
    texts = hold_model(settings, place, control)
    calibrations = hold_calibration(settings, place, control, texts)
    folder = settings.recovery.folder
    source = KafkaSource(
        settings.kafka,
        settings.formats,
        settings.time,
        partitions,
        clocks,
        rules if isinstance(rules, Versions) else None,
        texts if isinstance(texts, Models) else None,
        calibrations,
        folder,
    )
    sinks = [PostgresSink(settings.postgres), KafkaSink(settings.kafka)]
    verdicts = VerdictSource.open(settings.kafka) if settings.llm.configured else None
    flow = build(source, sinks, rules, load_metrics(settings), settings, control, texts, verdicts, calibrations)
    keep = timedelta(seconds=settings.recovery.keep_seconds)
    cli_main(
        flow,
        process_id=index if addresses else None,
        addresses=addresses or None,
        epoch_interval=timedelta(seconds=settings.recovery.interval_seconds),
        recovery_config=RecoveryConfig(folder, backup_interval=keep) if folder is not None else None,
    )


def hold_rules(settings: Settings, place: Place, control: ControlSource) -> RuleSet | Versions:
    """Return the rules: versions that come and go, or, without a registry, those of the settings for good.

    Raises:
        UsageError: the version to begin with cannot be loaded.
    """
    if place.rules is None or settings.registry is None:
        return load_rules(settings)
    past = [message.id for message in place.rules.past(control.activations)]
    try:
        versions = Versions(Registry(settings.registry), place.rules.version, past)
    except (OSError, ValueError) as error:
        raise UsageError(f"rules of version {place.rules.version}: {error}") from error
    for told in control.activations:
        if isinstance(told.message, Activation):
            versions.hear(told.message)
    control.hearers.append(versions.hear)
    return versions


def hold_model(settings: Settings, place: Place, control: ControlSource) -> TextJudge | Models | None:
    """Return the text judge: versions that come and go, or, without a registry, that of the settings; None: no judge.

    Raises:
        UsageError: the version to begin with cannot be loaded.
    """
    folder = settings.model_registry
    if place.model is None or folder is None:
        return load_texts(settings)
    store, registry = shared_verdicts(settings), ModelRegistry(folder)

    def load(version: str) -> TextJudge:
        return make_judge(settings.bert, registry.get(version), store)

    past = [message.id for message in place.model.past(control.activations)]
    try:
        models = Models(load, place.model.version, past)
    except (OSError, ValueError) as error:
        raise UsageError(f"text model of version {place.model.version}: {error}") from error
    check_labels(settings.bert, models.of(models.base))
    for told in control.activations:
        if isinstance(told.message, Activation):
            models.hear(told.message)
    control.hearers.append(models.hear)
    return models


def hold_calibration(
    settings: Settings, place: Place, control: ControlSource, texts: TextJudge | Models | None
) -> Calibrations | None:
    """Return the calibrations that come and go; None, without registry or judge: that of the settings, for good.

    Raises:
        UsageError: the version to begin with cannot be loaded.
    """
    folder = settings.calibration_registry
    if place.calibration is None or folder is None or texts is None:
        return None
    registry, bert = CalibrationRegistry(folder), settings.bert

    def read(version: str) -> Router:
        found = None if version == UNCALIBRATED else suits(registry.get(version), None, bert.windows, bert.screen)
        return Router(settings.router, found, settings.llm.configured)

    def knows(model: str) -> bool:
        return texts.holds(model) if isinstance(texts, Models) else texts.version == model

    past = [message.id for message in place.calibration.past(control.activations)]
    try:
        calibrations = Calibrations(read, place.calibration.version, past, knows)
    except (OSError, ValueError) as error:
        raise UsageError(f"calibration of version {place.calibration.version}: {error}") from error
    for told in control.activations:
        if isinstance(told.message, Activation):
            calibrations.hear(told.message)
    control.hearers.append(calibrations.hear)
    return calibrations


def main() -> int:
    """Be the worker that the environment says; return the exit status, 2 if the set-up is wrong."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    place, settings = worker_place()
    obey(place)
    try:
        work(settings, place)
    except (UsageError, SettingsError, DatabaseError) as error:
        print(f"winnow: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
