"""The first thing anybody runs: it ends by itself with counts that agree, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("WINNOW_")},
    )


def descendants_when(demo: subprocess.Popen[str], said: str) -> list[psutil.Process]:
    """Return what runs below the demo once it has said something."""
    assert demo.stderr is not None
    for line in demo.stderr:
        if said in line:
            break
    return psutil.Process(demo.pid).children(recursive=True)


def gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=10)[1]


def test_headless_demo_ends_with_one_line_of_counts_and_leaves_nothing() -> None:
    demo = start("--seconds", "9", "--headless")
    started = descendants_when(demo, "are being sent")
    out, err = demo.communicate(timeout=180)
    assert demo.returncode == 0, err
    (line,) = out.splitlines()
    counts = json.loads(line)
    assert set(counts) == {"events", "rejected", "alerts", "incidents", "lanes", "events_per_second"}
    assert counts["events"] == sum(counts["lanes"].values()) > 10_000
    assert counts["rejected"] == 0
    assert counts["alerts"] > 5
    assert len(started) >= 4 and gone(started)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_with_console_ends_cleanly_when_told(number: signal.Signals) -> None:
    pytest.importorskip("streamlit")
    demo = start()
    started = descendants_when(demo, "console: http://127.0.0.1:")
    names = {name for process in started for name in (Path(part).name for part in process.cmdline())}
    assert {"streamlit", "tansu", "postgres"} & names
    time.sleep(1)
    demo.send_signal(number)
    out, err = demo.communicate(timeout=120)
    assert demo.returncode == 0, err
    assert json.loads(out)["events"] > 0
    assert gone(started)


def test_demo_that_is_killed_leaves_nothing() -> None:
    demo = start("--headless")
    started = descendants_when(demo, "are being sent")
    demo.kill()
    demo.communicate()
    assert len(started) >= 4 and gone(started)
