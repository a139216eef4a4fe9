"""Kafka, Postgres and Valkey that Winnow starts itself, on loopback, and that are gone when it stops."""

from state.embedded.kafka import EmbeddedKafka
from state.embedded.postgres import EmbeddedPostgres
from state.embedded.server import EmbeddedError
from state.embedded.services import EmbeddedServices
from state.embedded.valkey import EmbeddedValkey

__all__ = ["EmbeddedError", "EmbeddedKafka", "EmbeddedPostgres", "EmbeddedServices", "EmbeddedValkey"]
