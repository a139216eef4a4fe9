"""Generated traffic with attacks in it, by partition, each host in one; and a last message that closes all windows."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from confluent_kafka import Producer

from flows.traffic import Traffic
from flows.traffic.settings import TrafficSettings

START = 1_704_700_800_000_000  # Monday 2024-01-08 08:00 UTC
#: Later than all traffic by more than a silent host is remembered.
_AFTER = 3_600
_END = (
    b'{"_path":"conn","ts":%d,"uid":"Cend%d","id.orig_h":"10.99.0.%d","id.orig_p":1,"id.resp_h":"192.0.2.1",'
    b'"id.resp_p":443,"proto":"tcp","orig_bytes":1,"resp_bytes":1,"conn_state":"SF"}'
)


class Sent(NamedTuple):
    """A message, when it is sent (event time, µs), and the host that it is keyed by."""

    time: int
    host: str
    value: bytes


def partition_of(host: str, partitions: int) -> int:
    """Return the partition that a host's messages go to."""
    return zlib.crc32(host.encode()) % partitions


@dataclass
class Load:
    """Messages with key and partition, in the order in which they are sent."""

    messages: list[tuple[int, str, bytes]]
    aliases: dict[str, str]
    partitions: int
    #: Messages that a broker did not take and that were sent again.
    refused: int = 0

    @classmethod
    def make(
        cls,
        seed: int,
        messages: int,
        partitions: int,
        attacks_per_hour: float = 250.0,
        rate: float = 10.0,
        more: Callable[[int, int], Iterable[Sent]] = lambda first, last: (),
    ) -> Load:
        """Return the first ``messages`` of seeded traffic of 40 hosts, and among them what ``more`` has to send.

        ``more`` is given the first and the last time of the traffic, µs.
        """
        traffic = Traffic(seed, START, TrafficSettings(hosts=40, rate=rate, attacks_per_hour=attacks_per_hour))
        sent: list[Sent] = []
        for message in traffic.messages(START + 24 * 3_600_000_000):
            if len(sent) == messages:
                break
            sent.append(Sent(message.time, message.host, message.value))
        last = sent[-1].time
        sent = sorted([*sent, *more(START, last)], key=attrgetter("time"))
        found = [(partition_of(message.host, partitions), message.host, message.value) for message in sent]
        end = last // 1_000_000 + _AFTER
        found += [(number, "end", _END % (end, number, number + 1)) for number in range(partitions)]
        return cls(found, dict(traffic.fleet.aliases), partitions)

    @property
    def total(self) -> int:
        """Return how many messages there are."""
        return len(self.messages)

    def settings(self, topic: str) -> dict[str, str]:
        """Return what a run needs to know: whose addresses these are, and who is meant by logs that name no host."""
        return {
            "WINNOW_FORMATS__HOST_ALIASES": json.dumps(self.aliases),
            "WINNOW_KAFKA__TOPICS": json.dumps({topic: {"host_from_key": True}}),
            "WINNOW_TIME__SILENT_WINDOWS": "10",
            "WINNOW_ALERTS__GROUP_MINUTES": "1",
        }

    def send(
        self,
        bootstrap: str,
        topic: str,
        first: int = 0,
        end: int | None = None,
        rate: float = 0.0,
        stop: Callable[[], bool] = lambda: False,
        idempotent: bool = True,
    ) -> None:
        """Send messages ``first`` up to ``end`` at ``rate`` a second (0: no pause); on stop the rest at once.

        What the broker refuses is sent again in the end: all is confirmed when this returns.
        """
        producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": idempotent, "linger.ms": 5})
        refused: list[tuple[int, str, bytes]] = []

        def produce(message: tuple[int, str, bytes]) -> None:
            partition, key, value = message

            def delivered(error: object, _: object) -> None:
                if error is not None:
                    refused.append(message)

            while True:
                try:
                    producer.produce(topic, value, key=key, partition=partition, on_delivery=delivered)
                    return
                except BufferError:
                    producer.poll(0.1)

        began = time.monotonic()
        for number, message in enumerate(self.messages[first:end]):
            if rate and number % 50 == 0:
                while number > (time.monotonic() - began) * rate and not stop():
                    producer.poll(0.01)
            produce(message)
        assert producer.flush(60) == 0
        while refused:
            self.refused += len(refused)
            again, refused = refused, []
            for message in again:
                produce(message)
            assert producer.flush(60) == 0
