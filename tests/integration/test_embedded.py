"""The embedded services work, and nothing of them is left, however Winnow ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from state.embedded import EmbeddedError, EmbeddedKafka, EmbeddedPostgres, EmbeddedServices, EmbeddedValkey
from state.embedded import folder as folder_module
from state.embedded import kafka as kafka_module
from state.embedded import keeper as keeper_script
from state.embedded import postgres as postgres_module
from state.embedded.folder import MAX_FOLDER_BYTES, Folder
from state.embedded.keeper import LOCK, SERVERS, start_time
from state.embedded.server import Keeper

ROOT = Path(__file__).resolve().parents[2]

#: Starts all three, says where, and then does what its argument says.
PROGRAM = textwrap.dedent(
    """
    import json, os, sys, time
    from pathlib import Path
    from state.embedded import EmbeddedServices

    with EmbeddedServices(Path(sys.argv[1])) as services:
        services.postgres.create_database("some")
        print(json.dumps(services.environment), flush=True)
        if sys.argv[2] == "return":
            sys.exit(0)
        if sys.argv[2] == "raise":
            raise ValueError("a bug of ours")
        if sys.argv[2] == "fork":
            if os.fork() == 0:
                print(os.getpid(), flush=True)  # this child holds copies of all our pipes
        time.sleep(60)
    """
)


@pytest.fixture
def run_folder() -> Iterator[Path]:
    """A path whose parents are open to Postgres's user, which pytest's tmp_path is not when run by root."""
    with tempfile.TemporaryDirectory(prefix="winnow-test-") as parent:
        Path(parent).chmod(0o711)
        yield Path(parent) / "run"


def processes_of(folder: Path) -> list[psutil.Process]:
    """Return all processes that name the folder, work in it, or run below one that does."""
    found = set()
    for process in psutil.process_iter():
        try:
            if str(folder) in " ".join(process.cmdline()) or process.cwd().startswith(str(folder)):
                found |= {process, *process.children(recursive=True)}
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return [process for process in found if process.pid != os.getpid()]


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(processes: list[psutil.Process]) -> bool:
    return not any(lives(process) for process in processes)


def names(processes: list[psutil.Process]) -> set[str]:
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.add(process.name())
    return found


def eventually(true: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.05)
    return true()


Started = tuple[subprocess.Popen[str], list[psutil.Process]]


@pytest.fixture
def start_program(run_folder: Path) -> Iterator[Callable[[str], Started]]:
    """Start the program and return it with the processes that it started; end it if the test failed to."""
    programs = []

    def start(way: str) -> Started:
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(run_folder), way],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        programs.append(program)
        assert program.stdout and program.stderr
        line = program.stdout.readline()
        assert line, program.stderr.read()
        return program, [process for process in processes_of(run_folder) if process.pid != program.pid]

    yield start
    for program in programs:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()
    eventually(lambda: gone(processes_of(run_folder)))  # before their folder is removed under them


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
        ours = processes_of(run_folder)
        listening = {
            connection.laddr
            for process in ours
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
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


@pytest.mark.parametrize(
    ("way", "number"),
    [
        ("return", None),
        ("raise", None),
        ("wait", signal.SIGINT),
        ("wait", signal.SIGTERM),
        ("wait", signal.SIGHUP),
        ("wait", signal.SIGKILL),
        ("fork", signal.SIGKILL),
    ],
)
def test_nothing_is_left_however_winnow_ends(
    run_folder: Path, start_program: Callable[[str], Started], way: str, number: int | None
) -> None:
    program, processes = start_program(way)
    forked = []
    if way == "fork":
        assert program.stdout
        forked = [psutil.Process(int(program.stdout.readline()))]
        processes = [process for process in processes if process not in forked]
    if number is not None:
        assert {"tansu", "postgres", "valkey-server"} <= names(processes)
        program.send_signal(number)
    program.wait(20)
    assert all(lives(child) for child in forked)
    assert eventually(lambda: gone(processes)), names(processes)
    assert eventually(lambda: not run_folder.exists()), list(run_folder.iterdir())
    assert gone([process for process in processes_of(run_folder) if process not in forked])


def test_ctrl_c_in_a_terminal_reaches_the_servers_only_through_us(
    run_folder: Path, start_program: Callable[[str], Started]
) -> None:
    """A terminal signals its whole foreground group; the servers must end after us, not under us."""
    program, processes = start_program("wait")
    groups = set()
    for process in processes:
        with contextlib.suppress(ProcessLookupError):  # one of the start-up may be gone by now
            groups.add(os.getpgid(process.pid))
    assert groups and groups.isdisjoint({os.getpgid(program.pid)})
    os.killpg(program.pid, signal.SIGINT)
    assert program.stderr
    assert "KeyboardInterrupt" in program.stderr.read()
    program.wait(20)
    assert not run_folder.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_keeper_and_winnow_killed_at_once(run_folder: Path, start_program: Callable[[str], Started]) -> None:
    program, processes = start_program("wait")
    [keeper] = psutil.Process(program.pid).children()  # not from the list: processes of a start-up may be gone by now
    keeper.kill()
    program.kill()
    program.wait(20)
    assert eventually(lambda: gone(processes)), names(processes)
    assert run_folder.exists()
    with EmbeddedServices(run_folder) as services:  # the next start recovers
        assert services.ended == ()
        assert not (run_folder / "postgres" / "some").exists()
    assert not run_folder.exists()


def test_a_server_that_dies_is_named(run_folder: Path) -> None:
    with EmbeddedServices(run_folder, kafka=False, postgres=False) as services:
        [server] = [process for process in processes_of(run_folder) if process.name() == "valkey-server"]
        server.kill()
        assert eventually(lambda: services.ended == ("valkey",))


def test_next_start_ends_only_processes_that_are_provably_ours(run_folder: Path) -> None:
    ours = subprocess.Popen(["/bin/sleep", "60"])
    other = subprocess.Popen(["/bin/sleep", "60"])
    try:
        run_folder.mkdir()
        (run_folder / LOCK).touch()
        rows = [
            {"name": "kafka", "pid": ours.pid, "start": start_time(ours.pid)},
            # The pid was given to somebody else since.
            {"name": "valkey", "pid": other.pid, "start": f"{start_time(other.pid)}0"},
        ]
        (run_folder / SERVERS).write_text(json.dumps(rows))
        Keeper(run_folder).close()
        assert ours.wait(10) == -signal.SIGQUIT
        assert other.poll() is None
    finally:
        ours.kill()
        other.kill()
        ours.wait()
        other.wait()


def test_default_folders_of_dead_owners_are_swept(monkeypatch: pytest.MonkeyPatch, run_folder: Path) -> None:
    monkeypatch.setattr(folder_module.tempfile, "gettempdir", lambda: str(run_folder.parent))
    first, second = Keeper(), Keeper()
    first._process.kill()  # its folder stays
    first._process.wait()
    assert first.folder.exists()
    third = Keeper()
    assert not first.folder.exists()
    assert second.folder.exists()  # its owner lives
    second.close()
    third.close()
    first.close()
    assert list(third.folder.parent.iterdir()) == [third.folder.parent / LOCK]


def test_folder_in_use_is_refused(run_folder: Path) -> None:
    keeper = Keeper(run_folder)
    try:
        with pytest.raises(EmbeddedError, match="in use"):
            EmbeddedValkey(run_folder).start()
    finally:
        keeper.close()


def test_folder_with_files_of_others_is_left_alone(run_folder: Path) -> None:
    run_folder.mkdir(mode=0o755)
    run_folder.chmod(0o755)
    (run_folder / "thesis.tex").write_text("years of work")
    with pytest.raises(EmbeddedError, match="not Winnow's"):
        EmbeddedPostgres(run_folder).start()
    assert (run_folder / "thesis.tex").read_text() == "years of work"
    assert stat.S_IMODE(run_folder.stat().st_mode) == 0o755


def test_folder_too_deep_for_a_socket_is_refused(run_folder: Path) -> None:
    with pytest.raises(EmbeddedError, match="Unix socket"):
        Folder.open(run_folder / ("d" * MAX_FOLDER_BYTES))
    assert not run_folder.exists()


def test_longest_folder_serves(run_folder: Path) -> None:
    path = run_folder.parent / ("d" * (MAX_FOLDER_BYTES - len(os.fsencode(run_folder.parent)) - 1))
    with EmbeddedServices(path, kafka=False) as services:
        psycopg.connect(services.postgres.dsn).close()


def test_error_of_a_failing_server_holds_its_log(run_folder: Path) -> None:
    class Broken(EmbeddedPostgres):
        def _launch(self, keeper: Keeper):  # type: ignore[no-untyped-def]
            process = keeper.start(
                "broken", ["/bin/sh", "-c", "echo no space left >&2; exit 3"], cwd=Path("/"), stop_signal=9
            )
            process.wait_until(self._connect, 10)
            return process

    with pytest.raises(EmbeddedError, match=r"(?s)broken ended with status 3.*no space left"):
        Broken(run_folder).start()
    assert not run_folder.exists()


def test_server_that_never_answers_times_out(run_folder: Path) -> None:
    class Mute(EmbeddedKafka):
        def _launch(self, keeper: Keeper):  # type: ignore[no-untyped-def]
            process = keeper.start("mute", ["/bin/sleep", "60"], cwd=Path("/"), stop_signal=15)
            process.wait_until(lambda: (_ for _ in ()).throw(ConnectionRefusedError("nobody there")), 0.2)
            return process

    with pytest.raises(EmbeddedError, match=r"mute gave no answer in 0\.2 s \(nobody there\)"):
        Mute(run_folder).start()
    assert not run_folder.exists()


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
