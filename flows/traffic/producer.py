"""Sends traffic to Kafka at a chosen pace."""

from __future__ import annotations

import sys
import time as clock
from collections.abc import Mapping
from threading import Event

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as Delivery

from flows.traffic.clock import SECOND
from flows.traffic.message import Message
from flows.traffic.schedule import Traffic

#: Longest wait at once, so that stopping takes effect soon.
_NAP = 0.1
#: How long the messages still under way may take at the end, seconds.
_FLUSH = 30.0
_DEFAULTS = {"linger.ms": 20, "queue.buffering.max.messages": 200_000, "queue.buffering.max.kbytes": 131_072}


class Produced(msgspec.Struct):
    """What became of the traffic."""

    #: Messages handed to the client.
    produced: int = 0
    #: Messages that the broker refused or that timed out, with the first reason.
    failed: int = 0
    first_error: str = ""
    #: Messages without any answer when time was up; they may or may not have arrived.
    unanswered: int = 0
    #: Value bytes handed over.
    size: int = 0
    #: Messages of attacks.
    attacks: dict[str, int] = {}
    #: Times that the client's queue was full and producing had to wait.
    waits: int = 0
    seconds: float = 0.0
    #: Event time of the last message, µs; 0 if there was none.
    last: int = 0

    @property
    def delivered(self) -> int:
        """Return how many messages the broker acknowledged."""
        return self.produced - self.failed - self.unanswered


def produce(
    traffic: Traffic,
    config: Mapping[str, object],
    topic: str,
    *,
    speed: float = 1.0,
    rate: float = 0.0,
    until: int | None = None,
    stop: Event | None = None,
    never_ahead: bool = False,
) -> Produced:
    """Send messages before ``until`` (µs, None for no end) to ``topic``: key host, timestamp event time.

    The truth travels in the headers ``truth`` and ``attack``, which a detector does not read. ``speed`` is event time
    over wall time: 1 is real time, 0 as fast as it goes. ``rate`` instead paces by messages a second of wall time.
    ``never_ahead`` holds every message back until the wall clock has reached its time: with ``speed=0`` and a start
    in the past the past is caught up with at once, and then it goes on live. ``config`` is librdkafka's; at least
    ``bootstrap.servers``. A full queue waits; a refused message is counted with the first reason; ``stop`` ends it
    within a tenth of a second and a flush. Raises KafkaException where ``config`` is refused.
    """
    result = Produced()
    stop = stop or Event()

    def report(error: KafkaError | None, _: Delivery) -> None:
        if error is not None:
            result.failed += 1
            result.first_error = result.first_error or error.str()

    producer = Producer({**_DEFAULTS, **config, "on_delivery": report, "delivery.report.only.error": True})
    began = clock.monotonic()
    pace = _Pace(began, traffic.start, speed, rate, never_ahead)
    messages = traffic.messages(sys.maxsize if until is None else until)
    for message in messages:
        if not pace.wait(message.time, producer, stop) or not _send(producer, topic, message, result, stop):
            break
        if not result.produced % 256:
            producer.poll(0)
            if stop.is_set():
                break
    result.unanswered = producer.flush(_FLUSH)
    result.seconds = clock.monotonic() - began
    return result


class _Pace:
    """Says when the next message is due."""

    def __init__(self, began: float, start: int, speed: float, rate: float, never_ahead: bool) -> None:
        self._began = began
        self._start = start
        self._scale = 0.0 if rate or not speed else 1 / (speed * SECOND)
        self._gap = 1 / rate if rate else 0.0
        self._count = 0
        self._skew = began - clock.time() if never_ahead else None
        self._now = began

    def wait(self, time: int, producer: Producer, stop: Event) -> bool:
        """Wait until the message of that event time is due, serving the client meanwhile; False if stopped."""
        due = self._began + (time - self._start) * self._scale + self._count * self._gap
        self._count += 1
        if self._skew is not None:
            due = max(due, time / SECOND + self._skew)
        while due > self._now:
            self._now = clock.monotonic()
            if due <= self._now:
                break
            producer.poll(0)
            if stop.wait(min(_NAP, due - self._now)):
                return False
        return True


def _send(producer: Producer, topic: str, message: Message, result: Produced, stop: Event) -> bool:
    """Hand one message over; False if stopped while the queue was full."""
    while True:
        try:
            producer.produce(
                topic,
                value=message.value,
                key=message.host,
                timestamp=message.time // 1_000,
                headers=[("truth", message.truth), ("attack", message.attack_id)],
            )
        except BufferError:
            result.waits += 1
            producer.poll(_NAP)
            if stop.is_set():
                return False
            continue
        except KafkaException as error:
            result.failed += 1
            result.first_error = result.first_error or str(error)
        result.produced += 1
        result.size += len(message.value)
        result.last = message.time
        if message.attack_id:
            result.attacks[message.attack_id] = result.attacks.get(message.attack_id, 0) + 1
        return True
