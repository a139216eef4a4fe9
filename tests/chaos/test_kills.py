"""Kill workers at random, and change their number, under load: what is left behind equals an undisturbed run's.

``python -m pytest tests/chaos --chaos-kills 40 -s`` is the long run; without the option it is a short one. The seed
decides traffic, victims, pauses and the order of things; where exactly a kill hits is the machine's.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from random import Random

import psutil
import pytest

from state.alerts import Level
from state.embedded import EmbeddedPostgres
from tests.chaos.alarms import MAX_OPEN, SETTINGS, Alarms, gone, kinds, retention, suppress
from tests.integration.live import create_topic
from tests.integration.load import Load
from tests.integration.supervised import Run, content, differences, run, settled, supervised

#: Numbers of workers, in turn.
SCALES = (2, 4, 3)
PARTITIONS = 6
#: Kinds of alerts, and what is said of hosts and of alerts that there is no place for.
KINDS = ("rule", "threshold", "anomaly", "text", "alert", "correlation", "loss", "hosts:overflow", "_overflow")
#: How long, seconds, a run may take to read what is left, per message and for the rest.
PATIENCE, A_MESSAGE = 120.0, 0.015
#: How long a kill and what follows takes, about, seconds: the load lasts as long as all of them.
A_KILL = 10.0


class Feed(threading.Thread):
    """Send a load bit by bit, one for each time that ``more`` is called: a slow machine's kills have theirs too."""

    def __init__(self, load: Load, bootstrap: str, topic: str, bits: int) -> None:
        super().__init__(daemon=True)
        self._send = partial(load.send, bootstrap, topic)
        self._total, self._bits = load.total, bits
        self._called = threading.Semaphore(0)
        self._hurry = threading.Event()
        #: Whether messages are being sent now.
        self.sending = False

    def run(self) -> None:
        size = -(-self._total // self._bits)
        for first in range(0, self._total, size):
            if not self._hurry.is_set():
                self._called.acquire()
            self.sending = True
            self._send(first, first + size, size / A_KILL, self._hurry.is_set)
            self.sending = False

    def more(self) -> None:
        """Send the next bit, over some seconds, after those that were called for before."""
        self._called.release()

    def finish(self) -> None:
        """Send all that is left, at once."""
        self._hurry.set()
        self._called.release()
        self.join(300)
        assert not self.is_alive()


def kill(running: Run, chance: Random, feed: Feed) -> tuple[float, bool]:
    """Kill one worker at random at a random moment while messages come.

    Returns the seconds until all workers read again, 0 if the next kill comes before that, and whether messages came.
    """
    # One in five hits a cluster that is just starting again.
    starting = chance.random() < 0.2
    if not starting:
        running.until_ready()
    feed.more()
    if not starting:
        time.sleep(chance.uniform(0.1, 2.0))
    running.until(lambda: bool(running.workers()))
    restarts = running.health()[1]["restarts"]
    victim = chance.choice(running.workers())
    began, under_load = time.monotonic(), feed.sending
    try:
        victim.kill()
    except psutil.NoSuchProcess:
        return 0.0, under_load  # the cluster was being ended at this moment
    if chance.random() < 0.2:
        running.until(lambda: running.health()[1].get("restarts", 0) > restarts)
        time.sleep(chance.uniform(0.0, 1.0))
        return 0.0, under_load  # the next kill comes before it has recovered; that one's time counts
    running.until_ready(restarts + 1)
    return time.monotonic() - began, under_load


@pytest.mark.timeout(3600)
def test_killed_workers_change_nothing(
    kafka: str, postgres: EmbeddedPostgres, tmp_path: Path, pytestconfig: pytest.Config, topic_name: str
) -> None:
    kills, seed = int(pytestconfig.getoption("--chaos-kills")), int(pytestconfig.getoption("--chaos-seed"))
    messages = int(pytestconfig.getoption("--chaos-messages")) or (100_000 if kills >= 10 else 3_000)
    chance = Random(seed)
    load = Load.make(seed, messages, PARTITIONS, attacks_per_hour=30, rate=2, more=Alarms(seed, PARTITIONS))
    lost = gone(load, topic_name)
    to_read = load.total - sum(end - first for ranges in lost.values() for first, end in ranges)
    create_topic(kafka, topic_name, PARTITIONS)
    suppress(kafka, topic_name)
    dsn, calm = postgres.create_database(f"{topic_name}-a"), postgres.create_database(f"{topic_name}-b")
    # Kafka and Postgres are there and a worker is killed as soon as it reads: nobody is to give up.
    more = {
        **load.settings(topic_name),
        **SETTINGS,
        **retention(lost, tmp_path / "gone.json"),
        "WINNOW_SUPERVISOR__MAX_FAILURES": "1000",
    }
    variables = supervised(kafka, dsn, topic_name, tmp_path, "chaos", **more)
    patience = PATIENCE + load.total * A_MESSAGE
    feed = Feed(load, kafka, topic_name, kills + len(SCALES))
    feed.start()
    took: list[tuple[float, bool]] = []
    restarts: Counter[str] = Counter()
    shares = [kills // len(SCALES) + (index < kills % len(SCALES)) for index in range(len(SCALES))]
    for workers, share in zip(SCALES, shares, strict=True):
        feed.more()  # what comes while the cluster before ends and this one starts
        with run(variables, workers) as running:
            running.until_ready()
            took += [kill(running, chance, feed) for _ in range(share)]
            running.until_ready()
            if workers == SCALES[-1]:
                feed.finish()
                running.until(lambda: settled(dsn, to_read), patience)
            restarts += running.restarts()
    times = [seconds for seconds, _ in took if seconds]
    print(
        f"\nchaos: seed {seed}, {load.total:,} messages, {len(took)} kills ({sum(loaded for _, loaded in took)} while "
        f"messages came), workers {' to '.join(map(str, SCALES))}; recovery of {len(times)} median "
        f"{statistics.median(times or [0]):.1f} s, worst {max(times, default=0):.1f} s; restarts {dict(restarts)}"
    )
    undisturbed = supervised(kafka, calm, topic_name, tmp_path, "calm", **more)
    with run(undisturbed) as running:
        running.until(lambda: settled(calm, to_read), patience)
    found, expected = content(kafka, variables, topic_name), content(kafka, undisturbed, topic_name)
    found_kinds = kinds(expected["alerts"])
    print(", ".join(f"{len(rows):,} {name}" for name, rows in expected.items()) + f"; alerts {dict(found_kinds)}")
    different = differences(found, expected)
    assert not different, "\n".join(different)
    enough = 1_000 if messages >= 100_000 else 1
    assert {kind: found_kinds[kind] >= enough for kind in KINDS} == dict.fromkeys(KINDS, True), found_kinds
    held_back = {row[2] for row in expected["suppressed"]}
    # In some minutes of traffic not every host has had its large transfer.
    rare = {"anomaly"} if enough > 1 else held_back & {"anomaly"}
    assert held_back == {"rule", "threshold", "text", "alert", "correlation"} | rare
    assert len(expected["messages"]) == len(expected["alerts"])
    # Beyond what is remembered of a host, its alerts depend on arrival if some wait for the watermark and some do not.
    impatient = {row[5] for row in expected["alerts"] if row[1] == "rule" and row[4] >= Level.high}
    remembered = Counter(row[5] for row in expected["alerts"] if row[5] in impatient)
    assert max(remembered.values()) < MAX_OPEN, remembered.most_common(3)
