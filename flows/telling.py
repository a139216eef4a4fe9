"""What the commands that write to the control topic share."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from flows.settings import Settings
from flows.usage import UsageError

#: How far ahead ``now`` is, µs: by then every worker has heard of the change, and none has judged what it holds for.
AHEAD = 2_000_000


@contextmanager
def reaching(settings: Settings) -> Iterator[None]:
    """Say in one line why Kafka cannot be reached, or the control topic not be used. Raises UsageError."""
    from confluent_kafka import KafkaException

    try:
        yield
    except (ValueError, TimeoutError) as error:
        raise UsageError(str(error)) from error
    except KafkaException as error:
        raise UsageError(f"Kafka at {settings.kafka.bootstrap_servers}: {error.args[0].str()}") from error


def since(text: str, now: int) -> int:
    """Return the event time, µs, that ``--from`` names. Raises UsageError."""
    if text == "now":
        return now + AHEAD
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--from {text}: not an ISO time, such as 2026-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        raise UsageError(f"--from {text}: say the zone too, such as {text}Z")
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def user() -> str:
    """Return the user of this machine, as whom a change is written. Raises UsageError."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise UsageError("this machine's user has no name: give --author") from None
