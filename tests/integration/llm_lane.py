"""Run the LLM lane as a user would, against the session's servers and a double of the endpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pydantic import SecretStr

from analyzers.llm.question import Question
from state.escalations import Escalation, Raised, escalation_id
from state.postgres import PostgresSettings, connect, pool
from state.triage import Arrived, TriageQueue

T0 = 1_770_000_000_000_000


def escalation(number: int, topic: str = "t", stakes: float = 0.5, **changes: Any) -> Escalation:
    event = f"{topic}-0-{number}"
    told: dict[str, Any] = {
        "id": escalation_id(event),
        "event_id": event,
        "host": f"host-{number}",
        "time": T0 + number,
        "source": "windows.sysmon",
        "format": "windows",
        # Letters, since numbers of one event only would be no part of the question.
        "fields": {"CommandLine": f"powershell -w hidden {word(number)}", "EventID": "1"},
        "raised": (Raised(kind="rule", rule="r", name="PowerShell", level="medium", time=T0, event_id=event),),
        "stakes": stakes,
        "reason": "a rule that is noisy here",
        **changes,
    }
    return Escalation(**told)


def word(number: int) -> str:
    """Return a word of letters by number: questions with different words are different questions."""
    letters = ""
    for _ in range(4):
        number, at = divmod(number, 20)
        letters += "ghijklmnopqrstuvwxyz"[at]
    return letters


def environment(bootstrap: str, dsn: str, topic: str, url: str, **llm: Any) -> dict[str, str]:
    told = {
        "base_url": url,
        "model": "double",
        "api_key": "key-of-the-lane",
        "input_price": 1,
        "output_price": 2,
        "money_per_hour": 1_000,
        "calls_per_hour": 100_000,
        "port": 0,
        "backoff_seconds": 0.05,
        "breaker_seconds": 0.5,
        "lease_seconds": 6,
        "timeout_seconds": 10,
        **llm,
    }
    return {
        "WINNOW_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
        "WINNOW_KAFKA__ESCALATIONS": f"{topic}.escalations",
        "WINNOW_KAFKA__VERDICTS": f"{topic}.verdicts",
        "WINNOW_KAFKA__DEADLETTER": f"{topic}.deadletter",
        "WINNOW_KAFKA__PARTITIONS": "2",
        "WINNOW_KAFKA__GROUP": topic,
        "WINNOW_POSTGRES__DSN": dsn,
        **{f"WINNOW_LLM__{name.upper()}": str(value) for name, value in told.items()},
    }


def start(variables: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "triage"],
        env={**os.environ, **variables},
        stderr=subprocess.PIPE,
    )


@contextmanager
def triaging(variables: dict[str, str], processes: int = 1) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run ``winnow triage``; after it, those that still run have ended well."""
    running = [start(variables) for _ in range(processes)]
    try:
        yield running
        for process in running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in running:
            _, log = process.communicate(timeout=60)
            assert process.returncode in (0, -signal.SIGKILL), log.decode()
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
                process.communicate()


def until(met: Callable[[], bool], running: Sequence[subprocess.Popen[bytes]], patience: float = 90.0) -> None:
    deadline = time.monotonic() + patience
    while not met():
        for process in running:
            if process.poll() not in (None, -signal.SIGKILL):
                raise AssertionError(process.stderr and process.stderr.read().decode())
        if time.monotonic() > deadline:
            for process in running:
                process.kill()
            logs = [process.communicate()[1].decode()[-3_000:] for process in running]
            raise AssertionError("the lane did not get there in time\n" + "\n".join(logs))
        time.sleep(0.05)


def queued(dsn: str, given: Sequence[Escalation], model: str = "double") -> None:
    """Put escalations into the queue, as if they had come from Kafka."""
    with pool(PostgresSettings(dsn=SecretStr(dsn))) as connections:
        TriageQueue(connections).add([Arrived(e, e.encode(), Question(e, model).key) for e in given])


def stands(dsn: str) -> dict[str, int]:
    """Return how many escalations stand where."""
    with connect(dsn) as database:
        return dict(database.execute("SELECT status, count(*) FROM escalations GROUP BY 1").fetchall())


def ended(dsn: str, published: bool = True) -> int:
    query = "SELECT count(*) FROM escalations WHERE verdict IS NOT NULL" + (" AND published" if published else "")
    with connect(dsn) as database:
        row = database.execute(query).fetchone()
    return int(row[0]) if row else 0
