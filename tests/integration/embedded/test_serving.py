"""The embedded services work, and nobody else reaches them."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from state.embedded import EmbeddedError, EmbeddedKafka, EmbeddedPostgres, EmbeddedServices, EmbeddedValkey
from state.embedded import kafka as kafka_module
from state.embedded import keeper as keeper_script
from state.embedded import postgres as postgres_module
from state.embedded.server import Keeper
from tests.integration.embedded.processes import PROGRAM, ROOT, processes_of


def test_all_three_serve(run_folder: Path) -> None:
    with EmbeddedServices(run_folder) as services:
        producer = Producer({"bootstrap.servers": services.kafka.bootstrap_servers})
        producer.produce("told", b"event", key=b"host")
        assert producer.flush(10) == 0
        consumer = Consumer(
            {"bootstrap.servers": services.kafka.bootstrap_servers, "group.id": "g", "session.timeout.ms": 6000}
        )
        consumer.assign([TopicPartition("told", p, OFFSET_BEGINNING) for p in range(4)])
        message = consumer.poll(10)
        consumer.close()
        assert message is not None
        assert (message.key(), message.value()) == (b"host", b"event")
        with psycopg.connect(services.postgres.dsn) as connection:
            row = connection.execute("SELECT current_database(), current_setting('TimeZone'), 'é'::bytea").fetchone()
        assert row == ("winnow", "UTC", "é".encode())
        with redis.Redis.from_url(services.valkey.url) as client:
            client.set("k", "v")
            assert client.get("k") == b"v"
        assert services.ended == ()
        assert services.environment["WINNOW_POSTGRES__DSN"] == services.postgres.dsn
    assert not run_folder.exists()


@pytest.mark.parametrize("crash", [False, True])
def test_postgres_that_stops_and_starts_again_has_its_data(run_folder: Path, crash: bool) -> None:
    with EmbeddedServices(run_folder, kafka=False, valkey=False) as services:
        server, pid = services.postgres, services.postgres.pid
        with psycopg.connect(f"{server.dsn}&options=-csynchronous_commit%3Don", autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
            server.stop(crash=crash)
            assert not server.running
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        server.restart()
        assert server.pid != pid
        with psycopg.connect(server.dsn) as connection:
            assert connection.execute("SELECT value FROM kept").fetchall() == [(7,)]
        assert services.ended == ()
    assert not run_folder.exists()


def test_a_declined_service_is_not_started(run_folder: Path) -> None:
    with EmbeddedServices(run_folder, kafka=False, postgres=False) as services:
        assert list(services.environment) == ["WINNOW_REDIS__URL"]
        with pytest.raises(EmbeddedError, match="declined"):
            _ = services.kafka


def test_close_twice_and_use_after_close(run_folder: Path) -> None:
    server = EmbeddedValkey(run_folder).start()
    url = server.url
    server.close()
    server.close()
    assert not server.running
    with pytest.raises(redis.ConnectionError):
        redis.Redis.from_url(url).ping()


def test_nobody_else_reaches_the_servers(run_folder: Path) -> None:
    with EmbeddedServices(run_folder) as services:
        assert stat.S_IMODE(run_folder.stat().st_mode) & 0o007 == 0
        for private in ("postgres", "valkey"):
            assert stat.S_IMODE((run_folder / private).stat().st_mode) == 0o700
        listening = set()
        for process in processes_of(run_folder):
            with contextlib.suppress(psutil.NoSuchProcess):  # Postgres has some that do not stay
                found = process.net_connections("inet")
                listening |= {connection.laddr for connection in found if connection.status == psutil.CONN_LISTEN}
        port = int(services.kafka.bootstrap_servers.rpartition(":")[2])
        assert listening == {("127.0.0.1", port)}


def test_secrets_of_our_environment_stay_out_of_the_servers(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_LLM__API_KEY", "sk-secret")
    with EmbeddedServices(run_folder):
        environments = []
        for process in processes_of(run_folder):
            with contextlib.suppress(psutil.NoSuchProcess):  # Postgres's own come and go
                if "python" not in process.name():
                    environments.append(process.environ())
        assert len(environments) >= 3
        assert not [environment for environment in environments if "WINNOW_LLM__API_KEY" in environment]


def test_taken_port_is_replaced_by_another(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddedKafka(run_folder) as first:
        ports = iter([first._port, first._port])
        free = sys.modules["state.embedded.kafka"]._free_port
        monkeypatch.setattr("state.embedded.kafka._free_port", lambda: next(ports, None) or free())
        with EmbeddedKafka(run_folder.parent / "second") as second:
            assert second.bootstrap_servers != first.bootstrap_servers


def test_program_that_is_not_there_is_an_error(run_folder: Path) -> None:
    keeper = Keeper(run_folder)
    try:
        with pytest.raises(EmbeddedError, match="FileNotFoundError"):
            keeper.start("none", ["/nonexistent/server"], cwd=Path("/"), stop_signal=9)
    finally:
        keeper.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_works_for_an_ordinary_user_too(run_folder: Path) -> None:
    os.chown(run_folder.parent, 65534, 65534)
    files = [keeper_script.__file__, str(kafka_module.broker_binary()), postgres_module.__file__]
    python = python_of_nobody(files)
    # Our own Python may lie in root's home, out of nobody's reach: a first round loads all modules, the second counts.
    program = PROGRAM.replace(
        "with EmbeddedServices",
        f"EmbeddedServices(Path(sys.argv[1]).with_name('first')).start().close()\n"
        f"sys.executable = {python!r}\n"
        f"os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"with EmbeddedServices",
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(run_folder), "return"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["WINNOW_POSTGRES__DSN"]
    assert not run_folder.exists()


def python_of_nobody(files: list[str]) -> str:
    for python in (sys.executable, "/usr/local/bin/python3", "/usr/bin/python3"):
        try:
            code = "import sys; [open(name).close() for name in sys.argv[1:]]"
            subprocess.run([python, "-c", code, *files], check=True, user=65534, group=65534, extra_groups=[], cwd="/")
            return python
        except (OSError, subprocess.CalledProcessError):
            continue
    pytest.skip("this checkout, or every Python, is out of an ordinary user's reach")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as somebody else")
def test_binaries_that_nobody_can_reach_are_copied(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("state.embedded.postgres._reachable", lambda *_: False)
    with EmbeddedPostgres(run_folder) as server:
        # Not by asking each process: those that Postgres starts for a moment are gone before they answer.
        postmaster = psutil.Process(int(next(run_folder.rglob("postmaster.pid")).read_text().split()[0]))
        assert postmaster.exe().startswith(str(run_folder))
        assert postmaster.username() == "nobody"
        psycopg.connect(server.dsn).close()
