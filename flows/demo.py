"""The demo: everything embedded, live traffic with attacks in it, the console; counts that agree at the end."""

from __future__ import annotations

import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import psycopg
from pydantic import SecretStr

from dashboards.server import ConsoleServer
from flows.cluster import worker_environment
from flows.commands.alerts import read
from flows.live import prepare
from flows.settings import Settings, load_settings
from flows.traffic import Traffic, produce
from flows.traffic.producer import Produced
from flows.traffic.settings import TrafficSettings
from flows.triage.local import answers, local_settings
from operators.kafka import TopicSettings
from state.embedded import EmbeddedServices
from state.embedded.server import Process
from state.postgres import connect
from state.revisions import migrate

#: Past that is sent at once when the demo starts, seconds: charts have something to show when the live part begins.
HISTORY = 2 * 3600
#: Attacks of the live part: scenario and seconds after its start. All six, so that each can be seen.
ATTACKS = (
    ("sql_injection", 2),
    ("encoded_powershell", 5),
    ("port_scan", 8),
    ("dns_tunnelling", 11),
    ("brute_force", 14),
    ("exfiltration", 17),
)


def demo(
    seconds: float | None, headless: bool, seed: int, say: Callable[[str], None], llm: bool = False
) -> dict[str, Any]:
    """Run the demo for ``seconds`` of traffic, or until SIGINT or SIGTERM; return the counts.

    ``llm``: also run the LLM lane, with the small model that is packaged.

    Raises:
        EmbeddedError: a server did not start.
        RuntimeError: the detect flow died, or the counts do not agree.
    """
    stop = threading.Event()
    with _on_signals(stop), EmbeddedServices() as services:
        say("Kafka, Postgres and Valkey are up")
        start = int((time.time() - HISTORY) * 1_000_000)
        planned = [(name, HISTORY + offset) for name, offset in ATTACKS]
        traffic = Traffic(seed, start, TrafficSettings(attacks=planned))  # type: ignore[arg-type]
        settings = load_settings()
        settings.kafka.bootstrap_servers = services.kafka.bootstrap_servers
        settings.postgres.dsn = SecretStr(services.postgres.dsn)
        settings.redis.url = SecretStr(services.valkey.url)
        migrate(services.postgres.dsn)
        settings.metrics.port = port = _free_port()
        settings.recovery.folder = services.folder / "recovery"
        # Network sensors know addresses, logs know names: the aliases make one host of both. Access logs name no host.
        aliases = {**traffic.fleet.aliases, **settings.formats.host_aliases}
        settings.formats = settings.formats.model_copy(update={"host_aliases": aliases})
        settings.kafka.topics[settings.kafka.telemetry[0]] = TopicSettings(host_from_key=True)
        prepare(settings)
        if llm:
            triage = _triage(services, settings, say)
        flow = services.keeper.start(
            "detect",
            [sys.executable, "-m", "flows.live"],
            cwd=services.folder,
            stop_signal=signal.SIGTERM,
            env={**worker_environment(0, [], settings), "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        sent = Produced()
        done = threading.Event()

        def send() -> None:
            nonlocal sent
            try:
                sent = produce(
                    traffic,
                    {"bootstrap.servers": services.kafka.bootstrap_servers},
                    settings.kafka.telemetry[0],
                    speed=0,
                    stop=stop,
                    never_ahead=True,
                )
            finally:
                done.set()

        producer = threading.Thread(target=send, name="traffic", daemon=True)
        with connect(services.postgres.dsn, autocommit=True) as database:
            began = time.monotonic()
            producer.start()
            say(f"two hours of traffic are being sent, then it goes on live; metrics: http://127.0.0.1:{port}/metrics")
            say("rules and limits alert at once; anomalies of a host only when it has been known for a day")
            if headless:
                _wait(stop, seconds, flow, database, say, began)
            else:
                with ConsoleServer(services.postgres.dsn, keeper=services.keeper) as console:
                    say(f"console: {console.url}   (Ctrl-C ends the demo)")
                    _wait(stop, seconds, flow, database, say, began)
            stop.set()
            done.wait(60)
            say(f"{sent.delivered:,} messages were sent; the flow is reading the rest")
            took = _drained(database, sent.delivered, flow) - began
            flow.stop()
            if llm:
                triage.stop()
                say(_answers(database))
            return _agreed(database, settings, sent.delivered, took)


def _triage(services: EmbeddedServices, settings: Settings, say: Callable[[str], None]) -> Process:
    """Start the packaged model's server and the LLM lane, and set the lane up for it; return the lane."""
    port = _free_port()
    settings.llm = local_settings(port, settings.llm)
    settings.llm.port = 0
    path = {"PYTHONPATH": str(Path(__file__).parents[1])}
    model = services.keeper.start(
        "llm",
        [sys.executable, "-m", "flows.triage.local", str(port)],
        cwd=services.folder,
        stop_signal=signal.SIGTERM,
        env=path,
    )
    model.wait_until(lambda: answers(port), 120.0)
    say(f"a small model answers on 127.0.0.1:{port}: it shows the LLM lane at work, its judgement is worth nothing")
    return services.keeper.start(
        "triage",
        [sys.executable, "-m", "flows.triage"],
        cwd=services.folder,
        stop_signal=signal.SIGTERM,
        env={**worker_environment(0, [], settings), **path},
    )


def _answers(database: psycopg.Connection[Any]) -> str:
    row = database.execute(
        "SELECT count(*), count(*) FILTER (WHERE status = 'answered'), count(*) FILTER (WHERE status = 'refused') "
        "FROM escalations"
    ).fetchone()
    asked, answered, refused = row or (0, 0, 0)
    return f"LLM lane: {asked} escalations, {answered} answered, {refused} refused, the others were still waiting"


def _wait(
    stop: threading.Event,
    seconds: float | None,
    flow: Any,
    database: psycopg.Connection[Any],
    say: Callable[[str], None],
    began: float,
) -> None:
    said = began
    while not stop.is_set() and (seconds is None or time.monotonic() - began < seconds):
        stop.wait(0.2)
        if flow.returncode is not None:
            raise RuntimeError(f"the detect flow ended by itself; its log ends:\n{flow.tail()}")
        if time.monotonic() - said >= 5:
            said = time.monotonic()
            say(f"{_consumed(database):,} events, {_alerts(database)} alerts")


def _consumed(database: psycopg.Connection[Any]) -> int:
    row = database.execute("SELECT coalesce(sum(consumed), 0) FROM ledger").fetchone()
    return int(row[0]) if row else 0


def _alerts(database: psycopg.Connection[Any]) -> int:
    row = database.execute("SELECT count(*) FROM alerts").fetchone()
    return int(row[0]) if row else 0


def _drained(database: psycopg.Connection[Any], sent: int, flow: Any, patience: float = 60.0) -> float:
    """Wait until the ledger accounts for every message sent; return when that was."""
    deadline = time.monotonic() + patience
    while _consumed(database) < sent:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the flow consumed {_consumed(database):,} of {sent:,} messages; log:\n{flow.tail()}")
        time.sleep(0.1)
    reached = time.monotonic()
    # What was read last is still being decided; candidates wait for the watermark.
    while not _settled(database) and time.monotonic() < deadline:
        time.sleep(0.1)
    return reached


def _settled(database: psycopg.Connection[Any]) -> bool:
    query = "SELECT coalesce(bool_and(consumed = rejected + skipped + rule + bert + llm), true) FROM ledger"
    row = database.execute(query).fetchone()
    return bool(row and row[0])


def _agreed(database: psycopg.Connection[Any], settings: Settings, sent: int, seconds: float) -> dict[str, Any]:
    row = database.execute(
        "SELECT sum(consumed), sum(rejected), sum(skipped), sum(rule), sum(bert), sum(llm) FROM ledger"
    ).fetchone()
    consumed, rejected, skipped, rule, bert, llm = (int(value or 0) for value in row or ())
    stored = {row[0] for row in database.execute("SELECT id FROM alerts")}
    messages = [orjson.loads(message) for message in read(settings, oldest=True, to_end=True)]
    published = {message["id"] for message in messages if message.get("type") != "incident"}
    row = database.execute("SELECT count(*) FROM incidents WHERE state <> 'merged'").fetchone()
    incidents = int(row[0]) if row else 0
    wrong = []
    if consumed != sent:
        wrong.append(f"{sent:,} messages were sent, the ledger counts {consumed:,}")
    if consumed != rejected + skipped + rule + bert + llm:
        wrong.append(f"of {consumed:,} messages read {rejected + skipped + rule + bert + llm:,} were decided")
    if stored != published:
        wrong.append(f"{len(stored)} alerts in Postgres, {len(published)} in Kafka, {len(stored & published)} in both")
    if wrong:
        raise RuntimeError("; ".join(wrong))
    return {
        "events": rule + bert + llm,
        "rejected": rejected,
        "alerts": len(stored),
        "incidents": incidents,
        "lanes": {"rule": rule, "bert": bert, "llm": llm},
        "events_per_second": round(consumed / seconds) if seconds > 0 else 0,
    }


@contextmanager
def _on_signals(stop: threading.Event) -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
