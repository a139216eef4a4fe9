"""What the commands that write to the control topic share."""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from flows.settings import Settings
from flows.usage import UsageError
from state.control import Control, Refusal, decode

#: How far ahead ``now`` is, µs: by then every worker has heard of the change, and none has judged what it holds for.
AHEAD = 2_000_000


def add_saying(parser: argparse.ArgumentParser, reason: str | None = None) -> None:
    """Add what a command says of its change: from which event time on, why, and who.

    Args:
        parser: the command's.
        reason: what is said where nothing is; without one the operator must say why.
    """
    parser.add_argument(
        "--from",
        dest="since",
        default="now",
        metavar="TIME",
        help="event time from which this holds: ISO time with zone, or now (default), which is two seconds ahead",
    )
    parser.add_argument("--reason", required=reason is None, default=reason, metavar="TEXT", help="why, in one line")
    parser.add_argument("--author", metavar="NAME", help="who (default: the user of this machine)")


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


def since(text: str, now: int, option: str = "--from") -> int:
    """Return the event time, µs, that an option names. Raises UsageError."""
    if text == "now":
        return now + AHEAD
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text}: not an ISO time, such as 2026-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        raise UsageError(f"{option} {text}: say the zone too, such as {text}Z")
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def checked(message: Control, said: Mapping[str, str]) -> None:
    """Refuse what the flow would refuse, by the option that gave it.

    Args:
        message: what is to be written.
        said: what each field may be, with its option; ``author``, ``reason`` and ``from_time`` are known.

    Raises:
        UsageError: the message is none.
    """
    found = decode(message.encode())
    if not isinstance(found, Refusal):
        return
    for field, may in {**_SAID, **said}.items():
        if f"$.{field}" in found.detail:
            raise UsageError(may)
    raise UsageError(found.detail)


_SAID = {
    "reason": "--reason: one line of 1 to 1,000 printable characters",
    "author": "--author: one line of 1 to 256 printable characters",
    "from_time": "--from: a time from 2000 to 2099",
}


def user() -> str:
    """Return the user of this machine, as whom a change is written. Raises UsageError."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise UsageError("this machine's user has no name: give --author") from None
