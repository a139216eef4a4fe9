"""Nothing is left of the embedded services, however Winnow ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from state.embedded import EmbeddedError, EmbeddedKafka, EmbeddedPostgres, EmbeddedServices
from state.embedded.keeper import LOCK, SERVERS, start_time
from state.embedded.server import Keeper
from tests.integration.embedded.processes import Started, eventually, gone, lives, names, processes_of


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
