"""``winnow run`` under its supervisor: what dies or hangs is started again, and nothing is lost or doubled."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import orjson
import psutil
import pytest
from prometheus_client import REGISTRY

from flows.cli import main
from flows.supervisor import Supervisor
from operators.kafka.topics import PartitionWatch
from state.embedded import EmbeddedKafka, EmbeddedPostgres
from state.postgres import connect
from state.revisions import migrate
from tests.integration.live import create_topic, send, settings
from tests.integration.load import Load
from tests.integration.supervised import Run, run, settled, supervised


def test_a_killed_worker_is_said_and_all_go_on(kafka: str, postgres_dsn: str, topic_name: str, tmp_path: Path) -> None:
    load = Load.make(seed=3, messages=3_000, partitions=3)
    create_topic(kafka, topic_name, 3)
    variables = supervised(kafka, postgres_dsn, topic_name, tmp_path, "killed", **load.settings(topic_name))
    load.send(kafka, topic_name, 0, 2_000)
    with run(variables, workers=2) as running:
        running.until_ready()
        load.send(kafka, topic_name, 2_000, None)
        victim = running.workers()[1]
        running.until(lambda: bool(running.health()[1]["workers"][1]["messages_read"]))
        victim.kill()
        running.until_ready(restarts=1)
        assert 'winnow_restarts_total{reason="killed"} 1.0' in running.metrics()
        assert "worker 1 was ended by SIGKILL" in running.log.read_text()
        code, body = running.health(worker=0)
        assert (code, body["status"]) == (200, "ok")
        assert body["last_poll_age_seconds"] < 10
        assert running.stop() < 20


def test_hung_worker_is_started_again(kafka: str, postgres_dsn: str, topic_name: str, tmp_path: Path) -> None:
    create_topic(kafka, topic_name, 2)
    variables = supervised(kafka, postgres_dsn, topic_name, tmp_path, "hung", WINNOW_SUPERVISOR__STALL_SECONDS="4")
    with run(variables, workers=2) as running:
        running.until_ready()
        running.workers()[0].suspend()
        running.until_ready(restarts=1)
        assert 'winnow_restarts_total{reason="stalled"}' in running.metrics()
        assert "worker 0 stands still for" in running.log.read_text()


def test_workers_end_with_a_killed_supervisor(kafka: str, postgres_dsn: str, topic_name: str, tmp_path: Path) -> None:
    create_topic(kafka, topic_name, 2)
    variables = supervised(kafka, postgres_dsn, topic_name, tmp_path, "orphans")
    with run(variables, workers=2) as running:
        running.until_ready()
        workers = running.workers()
        workers[1].suspend()
        running.process.kill()
        running.process.wait()
        _, alive = psutil.wait_procs(workers, timeout=5)
        assert alive == []


def test_second_run_on_a_store_is_refused_and_ctrl_c_drains_and_ends_with_0(
    kafka: str, postgres_dsn: str, topic_name: str, tmp_path: Path
) -> None:
    create_topic(kafka, topic_name)
    variables = supervised(kafka, postgres_dsn, topic_name, tmp_path, "shared")
    with run(variables) as running:
        running.until_ready()
        assert "in use by another winnow run" in refused(variables)
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(20) == 0


def test_a_crash_that_comes_again_and_again_is_given_up(
    kafka: str, postgres_dsn: str, topic_name: str, tmp_path: Path
) -> None:
    create_topic(kafka, topic_name)
    variables = supervised(kafka, postgres_dsn, topic_name, tmp_path, "crash", WINNOW_SUPERVISOR__MAX_FAILURES="2")
    migrate(postgres_dsn)
    # A table is gone: Postgres refuses what the workers write, each time.
    with connect(postgres_dsn, autocommit=True) as database:
        database.execute("DROP TABLE ledger")
    send(kafka, topic_name, [b'{"_path":"conn","ts":1704700800,"id.orig_h":"10.0.0.5","id.resp_h":"192.0.2.1"}'])
    failed = Run(variables, 1)
    assert failed.process.wait(180) == 1  # two clusters start and fail, on a busy machine slowly
    assert "given up" in failed.log.read_text()


def test_a_database_that_is_away_is_waited_for_and_no_worker_is_blamed(
    kafka: str, topic_name: str, tmp_path: Path
) -> None:
    create_topic(kafka, topic_name, 2)
    with EmbeddedPostgres() as own:
        variables = supervised(
            kafka, own.dsn, topic_name, tmp_path, "away",
            WINNOW_SUPERVISOR__STALL_SECONDS="4", WINNOW_SUPERVISOR__DRAIN_SECONDS="3",
        )  # fmt: skip
        running = Run(variables, 2)
        running.until_ready()
    send(kafka, topic_name, [b"{}"] * 10)
    running.until(lambda: running.health()[1]["status"] == "waiting")
    time.sleep(6)  # longer than a worker may stand still
    code, body = running.health()
    assert (code, body["status"], body["restarts"]) == (200, "waiting", 0)
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(60) == 1
    assert "did not drain" in running.log.read_text()


def test_partitions_that_nobody_reads_are_seen(kafka: str, topic_name: str, caplog: pytest.LogCaptureFixture) -> None:
    create_topic(kafka, topic_name, 3)
    watch = PartitionWatch(settings(kafka, topic_name).kafka, [f"{topic_name}-0"], every=3600)
    for _ in range(2):
        watch.look()
    assert REGISTRY.get_sample_value("winnow_partitions_unread") == 2
    assert [record.getMessage().count(topic_name) for record in caplog.records] == [2]


@pytest.fixture(scope="module")
def stored(
    kafka: str, module_postgres_dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, str]]:
    """Return topic and settings of a run that has left a store behind."""
    topic = f"store-{os.urandom(4).hex()}"
    create_topic(kafka, topic, 2)
    send(kafka, topic, [b"{}"] * 10)
    variables = supervised(kafka, module_postgres_dsn, topic, tmp_path_factory.mktemp("store"), "store")
    with run(variables) as running:
        running.until(lambda: settled(module_postgres_dsn, 10))
    return topic, variables


class TestStore:
    """The recovery store is tied to its topics and versions."""

    @pytest.fixture
    def topic_name(self, stored: tuple[str, dict[str, str]]) -> str:
        """Return the topic that the store is of."""
        return stored[0]

    @pytest.fixture
    def variables(self, stored: tuple[str, dict[str, str]], tmp_path: Path) -> dict[str, str]:
        """Return the settings of the next run, on a copy of the store that is the test's own."""
        folder = tmp_path / "store"
        shutil.copytree(stored[1]["WINNOW_RECOVERY__FOLDER"], folder)
        return {**stored[1], "WINNOW_RECOVERY__FOLDER": str(folder)}

    def test_another_topic_is_refused(self, kafka: str, variables: dict[str, str], topic_name: str) -> None:
        create_topic(kafka, f"{topic_name}.other")
        said = refused_here({**variables, "WINNOW_KAFKA__TELEMETRY": f'["{topic_name}.other"]'})
        assert f"it is of topic {topic_name} too" in said
        assert "move the folder away" in said

    def test_another_cluster_is_refused(self, variables: dict[str, str], topic_name: str) -> None:
        with EmbeddedKafka() as other:
            create_topic(other.bootstrap_servers, topic_name, 2)
            said = refused_here({**variables, "WINNOW_KAFKA__BOOTSTRAP_SERVERS": other.bootstrap_servers})
        assert "it is of Kafka cluster" in said

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"snapshots": {"host": 0}}, "another version"),
            ({"partitions": [0, 1, 2]}, "has lost partitions 2"),
            ({"id": "x"}, "was deleted and made anew"),
        ],
    )
    def test_a_store_that_does_not_fit_is_refused(
        self, variables: dict[str, str], topic_name: str, change: dict[str, object], reason: str
    ) -> None:
        file = Path(variables["WINNOW_RECOVERY__FOLDER"]) / "winnow.json"
        identity = orjson.loads(file.read_bytes())
        if "snapshots" in change:
            identity |= change
        else:
            identity["topics"][topic_name] |= change
        file.write_bytes(orjson.dumps(identity))
        assert reason in refused_here(variables)

    def test_a_store_without_identity_is_refused(self, variables: dict[str, str]) -> None:
        (Path(variables["WINNOW_RECOVERY__FOLDER"]) / "winnow.json").unlink()
        assert "older Winnow" in refused_here(variables)

    def test_positions_beyond_the_end_are_refused(self, kafka: str, variables: dict[str, str], topic_name: str) -> None:
        # As a broker that lost its newest messages would have it: the same topic by name and id, but shorter.
        create_topic(kafka, f"{topic_name}.shorter", 2)
        send(kafka, f"{topic_name}.shorter", [b"{}"] * 9)
        folder = Path(variables["WINNOW_RECOVERY__FOLDER"])
        rename_positions(folder, topic_name, f"{topic_name}.shorter")
        (folder / "winnow.json").write_bytes(
            orjson.dumps(
                orjson.loads((folder / "winnow.json").read_bytes())
                | {"topics": {f"{topic_name}.shorter": {"id": "", "partitions": [0, 1]}}}
            )
        )
        said = refused_here({**variables, "WINNOW_KAFKA__TELEMETRY": f'["{topic_name}.shorter"]'})
        assert f"offset 10 of {topic_name}.shorter-0, which ends at 9" in said

    def test_added_partitions_are_taken_in(
        self, kafka: str, module_postgres_dsn: str, variables: dict[str, str], topic_name: str
    ) -> None:
        # The embedded broker cannot add partitions; to the store it is the same if it knew of fewer.
        file = Path(variables["WINNOW_RECOVERY__FOLDER"]) / "winnow.json"
        identity = orjson.loads(file.read_bytes())
        identity["topics"][topic_name]["partitions"] = [0]
        file.write_bytes(orjson.dumps(identity))
        send(kafka, topic_name, [b"{}"] * 5, partition=1)
        with run({**variables, "WINNOW_KAFKA__START": "latest"}) as running:
            running.until(lambda: settled(module_postgres_dsn, 15))
        assert orjson.loads(file.read_bytes())["topics"][topic_name]["partitions"] == [0, 1]


def rename_positions(folder: Path, old: str, new: str) -> None:
    for path in folder.glob("part-*.sqlite3"):
        with sqlite3.connect(path) as database:
            database.execute(
                "UPDATE snaps SET state_key = replace(state_key, ?, ?) WHERE step_id = 'detect.source'", (old, new)
            )
        database.close()


def refused(variables: dict[str, str]) -> str:
    """Start a run that is refused; return the one line that says so."""
    migrate(variables["WINNOW_POSTGRES__DSN"])
    found = subprocess.run(
        [sys.executable, "-m", "flows.cli", "run"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 2, found.stderr
    lines = [line for line in found.stderr.splitlines() if line.startswith("winnow: ")]
    assert len(lines) == 1, found.stderr
    return lines[0]


def refused_here(variables: dict[str, str]) -> str:
    """Refuse a run as ``refused`` does, but in this process, without the seconds that a new one takes to import."""
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(StringIO()) as said:
        for name, value in variables.items():
            patch.setenv(name, value)
        # One that is not refused is not to start workers here.
        patch.setattr(Supervisor, "run", lambda _: 0)
        assert main(["run"]) == 2, said.getvalue()
    lines = [line for line in said.getvalue().splitlines() if line.startswith("winnow: ")]
    assert len(lines) == 1, said.getvalue()
    return lines[0]
