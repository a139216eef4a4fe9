"""Which Kafka, and how its topics are read."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr

#: Messages of one batch, at most. 1,000 to 2,000 was measured best.
BATCH = 2_000


class TopicSettings(BaseModel):
    """How one telemetry topic is read."""

    model_config = ConfigDict(extra="forbid")

    format: str = Field(default="auto", description="Name of a format, or auto to sniff each message.")
    default_host: str = Field(default="", description="Host of messages that name none; default: the topic's name.")
    host_from_key: bool = Field(default=False, description="Whether a message that names no host is of its key's host.")


class KafkaSettings(BaseModel):
    """Which Kafka, and which topics."""

    model_config = ConfigDict(extra="forbid")

    bootstrap_servers: str | None = Field(
        default=None, description="host:port, or several with commas; unset: no Kafka."
    )
    options: dict[str, SecretStr] = Field(
        default={}, description="Further librdkafka settings (security.protocol, sasl.*, ssl.*)."
    )
    telemetry: list[str] = Field(
        default=["winnow.telemetry"], min_length=1, description="Topics that telemetry is read from."
    )
    topics: dict[str, TopicSettings] = Field(default={}, description="How a topic is read, by its name.")
    alerts: str = Field(default="winnow.alerts", description="Topic that alerts are written to.")
    deadletter: str = Field(default="winnow.deadletter", description="Topic that rejected messages are written to.")
    control: str = Field(
        default="winnow.control",
        description="Topic that live settings, suppressions, verdicts and activations are read from; one partition.",
    )
    escalations: str = Field(
        default="winnow.escalations", description="Topic of the events that an LLM is asked about."
    )
    verdicts: str = Field(default="winnow.verdicts", description="Topic of what the LLM lane says of them.")
    group: str = Field(
        default="winnow", description="Consumer group under which positions are committed, for lag tools."
    )
    start: str = Field(
        default="earliest", pattern="^(earliest|latest)$", description="Where a partition never read begins."
    )
    partitions: int = Field(default=4, ge=1, le=1000, description="Partitions of a topic that Winnow creates.")
    batch: int = Field(default=BATCH, ge=1, le=20_000, description="Messages of one batch, at most.")

    def config(self, **own: Any) -> dict[str, Any]:
        """Return a librdkafka configuration: ours, then what the operator set.

        Raises:
            ValueError: no Kafka is configured.
        """
        if not self.bootstrap_servers:
            raise ValueError("no Kafka is configured: set kafka.bootstrap_servers or WINNOW_KAFKA__BOOTSTRAP_SERVERS")
        options = {name: secret.get_secret_value() for name, secret in self.options.items()}
        return {
            "bootstrap.servers": self.bootstrap_servers,
            "client.id": "winnow",
            "log_level": 3,
            "allow.auto.create.topics": False,
            **own,
            **options,
        }
