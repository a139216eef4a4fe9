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
        "rules, metrics, text model, calibration and LLM. One line each; exit status 1 if anything would fail.",
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
    kafka = settings.kafka
    own = (kafka.alerts, kafka.deadletter, kafka.control, kafka.escalations, kafka.verdicts)
    for topic in (*kafka.telemetry, *own):
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


def _router(settings: Settings) -> Iterator[tuple[bool, str]]:
    if settings.router.calibration is None:
        yield True, "uncalibrated: nothing is promised of what is missed (see winnow calibrate)"
        return
    if not settings.bert.enabled:
        yield True, "no text is judged, so the calibration is not used"
        return
    try:
        from flows.routing import load_router
        from flows.texts import load_texts

        router = load_router(settings.router, settings.bert, load_texts(settings), False)
        yield True, f"calibration {router.version}"
    except UsageError as error:
        yield False, str(error)


def _llm(settings: Settings) -> Iterator[tuple[bool, str]]:
    if not settings.llm.configured:
        yield True, "not configured; what it would be asked about is decided without"
        return
    from flows.triage.process import check_llm

    try:
        check_llm(settings.llm)
    except UsageError as error:
        yield False, str(error)
        return
    import httpx

    key = settings.llm.api_key
    headers = {} if key is None else {"authorization": f"Bearer {key.get_secret_value()}"}
    try:
        # Lists models and costs nothing; who has no such page answers all the same.
        status = httpx.get(f"{settings.llm.base_url}/models", headers=headers, timeout=5).status_code
    except (httpx.HTTPError, ValueError) as error:
        yield False, f"{settings.llm.base_url} does not answer: {type(error).__name__}"
        return
    yield (
        status not in (401, 403),
        f"{settings.llm.base_url} "
        + (f"refuses the key ({status})" if status in (401, 403) else f"answers; model {settings.llm.model}"),
    )


#: Each check by the name that it is shown under; yields (is good, what was found).
CHECKS: dict[str, Callable[[Settings], Iterator[tuple[bool, str]]]] = {
    "kafka": _kafka,
    "postgres": _postgres,
    "redis": _redis,
    "rules": _rules,
    "metrics": _metrics,
    "texts": _texts,
    "router": _router,
    "llm": _llm,
}
