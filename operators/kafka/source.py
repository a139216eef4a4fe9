"""Read telemetry from Kafka: every partition of its topics."""

from __future__ import annotations

from bytewax.inputs import FixedPartitionedSource

from operators.batch import Batch
from operators.clock import TimeSettings
from operators.formats import Decoder
from operators.formats.settings import FormatSettings
from operators.kafka.partition import KafkaPartition
from operators.kafka.settings import KafkaSettings, TopicSettings


class KafkaSource(FixedPartitionedSource[Batch, bytes]):
    """Every partition of the telemetry topics. Exactly once into state: positions are part of the recovery snapshot."""

    def __init__(self, settings: KafkaSettings, formats: FormatSettings, clock: TimeSettings, parts: list[str]) -> None:
        self._settings = settings
        self._formats = formats
        self._clock = clock
        self._parts = parts

    @property
    def origins(self) -> list[str]:
        """Return the partitions as the align step knows them."""
        return self._parts

    def list_parts(self) -> list[str]:
        """Return all partitions; Bytewax spreads them over the workers."""
        return self._parts

    def build_part(self, step_id: str, for_part: str, resume_state: bytes | None) -> KafkaPartition:
        """Begin, or go on, reading one partition."""
        topic = for_part.rpartition("-")[0]
        how = self._settings.topics.get(topic, TopicSettings())
        decoder = Decoder(for_part, self._formats, how.format, default_host=how.default_host or topic)
        return KafkaPartition(self._settings, self._clock, decoder, for_part, resume_state)
