"""Under load, servers stand still, connections break, the cache goes: nothing is lost or doubled."""

from __future__ import annotations

import secrets
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import redis
from confluent_kafka import Producer

from state.embedded import EmbeddedServices
from state.postgres import connect
from tests.integration.live import create_topic, environment, frozen, ledger, published, running, until

#: Seconds for which a server stands still: longer than lateness and idleness together.
PAUSE = 8.0
PARTITIONS = 2


class Load:
    """Messages stamped with the time at which they are sent, each partition's in order; some of them are attacks."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "enable.idempotence": True})
        self._topic = topic
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.sent = 0
        self.attacks = 0

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self._end.set()
        self._thread.join(60)
        assert self._producer.flush(60) == 0

    def _send(self) -> None:
        while not self._end.wait(0.02):
            stamp = datetime.now(UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
            for _ in range(10):
                attack = self.sent % 50 == 0
                path = "/../../../../etc/passwd" if attack else f"/page/{self.sent % 7}"
                line = f'192.0.2.{self.sent % 200} - - [{stamp}] "GET {path} HTTP/1.1" 200 512 "-" "Mozilla/5.0"'
                self._producer.produce(self._topic, line.encode(), partition=self.sent % PARTITIONS)
                self.sent += 1
                self.attacks += attack
            self._producer.poll(0)


def test_servers_that_stand_still_and_connections_that_break_lose_and_double_nothing(
    services: EmbeddedServices, tmp_path: Path
) -> None:
    bootstrap, dsn, topic = services.kafka.bootstrap_servers, services.postgres.dsn, "web"
    create_topic(bootstrap, topic, PARTITIONS)
    variables = environment(
        bootstrap,
        dsn,
        topic,
        WINNOW_REDIS__URL=services.valkey.url,
        WINNOW_RECOVERY__FOLDER=str(tmp_path / f"recovery-{secrets.token_hex(4)}"),
        WINNOW_RECOVERY__INTERVAL_SECONDS="1",
    )
    with running(variables) as flow, Load(bootstrap, topic) as load:
        until(lambda: ledger(dsn)["consumed"] > 500, flow)

        with frozen(services.kafka.pid):
            time.sleep(PAUSE)
        _goes_on(dsn, load, flow)

        for _ in range(3):
            with connect(dsn, autocommit=True) as database:
                database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
            time.sleep(0.5)
        with redis.Redis.from_url(services.valkey.url) as cache:
            cache.flushall()
        services.valkey.close()
        _goes_on(dsn, load, flow)

        load.end()
        until(lambda: (found := ledger(dsn))["consumed"] == load.sent == found["rule"] + found["bert"], flow)
        until(lambda: _attacks(dsn) == load.attacks, flow)
    counts = ledger(dsn)
    # Time stood still with the broker: what was sent meanwhile, seconds old when it could be read, was in time.
    assert {name: counts[name] for name in ("rejected", "absent", "late", "future")} == dict.fromkeys(
        ("rejected", "absent", "late", "future"), 0
    )
    assert (counts["consumed"], counts["rule"] + counts["bert"]) == (load.sent, load.sent)
    with connect(dsn) as database:
        stored = {row[0] for row in database.execute("SELECT id FROM alerts").fetchall()}
    sent = published(bootstrap, f"{topic}.alerts")
    assert set(sent) == stored
    assert max(sent.values()) == 1


def _goes_on(dsn: str, load: Load, flow: object) -> None:
    """Wait until the flow has read all that was sent up to now."""
    sent = load.sent
    until(lambda: ledger(dsn)["consumed"] >= sent, flow)  # type: ignore[arg-type]


def _attacks(dsn: str) -> int:
    with connect(dsn) as database:
        (found,) = database.execute("SELECT sum(count) FROM alerts WHERE name LIKE '%traversal%'").fetchall()
    return int(found[0] or 0)
