"""Topics: made where they are missing, told from others of their name, watched for partitions that are added."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from operators import metrics
from operators.kafka.settings import KafkaSettings

log = logging.getLogger(__name__)

#: What brokers without topic ids answer: an id of nothing but zeros.
_NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"


def ensure_topics(settings: KafkaSettings, timeout: float = 10.0) -> list[str]:
    """Create the topics that are missing; return their names.

    Raises:
        KafkaException: the broker cannot be reached, or refuses.
    """
    admin = AdminClient(settings.config())
    known = admin.list_topics(timeout=timeout).topics
    wanted = (*settings.telemetry, settings.alerts, settings.deadletter, settings.control)
    wanted = (*wanted, settings.escalations, settings.verdicts)
    missing = [t for t in wanted if t not in known]
    if missing:
        for future in admin.create_topics([new_topic(t, settings) for t in missing]).values():
            try:
                future.result(timeout)
            except Exception as error:
                code = error.args[0].code() if error.args and isinstance(error.args[0], KafkaError) else None
                if code != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
    return missing


def new_topic(topic: str, settings: KafkaSettings) -> NewTopic:
    """Return what a topic is created as: the control topic keeps all its messages, in one order."""
    if topic == settings.control:
        return NewTopic(topic, 1, -1, config={"cleanup.policy": "compact"})
    return NewTopic(topic, settings.partitions, -1)


def list_partitions(settings: KafkaSettings, timeout: float = 10.0) -> list[str]:
    """Return ``topic-partition`` of every telemetry partition, sorted.

    Raises:
        ValueError: a topic does not exist.
    """
    topics = AdminClient(settings.config()).list_topics(timeout=timeout).topics
    names = []
    for topic in settings.telemetry:
        if topic not in topics or topics[topic].error is not None:
            raise ValueError(f"topic {topic} does not exist")
        names += [f"{topic}-{partition}" for partition in topics[topic].partitions]
    return sorted(names)


def count_partitions(settings: KafkaSettings, topic: str, timeout: float = 10.0) -> int:
    """Return how many partitions a topic has.

    Raises:
        ValueError: it does not exist.
        KafkaException: the broker cannot be reached.
    """
    # Not asked for by name: some brokers create a topic that is asked for.
    found = AdminClient(settings.config(log_level=0)).list_topics(timeout=timeout).topics.get(topic)
    if found is None or found.error is not None:
        raise ValueError(f"topic {topic} does not exist")
    return len(found.partitions)


class TopicIdentity(msgspec.Struct):
    """One topic."""

    #: The id that the broker gave it when it was made; empty if the broker has none.
    id: str
    partitions: list[int]


def identify(settings: KafkaSettings, timeout: float = 10.0) -> tuple[str, dict[str, TopicIdentity]]:
    """Return the cluster's id, empty if it has none, and the telemetry topics.

    Raises:
        KafkaException: the broker cannot be reached.
        ValueError: a topic does not exist.
    """
    admin = AdminClient(settings.config())
    known = admin.list_topics(timeout=timeout)
    found = {}
    for topic in settings.telemetry:
        if topic not in known.topics or known.topics[topic].error is not None:
            raise ValueError(f"topic {topic} does not exist")
        found[topic] = TopicIdentity("", sorted(known.topics[topic].partitions))
    for topic, future in admin.describe_topics(TopicCollection(list(found)), request_timeout=timeout).items():
        try:
            given = str(future.result(timeout).topic_id)
        except KafkaException as error:
            if error.args[0].code() not in (KafkaError.UNSUPPORTED_VERSION, KafkaError._UNSUPPORTED_FEATURE):
                raise
            continue
        found[topic].id = "" if given == _NO_ID else given
    return known.cluster_id or "", found


def beyond_end(settings: KafkaSettings, name: str, offset: int, timeout: float = 10.0) -> int | None:
    """Return the end of a partition if ``offset`` is beyond it, else None.

    Raises:
        KafkaException: the broker does not say.
    """
    topic, _, number = name.rpartition("-")
    if offset < 0:
        return None
    consumer = Consumer(
        settings.config(**{"group.id": f"{settings.group}-look", "enable.auto.commit": False})
        | {"enable.partition.eof": True, "auto.offset.reset": "error"}
    )
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, int(number)), timeout=timeout, cached=False)
        if offset <= high:
            return None
        # Some brokers (Tansu) name the start of the last batch only: read on from there to the end.
        consumer.assign([TopicPartition(topic, int(number), max(low, high - 1))])
        deadline = time.monotonic() + timeout
        while high < offset and time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is None:
                continue
            error, at = message.error(), message.offset()
            if error is None and at is not None:
                high = max(high, at + 1)
            elif error is not None and error.code() == KafkaError._PARTITION_EOF:
                high = max(high, at or 0)
                break
        return high if high < offset else None
    finally:
        consumer.close()


class PartitionWatch(threading.Thread):
    """Looks now and then for partitions that nobody reads: added since the start, they are taken in at the next."""

    def __init__(self, settings: KafkaSettings, read: Collection[str], every: float) -> None:
        super().__init__(name="partitions", daemon=True)
        self._settings = settings
        self._read = frozenset(read)
        self._every = every
        self._told: set[str] = set()
        metrics.PARTITIONS_UNREAD.set(0)

    def run(self) -> None:
        """Look for as long as the process lives."""
        while True:
            time.sleep(self._every)
            self.look()

    def look(self) -> None:
        """Look once."""
        try:
            unread = set(list_partitions(self._settings)) - self._read
        except (KafkaException, ValueError) as error:
            log.warning("source: the partitions of the telemetry topics cannot be looked up: %s", error)
            return
        metrics.PARTITIONS_UNREAD.set(len(unread))
        if unread - self._told:
            self._told |= unread
            log.warning("source: nobody reads %s, added since the start; restart to take them in", sorted(unread))
