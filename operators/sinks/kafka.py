"""Write alerts, incidents and dead letters to Kafka, keyed by entity, by id and by origin."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Any

import orjson
from bytewax.outputs import StatelessSinkPartition
from confluent_kafka import KafkaException, Producer

from analyzers.alerts import AlertUpdate
from operators import metrics
from operators.kafka import KafkaSettings, stopping
from operators.liveness import liveness
from operators.sinks import Out, Sink
from operators.sinks.waiting import Waiting
from state.escalations import Escalated
from state.events import Rejected
from state.incidents import IncidentUpdate

log = logging.getLogger(__name__)

#: Longest part of a rejected message that a dead letter carries, bytes.
MAX_DEAD_LETTER = 65_536


class KafkaSink(Sink):
    """At least once: an alert is written when it appears, under an id that a reader can drop repeats by; an incident
    when it is to be told of, by the settings ``notify``; a rejected message with its reason; what an LLM is asked.
    While the broker is away the flow waits."""

    name = "kafka"

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings

    def build(self, step_id: str, worker_index: int, worker_count: int) -> KafkaSinkPartition:
        """Open this worker's producer."""
        return KafkaSinkPartition(self._settings)


class KafkaSinkPartition(StatelessSinkPartition[Out]):
    """One worker's producer."""

    def __init__(self, settings: KafkaSettings, producer: Callable[[dict[str, Any]], Any] = Producer) -> None:
        self._settings = settings
        self._open = producer
        self._producer = self._connect()
        self._broken = False
        self._failed: list[Any] = []
        liveness.begun = True
        self._waiting = Waiting("kafka")
        self._random = random.Random()  # noqa: S311 - jitter, not a secret

    def write_batch(self, items: list[Out]) -> None:
        """Write a batch; return when the broker has all of it."""
        messages = [message for item in items if (message := self._message(item)) is not None]
        if messages:
            with self._waiting.write():
                self._until_done(messages)
        now = time.time()
        for item in items:
            if isinstance(item, AlertUpdate) and item.is_new:
                metrics.ALERT_SECONDS.observe(max(0.0, now - item.alert.last_seen / 1e6))

    def _connect(self) -> Any:
        config = {
            "linger.ms": 5,
            "compression.type": "lz4",
            # None is given up; what has no answer for a minute is sent again, and a broker that was frozen then has it
            # twice. An idempotent producer would spare readers the repeats, which they drop; but it believes a broker
            # that says it has a message already, and Tansu, killed, says so of some that it lost.
            "message.timeout.ms": 0,
        }
        return self._open(self._settings.config(**config))

    def _until_done(self, waiting: list[dict[str, Any]]) -> None:
        pause = 0.5
        while waiting:
            self._failed = []
            for message in waiting:
                self._produce(message)
            while self._producer.flush(10.0):
                if stopping.is_set():
                    raise RuntimeError("the broker is away; what is unwritten comes again from the recovery snapshot")
                liveness.wait("kafka")
                log.warning("sink kafka: the broker is slow or away; the flow waits")
            waiting = self._failed
            if waiting:
                liveness.wait("kafka")
                metrics.SINK_RETRIES.labels(sink="kafka").inc()
                log.warning("sink kafka: %d messages were not taken; trying again", len(waiting))
                if stopping.is_set():
                    raise RuntimeError("the broker is away; what is unwritten comes again from the recovery snapshot")
                time.sleep(pause * self._random.uniform(0.5, 1.5))
                pause = min(pause * 2, 10.0)
                if self._broken:
                    self._broken, self._producer = False, self._connect()
        liveness.resume("kafka")

    def _message(self, item: Out) -> dict[str, Any] | None:
        if isinstance(item, AlertUpdate) and item.is_new:
            return {
                "topic": self._settings.alerts,
                "key": item.alert.entity.encode(),
                "value": orjson.dumps((item.opening or item.alert).message()),
            }
        if isinstance(item, IncidentUpdate) and item.reason:
            return {
                "topic": self._settings.alerts,
                "key": item.incident.id.encode(),
                "value": orjson.dumps(item.message()),
            }
        if isinstance(item, Escalated) and item.asked:
            return {
                "topic": self._settings.escalations,
                "key": item.escalation.host.encode(),
                "value": item.escalation.encode(),
            }
        if isinstance(item, Rejected):
            topic, _, partition = item.origin.rpartition("-")
            headers = {
                "reason": item.reason,
                "detail": item.detail,
                "format": item.format,
                "topic": topic,
                "partition": partition,
                "offset": str(item.offset),
                "size": str(len(item.raw)),
            }
            return {
                "topic": self._settings.deadletter,
                "key": item.origin.encode(),
                "value": item.raw[:MAX_DEAD_LETTER],
                "headers": {name: value.encode(errors="replace") for name, value in headers.items()},
            }
        return None

    def _produce(self, message: dict[str, Any]) -> None:
        def delivered(error: Any, _: Any) -> None:
            if error is not None:
                self._failed.append(message)

        while True:
            try:
                self._producer.produce(**message, on_delivery=delivered)
                self._producer.poll(0)
                return
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                log.warning("sink kafka: %s", error)
                # After a fatal error, such as a number that the broker did not expect, it takes no message any more.
                self._broken = self._broken or error.args[0].fatal()
                self._failed.append(message)
                return
