from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.embedded.processes import PROGRAM, ROOT, Started, eventually, gone, processes_of


@pytest.fixture
def run_folder() -> Iterator[Path]:
    """A path whose parents are open to Postgres's user, which pytest's tmp_path is not when run by root."""
    with tempfile.TemporaryDirectory(prefix="winnow-test-") as parent:
        Path(parent).chmod(0o711)
        yield Path(parent) / "run"


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
