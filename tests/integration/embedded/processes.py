"""A program with embedded services, and the processes that it leads to."""

from __future__ import annotations

import contextlib
import os
import subprocess
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[3]

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
