"""``winnow alerts tail``: read alerts and incidents from their topic and drop repeats."""

from __future__ import annotations

import argparse
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from flows.settings import Settings, load_settings
from flows.usage import UsageError

#: Alert ids remembered to drop repeats by.
REMEMBERED = 100_000


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("alerts", help="read alerts", description="Read alerts.")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    tail = actions.add_parser(
        "tail",
        help="print alerts as they are raised",
        description="Print alerts from Kafka, one JSON message a line, each once, until Ctrl-C; so incidents (type "
        "incident), as often as the settings notify say.",
    )
    tail.add_argument("--all", action="store_true", help="begin with the oldest alert that Kafka still has")
    tail.add_argument("--end", action="store_true", help="stop at the end of the topic instead of waiting for more")
    tail.add_argument("--count", type=int, metavar="N", help="stop after N alerts")
    tail.add_argument("--config", type=Path, metavar="FILE", help="settings file")
    tail.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print alerts; return the exit status."""
    for printed, message in enumerate(read(load_settings(args.config), oldest=args.all, to_end=args.end), 1):
        sys.stdout.buffer.write(message + b"\n")
        sys.stdout.buffer.flush()
        if args.count is not None and printed >= args.count:
            break
    return 0


def read(settings: Settings, oldest: bool, to_end: bool) -> Iterator[bytes]:
    """Yield the raw messages of the alert topic, each alert once and each change of an incident.

    Raises:
        UsageError: Kafka cannot be reached, or the topic does not exist.
    """
    topic = settings.kafka.alerts
    try:
        consumer = Consumer(
            settings.kafka.config(
                **{
                    "group.id": f"{settings.kafka.group}-tail",
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                    # What goes wrong is said in our words, once; librdkafka would say it in its own at every attempt.
                    "log_level": 0,
                    "error_cb": _say,
                }
            )
        )
        found = consumer.list_topics(topic, timeout=10).topics[topic]
    except ValueError as error:
        raise UsageError(str(error)) from error
    except KafkaException as error:
        raise UsageError(f"Kafka at {settings.kafka.bootstrap_servers}: {error.args[0].str()}") from error
    if found.error is not None:
        raise UsageError(f"topic {topic}: {found.error.str()}")
    start = OFFSET_BEGINNING if oldest or to_end else OFFSET_END
    consumer.assign([TopicPartition(topic, partition, start) for partition in found.partitions])
    open_ends = set(found.partitions)
    seen: OrderedDict[str, None] = OrderedDict()
    try:
        while open_ends or not to_end:
            for message in consumer.consume(500, 0.2):
                problem = message.error()
                if problem is not None:
                    if problem.code() == KafkaError._PARTITION_EOF:
                        open_ends.discard(message.partition())
                    continue
                raw = message.value() or b""
                try:
                    alert_id = repeat_key(orjson.loads(raw))
                except (orjson.JSONDecodeError, KeyError, TypeError):
                    print(f"winnow: {topic}-{message.partition()}-{message.offset()} is no alert", file=sys.stderr)
                    continue
                if alert_id in seen:
                    continue
                seen[alert_id] = None
                if len(seen) > REMEMBERED:
                    seen.popitem(last=False)
                yield raw
    finally:
        consumer.close()


def repeat_key(message: dict[str, Any]) -> str:
    """Return what a repeat of a message has in common with it: the id, of an incident also when it was told of."""
    name = str(message["id"])
    if message.get("type") != "incident":
        return name
    # Before there were notifications, an incident was told of once for each of its severities and states.
    return f"{name} {message.get('notified_at') or message['severity']} {message['state']}"


def _say(error: KafkaError) -> None:
    print(f"winnow: Kafka: {error.str()}", file=sys.stderr)
