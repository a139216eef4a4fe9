"""Under load, servers freeze, end and return, one or two at a time: what is left behind equals an undisturbed run's.

``python -m pytest tests/chaos/test_outages.py --chaos-outages all --chaos-outage-seconds 60 -s`` is the long run;
without the options it is a short one. The seed decides traffic and when the second server of two follows the first.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from random import Random

import pytest
import redis

from state.embedded import EmbeddedServices
from state.postgres import connect
from tests.integration.live import create_topic, frozen, published
from tests.integration.load import Load
from tests.integration.supervised import Run, content, differences, run, settled, supervised

PARTITIONS = 4
WORKERS = 2
#: Load before and after an outage, seconds.
BEFORE, AFTER = 3.0, 3.0
#: The second server of two goes up to so much of an outage later than the first.
LAG = 0.33

#: How long the Postgres sink says that it has been waiting.
WAITED = re.compile(r'^winnow_sink_waiting\{sink="postgres"\} (\S+)$', re.MULTILINE)

#: By name, what befalls which servers at once.
OUTAGES: dict[str, list[tuple[str, str]]] = {
    "kafka": [("kafka", "frozen")],
    "postgres": [("postgres", "frozen")],
    "valkey": [("valkey", "frozen")],
    "kafka+postgres": [("kafka", "frozen"), ("postgres", "frozen")],
    "kafka+valkey": [("kafka", "frozen"), ("valkey", "frozen")],
    "postgres+valkey": [("postgres", "frozen"), ("valkey", "frozen")],
    "postgres-restart": [("postgres", "restarted")],
    "postgres-crash": [("postgres", "crashed")],
    "kafka+postgres-crash": [("kafka", "frozen"), ("postgres", "crashed")],
    "valkey-wiped": [("valkey", "wiped")],
    "valkey-killed": [("valkey", "killed")],
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Take the outages that the command line names."""
    if "outage" in metafunc.fixturenames:
        named = str(metafunc.config.getoption("--chaos-outages"))
        metafunc.parametrize("outage", OUTAGES if named == "all" else named.split(","))


@contextmanager
def away(services: EmbeddedServices, server: str, how: str) -> Iterator[None]:
    """Take a server away; at the end it is there again, unless it was killed."""
    if how == "frozen":
        with frozen(getattr(services, server).pid):
            yield
    elif how in ("restarted", "crashed"):
        services.postgres.stop(crash=how == "crashed")
        yield
        services.postgres.restart()
    elif how == "wiped":
        with redis.Redis.from_url(services.valkey.url) as cache:
            cache.flushall()
        yield
    else:
        services.valkey.close()
        yield


class Watch(threading.Thread):
    """Looks at health and metrics of a run, for as long as it is entered."""

    def __init__(self, running: Run) -> None:
        super().__init__(daemon=True)
        self._running = running
        self._end = threading.Event()
        self.said: Counter[str] = Counter()
        #: What the workers say of their own, and the longest that a sink of theirs said it had waited.
        self.workers_said: Counter[str] = Counter()
        self.waited = 0.0

    def run(self) -> None:
        while not self._end.wait(0.25):
            self._look(self.said, None)
            for worker in range(WORKERS):
                self._look(self.workers_said, worker)
                self.waited = max(self.waited, *map(float, WAITED.findall(self._running.metrics(worker))))

    def _look(self, said: Counter[str], worker: int | None) -> None:
        code, body = self._running.health(worker)
        if code:  # a busy machine may be too slow for an answer
            said[body["status"]] += 1

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self.join()


def suffer(services: EmbeddedServices, events: list[tuple[str, str]], seconds: float, chance: Random) -> None:
    """Have all events at once for ``seconds``, each beginning up to ``LAG`` of it after the one before."""
    with ExitStack() as stack:
        for server, how in chance.sample(events, len(events)):
            stack.enter_context(away(services, server, how))
            if len(events) > 1:
                time.sleep(seconds * chance.uniform(0.0, LAG))
        time.sleep(seconds)


def consumed(dsn: str) -> int:
    with connect(dsn) as database:
        row = database.execute("SELECT coalesce(sum(consumed), 0) FROM ledger").fetchone()
    return int(row[0]) if row else 0


def seconds_until(running: Run, met: Callable[[], bool]) -> float:
    began = time.monotonic()
    running.until(met, pause=0.02)
    return time.monotonic() - began


def memory(running: Run) -> float:
    """Return the resident memory of all workers, MB."""
    return sum(worker.memory_info().rss for worker in running.workers()) / 1e6


@pytest.mark.timeout(900)
def test_servers_that_go_and_return_change_nothing(
    outage: str, services: EmbeddedServices, tmp_path: Path, pytestconfig: pytest.Config, topic_name: str
) -> None:
    seconds = float(pytestconfig.getoption("--chaos-outage-seconds"))
    seed = int(pytestconfig.getoption("--chaos-seed"))
    messages = int(pytestconfig.getoption("--chaos-messages")) or (50_000 if seconds >= 30 else 6_000)
    events = OUTAGES[outage]
    load = Load.make(seed, messages, PARTITIONS)
    kafka = services.kafka.bootstrap_servers
    create_topic(kafka, topic_name, PARTITIONS)
    # What it answered is to survive its crash; the embedded server would do without. And a busy machine is slow.
    options = "&options=-csynchronous_commit%3Don&connect_timeout=30"
    dsn, calm = (services.postgres.create_database(f"{topic_name}-{name}") + options for name in ("a", "b"))
    # Shorter than the outage: who waits for a server is not to be started again however long it takes.
    more = {**load.settings(topic_name), "WINNOW_SUPERVISOR__STALL_SECONDS": str(max(4.0, seconds * 0.8))}
    more["WINNOW_REDIS__URL"] = services.valkey.url
    variables = supervised(kafka, dsn, topic_name, tmp_path, "outage", **more)
    done = threading.Event()
    lasts = BEFORE + seconds * (1 + LAG * len(events)) + AFTER
    send = partial(load.send, kafka, topic_name, rate=messages / lasts, stop=done.is_set)
    sender = threading.Thread(target=send, daemon=True)
    with run(variables, WORKERS) as running:
        running.until_ready()
        sender.start()
        running.until(lambda: consumed(dsn) > 0)
        time.sleep(BEFORE)
        before = memory(running)
        with Watch(running) as watch:
            suffer(services, events, seconds, Random(f"{seed}-{outage}"))
            known = consumed(dsn)
            resumed = seconds_until(running, lambda: consumed(dsn) > known)
            time.sleep(AFTER)
        under_load = sender.is_alive()
        done.set()
        sender.join(120)
        caught_up = seconds_until(running, lambda: settled(dsn, load.total))
        restarts, after = running.health()[1]["restarts"], memory(running)
    undisturbed = supervised(kafka, calm, topic_name, tmp_path, "calm", **load.settings(topic_name))
    with run(undisturbed) as running:
        running.until(lambda: settled(calm, load.total), patience=300)
    found, expected = content(kafka, variables, topic_name), content(kafka, undisturbed, topic_name)
    print(
        f"\n{outage} for {seconds:.0f} s, seed {seed}, {load.total:,} messages"
        f"{'' if under_load else ' (all sent before its end)'}: went on {resumed:.1f} s after its end, caught up "
        f"{caught_up:.1f} s after the last message; {restarts} restarts; workers {before:.0f} MB before, "
        f"{after:.0f} MB after; health {dict(watch.said)}, of the workers {dict(watch.workers_said)}; the Postgres "
        f"sink waited {watch.waited:.1f} s; { ({name: len(rows) for name, rows in expected.items()}) }"
    )
    different = differences(found, expected)
    assert not different, "\n".join(different)
    assert restarts == 0, Path(running.log).read_text()
    assert set(watch.said) | set(watch.workers_said) <= {"ok", "waiting"}
    if ("postgres", "frozen") in events:
        assert watch.said["waiting"]
        assert watch.waited > seconds / 2
    assert len(expected["messages"]) == len(expected["alerts"]) > 20
    if seconds < 30:
        # Without a restart none is published twice; but what has no answer for a minute is sent again.
        assert set(published(kafka, variables["WINNOW_KAFKA__ALERTS"]).values()) == {1}
