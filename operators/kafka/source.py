"""Read telemetry from Kafka: every partition of its topics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bytewax.inputs import FixedPartitionedSource

from operators.batch import Batch
from operators.calibrations import Calibrations
from operators.clock import TimeSettings
from operators.formats import Decoder
from operators.formats.settings import FormatSettings
from operators.held import Held
from operators.kafka.partition import KafkaPartition
from operators.kafka.settings import KafkaSettings, TopicSettings
from operators.models import Models
from operators.pace import Pace
from operators.succession import Judges, Succession
from operators.versions import Versions

#: Folders of the recovery store in which partitions write down which version judged what.
FOLDERS = {"rules": "rules", "model": "models", "calibration": "calibrating"}


class KafkaSource(FixedPartitionedSource[Batch, bytes]):
    """Every partition of the telemetry topics. Exactly once into state: positions are part of the recovery snapshot.

    Args:
        settings: which Kafka, and which topics.
        formats: how messages are decoded.
        clock: how event time is kept.
        parts: names of all partitions.
        clocks: where all partitions are in event time, if workers share it; see ``operators.pace``.
        versions: the rules that may judge; None: there is one set.
        models: the text models that may judge; None: there is one, or none.
        calibrations: those by which texts may be settled; None: there is one, or none.
        store: recovery folder, in which each partition writes down which version judged what; None: nowhere.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        formats: FormatSettings,
        clock: TimeSettings,
        parts: list[str],
        clocks: memoryview | None = None,
        versions: Versions | None = None,
        models: Models | None = None,
        calibrations: Calibrations | None = None,
        store: Path | None = None,
    ) -> None:
        self._settings = settings
        self._formats = formats
        self._clock = clock
        self._parts = parts
        self._versions = versions
        self._models = models
        self._calibrations = calibrations
        self._store = store
        # A clock that is fast by less than future_seconds is believed; it must not make its partition wait.
        self._pace = Pace(parts, int((clock.ahead_seconds + clock.future_seconds) * 1e6), clocks)

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
        held = (self._versions, self._models, self._calibrations)
        judges = Judges(*(self._succession(each, for_part) for each in held))
        return KafkaPartition(
            self._settings, self._clock, decoder, for_part, resume_state, pace=self._pace, judges=judges
        )

    def _succession(self, versions: Held[Any] | None, part: str) -> Succession | None:
        if versions is None:
            return None
        return Succession(versions, part, None if self._store is None else self._store / FOLDERS[versions.what])
