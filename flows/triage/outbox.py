"""Verdicts from the database to Kafka: marked once the broker has them, so that a crash repeats and never loses."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaException, Producer

from operators.kafka import KafkaSettings
from state.postgres import DatabaseError
from state.triage import TriageQueue

log = logging.getLogger(__name__)

#: How often is looked for verdicts, and the pause after a failure, seconds.
EVERY, PAUSE = 0.2, 2.0
#: How long the broker may take, seconds.
PATIENCE = 20.0


class Outbox(threading.Thread):
    """Publishes verdicts until told to stop, and once more then. A reader drops repeats by their id."""

    def __init__(self, kafka: KafkaSettings, queue: TriageQueue, over: threading.Event) -> None:
        super().__init__(name="outbox", daemon=True)
        self._kafka, self._queue, self._over = kafka, queue, over
        self._producer: Producer | None = None

    def run(self) -> None:
        """Publish until told to stop."""
        while True:
            last = self._over.is_set()
            try:
                while self._queue.publish(self._send):
                    pass
                pause = EVERY
            except (DatabaseError, KafkaException) as error:
                log.warning("outbox: %s; trying again", _told(error))
                pause = PAUSE
            if last:
                return
            self._over.wait(pause)

    def _send(self, messages: Sequence[tuple[str, bytes]]) -> None:
        if self._producer is None:
            self._producer = Producer(
                self._kafka.config(**{"linger.ms": 5, "compression.type": "lz4", "message.timeout.ms": 15_000})
            )
        failed: list[Any] = []

        def delivered(error: Any, _message: Any) -> None:
            if error is not None:
                failed.append(error)

        for name, raw in messages:
            self._producer.produce(self._kafka.verdicts, raw, key=name.encode(), on_delivery=delivered)
        left = self._producer.flush(PATIENCE)
        if left or failed:
            # The rows stay unmarked; what the broker did take comes twice.
            self._producer.purge()
            self._producer = None
            raise KafkaException(failed[0] if failed else f"{left} verdicts were not taken in {PATIENCE:g} s")


def _told(error: Exception) -> str:
    first: Any = error.args[0] if error.args else error
    return str(first.str() if hasattr(first, "str") else first)
