"""Telemetry from Kafka: its settings, its topics, the source and its partitions."""

from operators.kafka.partition import KafkaPartition, offset_of, stopping
from operators.kafka.settings import KafkaSettings, TopicSettings
from operators.kafka.source import KafkaSource
from operators.kafka.topics import ensure_topics, list_partitions, new_topic

__all__ = [
    "KafkaPartition",
    "KafkaSettings",
    "KafkaSource",
    "TopicSettings",
    "ensure_topics",
    "list_partitions",
    "new_topic",
    "offset_of",
    "stopping",
]
