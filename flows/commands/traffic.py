"""``winnow traffic``: made-up telemetry with labelled attacks, into files or Kafka."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from flows.traffic.clock import HOUR, SECOND
from flows.traffic.settings import TrafficSettings

if TYPE_CHECKING:
    from flows.traffic import Traffic

#: Where files begin unless told: a Monday at the start of office hours, so that the same command writes the same bytes.
_FILES_START = datetime(2024, 1, 8, 8, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "traffic",
        help="write or send made-up telemetry with labelled attacks in it",
        description="Telemetry of an imagined company in real formats, with labelled attacks mixed in. The same seed, "
        "start and settings give the same bytes. Ends with one JSON line on stdout.",
    )
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", type=Path, metavar="DIR", help="write files into DIR: one a format, and truth.jsonl")
    target.add_argument("--bootstrap-servers", metavar="HOST:PORT", help="send to Kafka")
    parser.add_argument("--topic", default="winnow.telemetry", help="Kafka topic (default: %(default)s)")
    parser.add_argument("--hours", type=float, metavar="H", help="event time to make (files: 1; Kafka: until stopped)")
    parser.add_argument("--seed", type=int, default=1, help="seed (default: %(default)s)")
    parser.add_argument(
        "--start",
        type=_moment,
        metavar="TIME",
        help="ISO 8601 start of event time, UTC unless it says otherwise (files: 2024-01-08T08:00Z; Kafka: now)",
    )
    parser.add_argument(
        "--speed", type=_not_negative, default=1.0, help="event time over wall time; 0: no pause (Kafka; default: 1)"
    )
    parser.add_argument("--hosts", type=int, help="hosts of the company (default: 12)")
    parser.add_argument("--rate", type=float, help="benign messages a second of event time (default: 24)")
    parser.add_argument("--attacks-per-hour", type=float, metavar="N", help="attacks an hour (default: 6)")
    parser.add_argument(
        "--attack", action="append", default=[], metavar="NAME@SECONDS", help="an attack at a set time; repeatable"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write or send the traffic. Return 0, or 1 if anything was not delivered, or 2 on bad usage."""
    # Here rather than above: `winnow --help` need not wait for the Kafka client.
    from flows.traffic import Traffic, write_files

    try:
        settings = _settings(args)
        if args.start is None:
            args.start = _FILES_START if args.out else datetime.now(UTC)
        traffic = Traffic(args.seed, _micros(args.start), settings)
        hours = args.hours if args.hours is not None else (1.0 if args.out else None)
        if hours is not None and not 0 < hours <= 24 * 366:
            raise ValueError("--hours must be above 0 and at most 8784")
    except ValueError as error:
        print(f"winnow traffic: {_one_line(error)}", file=sys.stderr)
        return 2
    until = None if hours is None else traffic.start + int(hours * HOUR)
    if not args.out:
        return _send(traffic, args, until)
    try:
        written = write_files(traffic, until or 0, args.out)
    except OSError as error:
        print(f"winnow traffic: {error}", file=sys.stderr)
        return 2
    report = {"messages": sum(written.lines.values()), "bytes": written.size, "files": written.lines}
    _print({**report, "attacks": written.attacks})
    return 0


def _send(traffic: Traffic, args: argparse.Namespace, until: int | None) -> int:
    from confluent_kafka import KafkaException

    from flows.traffic import produce

    stop = threading.Event()
    handlers = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        config = {"bootstrap.servers": args.bootstrap_servers}
        sent = produce(traffic, config, args.topic, speed=args.speed, until=until, stop=stop)
    except KafkaException as error:
        print(f"winnow traffic: {error}", file=sys.stderr)
        return 2
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    report = {"messages": sent.produced, "delivered": sent.delivered, "failed": sent.failed}
    seconds = round(sent.seconds, 3)
    _print({**report, "unanswered": sent.unanswered, "bytes": sent.size, "attacks": sent.attacks, "seconds": seconds})
    if sent.delivered < sent.produced:
        lost = sent.produced - sent.delivered
        print(f"winnow traffic: {lost} messages not delivered: {sent.first_error or 'no answer'}", file=sys.stderr)
        return 1
    return 0


def _settings(args: argparse.Namespace) -> TrafficSettings:
    """Return the settings that the options ask for. Raises ValueError (pydantic's is one)."""
    given = {"hosts": args.hosts, "rate": args.rate, "attacks_per_hour": args.attacks_per_hour}
    plan = []
    for text in args.attack:
        name, _, offset = text.partition("@")
        try:
            plan.append({"scenario": name, "offset": float(offset or 0)})
        except ValueError:
            raise ValueError(f"--attack {text}: no number of seconds: {offset!r}") from None
    return TrafficSettings.model_validate(
        {**{key: value for key, value in given.items() if value is not None}, "attacks": plan}
    )


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"no ISO 8601 time: {text!r}") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _not_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"no number from 0: {text!r}")
    return value


def _micros(at: datetime) -> int:
    elapsed = at - _EPOCH
    return (elapsed.days * 86_400 + elapsed.seconds) * SECOND + elapsed.microseconds


def _one_line(error: ValueError) -> str:
    """Return a pydantic error, or any other, as one line that names the setting."""
    errors = getattr(error, "errors", None)
    if callable(errors):
        return "; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in errors())
    return str(error)


def _print(report: dict[str, Any]) -> None:
    sys.stdout.write(orjson.dumps(report).decode() + "\n")
