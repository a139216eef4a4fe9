"""Run ``winnow run`` with workers, look at it, and compare what two runs have left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import psutil

from flows.commands.alerts import read, repeat_key
from state.postgres import DatabaseAway, connect
from state.revisions import migrate
from state.schemas import validate_alert, validate_incident
from tests.integration.live import environment, settings

#: What the flow owns and what it says of it; not when a row was last written.
TABLES = {
    "alerts": "id, kind, rule, name, level, entity, window_start, first_seen, last_seen, count, reason, techniques, "
    "tactics, evidence, versions::text",
    "evidence": "event_id, alert_id, entity, time, raw",
    "incidents": "id, state, severity, score, entities, first_seen, last_seen, opened, tactics, techniques, "
    "alert_count, evidence, title, explanation, aliases, merged_into",
    "incident_alerts": 'incident_id, alert_id, "position"',
    "hosts": "host, events, first_seen, last_seen",
    "host_windows": 'host, seconds, start, metrics, "values", scores',
    "ledger": "topic, partition, bucket, consumed, rejected, skipped, absent, lost, rule, bert, llm, late, future, "
    "sources::text, versions::text",
    "suppressed": "suppression, entity, kind, rule, day, count, first_seen, last_seen, last_event",
}


def free_ports(count: int) -> int:
    """Return the first of as many ports in a row that are free."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            first: int = probe.getsockname()[1]
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            continue
        return first


def supervised(bootstrap: str, dsn: str, topic: str, folder: Path, name: str, **more: str) -> dict[str, str]:
    """Return the settings of a run over ``topic`` whose outputs are named after ``name``."""
    return environment(
        bootstrap,
        dsn,
        topic,
        WINNOW_KAFKA__ALERTS=f"{topic}.{name}.alerts",
        WINNOW_KAFKA__DEADLETTER=f"{topic}.{name}.deadletter",
        WINNOW_KAFKA__GROUP=f"{topic}.{name}",
        WINNOW_KAFKA__BATCH="500",
        WINNOW_RECOVERY__FOLDER=str(folder / name),
        WINNOW_RECOVERY__INTERVAL_SECONDS="0.5",
        WINNOW_METRICS__PORT=str(free_ports(6) + 1),
        WINNOW_FORMATS__YEAR="2024",
        # The recording is of the past: no clock but its own may move it.
        WINNOW_TIME__IDLE_SECONDS="3600",
        WINNOW_ALERTS__GROUP_MINUTES="5",
        WINNOW_SUPERVISOR__BACKOFF_SECONDS="0.05",
        WINNOW_SUPERVISOR__BACKOFF_MAX_SECONDS="0.5",
    ) | {name: value for name, value in more.items() if value}


class Run:
    """One ``winnow run`` and its supervisor's endpoint."""

    def __init__(self, variables: dict[str, str], workers: int) -> None:
        migrate(variables["WINNOW_POSTGRES__DSN"])
        self.port = int(variables["WINNOW_METRICS__PORT"]) - 1
        command = [sys.executable, "-m", "flows.cli", "run", "--workers", str(workers)]
        self.log = Path(variables["WINNOW_RECOVERY__FOLDER"]).with_suffix(".log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env={**os.environ, **variables}, stderr=log)

    def health(self, worker: int | None = None) -> tuple[int, dict[str, Any]]:
        """Return status and body of the supervisor's health, or a worker's; 0 if it does not answer."""
        port = self.port if worker is None else self.port + 1 + worker
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError:
            return 0, {}

    def metrics(self, worker: int | None = None) -> str:
        """Return the metrics of the supervisor, or a worker's."""
        port = self.port if worker is None else self.port + 1 + worker
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    def restarts(self) -> Counter[str]:
        """Return how often the cluster was restarted, by reason."""
        found: Counter[str] = Counter()
        for reason, number in re.findall(
            r'^winnow_restarts_total\{reason="(\w+)"\} (\S+)$', self.metrics(), re.MULTILINE
        ):
            found[reason] += int(float(number))
        return found

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def until(self, met: Callable[[], bool], patience: float = 120.0, pause: float = 0.05) -> None:
        deadline = time.monotonic() + patience
        while not met():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"not there in time; {self.health()}; log:\n{self.log.read_text()}"
            time.sleep(pause)

    def until_ready(self, restarts: int = 0) -> None:
        """Wait until all workers read, after so many restarts at least; longer than a start is given."""

        def ready() -> bool:
            code, body = self.health()
            return code == 200 and body["status"] == "ok" and body["restarts"] >= restarts

        self.until(ready, patience=300.0)

    def stop(self) -> float:
        """Tell it to end; return how long that took, seconds."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, self.log.read_text()
        return time.monotonic() - began


@contextmanager
def run(variables: dict[str, str], workers: int = 1) -> Iterator[Run]:
    """Run; at the end, unless it was stopped meanwhile, stop it and expect status 0."""
    running = Run(variables, workers)
    try:
        yield running
        if running.process.poll() is None:
            running.stop()
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


def content(bootstrap: str, variables: dict[str, str], topic: str) -> dict[str, list[Any]]:
    """Return all that a run has left behind: its tables, and its messages of alerts and incidents, without repeats."""
    found: dict[str, list[Any]] = {}
    with connect(variables["WINNOW_POSTGRES__DSN"]) as database:
        for table, columns in TABLES.items():
            found[table] = sorted(database.execute(f"SELECT {columns} FROM {table}").fetchall())
    known = settings(bootstrap, topic)
    known.kafka.alerts = variables["WINNOW_KAFKA__ALERTS"]
    messages: dict[str, Any] = {}
    for raw in read(known, oldest=True, to_end=True):
        message = orjson.loads(raw)
        validate = validate_incident if message.get("type") == "incident" else validate_alert
        validate(message)
        messages.setdefault(repeat_key(message), message)
    for name, wanted in (("messages", False), ("incident_messages", True)):
        found[name] = [messages[key] for key in sorted(messages) if (messages[key].get("type") == "incident") == wanted]
    return found


#: How many columns, from the first, tell rows apart.
KEYS = {
    "incidents": 1, "incident_alerts": 2, "alerts": 1, "evidence": 2, "hosts": 1, "host_windows": 3, "ledger": 3,
    "suppressed": 5,
}  # fmt: skip


def differences(one: dict[str, list[Any]], other: dict[str, list[Any]]) -> list[str]:
    """Return what differs, a line each, the first few of each kind: rows of one only, and columns."""
    lines = []
    for name in one:
        left, right = _by_key(name, one[name]), _by_key(name, other[name])
        found = [f"{name} {key}: only in the first" for key in sorted(left.keys() - right.keys())]
        found += [f"{name} {key}: only in the second" for key in sorted(right.keys() - left.keys())]
        for key in sorted(left.keys() & right.keys()):
            found += [
                f"{name} {key}: {column}: {left[key][column]!r:.300} and {right[key][column]!r:.300}"
                for column in left[key]
                if left[key][column] != right[key][column]
            ]
        lines += found[:20]
    return lines


def _by_key(name: str, rows: list[Any]) -> dict[str, dict[str, Any]]:
    if name.endswith("messages"):
        return {repeat_key(row): row for row in rows}
    columns = TABLES[name].split(", ")
    return {repr(row[: KEYS[name]]): dict(zip(columns, row, strict=True)) for row in rows}


def settled(dsn: str, sent: int) -> bool:
    """Return whether a run has read ``sent`` messages and decided all of them."""
    try:
        with connect(dsn) as database:
            row = database.execute(
                "SELECT coalesce(sum(consumed), 0), coalesce(sum(rejected + skipped + rule + bert + llm), 0) "
                "FROM ledger"
            ).fetchone()
    except DatabaseAway:  # a machine with much to do keeps even Postgres waiting
        return False
    return row is not None and int(row[0]) == int(row[1]) == sent
