"""Run the detect flow against configured services: the checks before, the workers, the end."""

from __future__ import annotations

import logging
import signal
import threading
from datetime import timedelta
from pathlib import Path

from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main
from confluent_kafka import KafkaException
from prometheus_client import start_http_server

from flows.cluster import run_workers, worker_settings
from flows.detect import build, load_metrics, load_rules
from flows.settings import Settings
from flows.usage import UsageError
from operators.control import ControlSource
from operators.kafka import KafkaSource, ensure_topics, list_partitions, stopping
from operators.sinks.kafka import KafkaSink
from operators.sinks.postgres import PostgresSink
from state.revisions import pending

log = logging.getLogger(__name__)

#: Recovery partitions. Fixed, so that the number of workers may change.
RECOVERY_PARTITIONS = 64


def run(settings: Settings, workers: int = 1) -> None:
    """Run the detect flow, once prepared, until SIGTERM or Ctrl-C; then drain what was read and return.

    Raises:
        RuntimeError: a worker died.
    """
    if workers == 1:
        work(settings)
    else:
        run_workers(["flows.live"], workers, settings)


def prepare(settings: Settings) -> None:
    """See to it that topics, schema and recovery store are there.

    Raises:
        UsageError: Kafka is not configured or cannot be reached, or the database is not migrated.
        DatabaseError: the database is not configured or cannot be reached.
    """
    try:
        for topic in ensure_topics(settings.kafka):
            log.warning("topic %s did not exist; it was created", topic)
    except ValueError as error:
        raise UsageError(str(error)) from error
    except KafkaException as error:
        raise UsageError(f"Kafka at {settings.kafka.bootstrap_servers}: {error.args[0].str()}") from error
    missing = pending(settings.postgres.required_dsn())
    if missing:
        raise UsageError("the database is not migrated: run winnow migrate")
    if recovery_store(settings) is None:
        log.warning("recovery.folder is not set: a restart forgets all state and reads Kafka from its start again")


def recovery_store(settings: Settings) -> Path | None:
    """Return the recovery folder, made if it is missing; state in it is pickled, so only its owner may read it."""
    folder = settings.recovery.folder
    if folder is not None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        if not any(folder.glob("part-*.sqlite3")):
            init_db_dir(folder, RECOVERY_PARTITIONS)
    return folder


def work(settings: Settings, index: int = 0, addresses: list[str] | None = None) -> None:
    """Be one worker of the detect flow."""
    for number in (signal.SIGTERM, signal.SIGINT):
        if threading.current_thread() is threading.main_thread():
            signal.signal(number, lambda *_: stopping.set())
    if settings.metrics.port:
        start_http_server(settings.metrics.port + index, settings.metrics.address)
    source = KafkaSource(settings.kafka, settings.formats, settings.time, list_partitions(settings.kafka))
    sinks = [PostgresSink(settings.postgres), KafkaSink(settings.kafka)]
    flow = build(
        source, sinks, load_rules(settings), load_metrics(settings), settings, ControlSource.open(settings.kafka)
    )
    folder = settings.recovery.folder
    keep = timedelta(seconds=settings.recovery.keep_seconds)
    cli_main(
        flow,
        process_id=index if addresses else None,
        addresses=addresses or None,
        epoch_interval=timedelta(seconds=settings.recovery.interval_seconds),
        recovery_config=RecoveryConfig(folder, backup_interval=keep) if folder is not None else None,
    )


if __name__ == "__main__":
    index, addresses, settings = worker_settings()
    work(settings, index, addresses)
