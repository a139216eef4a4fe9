"""``winnow check``: what would fail, before it does."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from flows.settings import Settings, load_settings
from flows.usage import UsageError
from state.postgres import DatabaseError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "check",
        help="check settings, connections and rules",
        description="Check what `winnow run` needs: settings, Kafka and its topics, Postgres and its schema, Redis, "
        "rules, metrics and the text model. One line each; exit status 1 if anything would fail.",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what was found; return 1 if anything failed."""
    settings = load_settings(args.config)
    print("ok    settings")
    failed = False
    for name, check in CHECKS.items():
        for good, said in check(settings):
            failed = failed or not good
            print(f"{'ok   ' if good else 'FAIL '} {name}: {said}")
    return 1 if failed else 0


def _kafka(settings: Settings) -> Iterator[tuple[bool, str]]:
    try:
        topics = AdminClient(settings.kafka.config()).list_topics(timeout=5).topics
    except ValueError as error:
        yield False, str(error)
        return
    except KafkaException as error:
        yield False, f"{settings.kafka.bootstrap_servers}: {error.args[0].str()}"
        return
    yield True, f"{settings.kafka.bootstrap_servers} answers"
    for topic in (*settings.kafka.telemetry, settings.kafka.alerts, settings.kafka.deadletter, settings.kafka.control):
        there = topic in topics
        yield True, f"topic {topic}: " + (f"{len(topics[topic].partitions)} partitions" if there else "will be created")


def _postgres(settings: Settings) -> Iterator[tuple[bool, str]]:
    from state.revisions import pending

    try:
        missing = pending(settings.postgres.required_dsn())
    except DatabaseError as error:
        yield False, str(error)
        return
    yield not missing, f"{len(missing)} migrations are missing: run winnow migrate" if missing else "answers, migrated"


def _redis(settings: Settings) -> Iterator[tuple[bool, str]]:
    if settings.redis.url is None:
        yield True, "not configured; detection does not need it"
        return
    try:
        with redis.Redis.from_url(settings.redis.url.get_secret_value(), socket_timeout=5) as client:
            client.ping()
        yield True, "answers"
    except (redis.RedisError, ValueError, OSError) as error:
        yield False, type(error).__name__


def _rules(settings: Settings) -> Iterator[tuple[bool, str]]:
    missing = [path for path in settings.rules.paths if not path.exists()]
    yield from ((False, f"{path}: no such file or folder") for path in missing)
    if not missing:
        from flows.detect import load_rules

        rules = load_rules(settings)
        yield not rules.problems, f"{len(rules.rules)} in force, {len(rules.problems)} not (see winnow rules check)"


def _metrics(settings: Settings) -> Iterator[tuple[bool, str]]:
    try:
        from flows.detect import load_metrics

        yield True, f"{len(load_metrics(settings).metrics)} host metrics"
    except (OSError, ValueError) as error:
        yield False, str(error)


def _texts(settings: Settings) -> Iterator[tuple[bool, str]]:
    if not settings.bert.enabled:
        yield True, "not judged (bert.enabled)"
        return
    try:
        from flows.texts import load_texts

        judge = load_texts(settings)
        yield True, f"judged by model {judge.version if judge else '-'}"
    except UsageError as error:
        yield False, str(error)


#: Each check by the name that it is shown under; yields (is good, what was found).
CHECKS: dict[str, Callable[[Settings], Iterator[tuple[bool, str]]]] = {
    "kafka": _kafka,
    "postgres": _postgres,
    "redis": _redis,
    "rules": _rules,
    "metrics": _metrics,
    "texts": _texts,
}
