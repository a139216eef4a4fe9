"""Write alerts, evidence, incidents, host windows, hosts, the ledger and what was suppressed to Postgres, by idempotent
upsert."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable

from bytewax.outputs import StatelessSinkPartition

from analyzers.alerts import AlertUpdate
from operators import metrics
from operators.kafka import stopping
from operators.liveness import liveness
from operators.sinks import Out, Sink
from operators.sinks.waiting import Waiting
from state.alerts import MAX_EVIDENCE
from state.audits import Audited
from state.incidents import IncidentUpdate
from state.ledger import LedgerRow
from state.postgres import DatabaseAway, PostgresSettings
from state.store import Store
from state.suppressions import Suppressed
from state.windows import HostSeen, HostWindow

log = logging.getLogger(__name__)


class PostgresSink(Sink):
    """At least once, with the same content each time, so in effect exactly once. While the database is away the flow
    waits: nothing is dropped, and nothing piles up but what Kafka keeps."""

    name = "postgres"

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings

    def build(self, step_id: str, worker_index: int, worker_count: int) -> PostgresPartition:
        """Open this worker's connections."""
        return PostgresPartition(Store(self._settings, patience=5.0))


class PostgresPartition(StatelessSinkPartition[Out]):
    """One worker's writer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting = Waiting("postgres")
        self._random = random.Random()  # noqa: S311 - jitter, not a secret

    def write_batch(self, items: list[Out]) -> None:
        """Write a batch, table by table; return when all of it is stored."""
        updates = [item for item in items if isinstance(item, AlertUpdate)]
        alerts = [update.alert for update in updates]
        evidence = [copy for update in updates for copy in update.evidence]
        incidents = [item.incident for item in items if isinstance(item, IncidentUpdate)]
        windows = [item for item in items if isinstance(item, HostWindow)]
        hosts = [item for item in items if isinstance(item, HostSeen)]
        ledger = [item for item in items if isinstance(item, LedgerRow)]
        suppressed = [item for item in items if isinstance(item, Suppressed)]
        audits = [item for item in items if isinstance(item, Audited)]
        # Which copies were written on the way to the final ones depends on the order of arrival; what stays does not.
        full = [u.alert.id for u in updates if u.evidence and len(u.alert.evidence) >= MAX_EVIDENCE]
        with self._waiting.write():
            self._until_done(lambda: self._store.write_alerts(alerts))
            self._until_done(lambda: self._store.write_evidence(evidence))
            self._until_done(lambda: self._store.trim_evidence(full))
            self._until_done(lambda: self._store.write_suppressed(suppressed))
            self._until_done(lambda: self._store.write_incidents(incidents))
            self._until_done(lambda: self._store.write_host_windows(windows))
            self._until_done(lambda: self._store.write_hosts(hosts))
            self._until_done(lambda: self._store.write_ledger(ledger))
            self._until_done(lambda: self._store.write_audits(audits))

    def _until_done(self, write: Callable[[], None]) -> None:
        # What Postgres refuses outright would be refused again: that error ends the flow, with its reason.
        pause = 0.5
        while True:
            try:
                write()
                return liveness.resume("postgres")
            except DatabaseAway as error:
                if stopping.is_set():
                    raise  # told to end meanwhile: what is unwritten comes again from the recovery snapshot
                liveness.wait("postgres")
                metrics.SINK_RETRIES.labels(sink="postgres").inc()
                log.warning("sink postgres: %s; trying again in %.1f s, the flow waits", error, pause)
                time.sleep(pause * self._random.uniform(0.5, 1.5))
                pause = min(pause * 2, 10.0)

    def close(self) -> None:
        """Close the connections."""
        self._store.close()
