"""The number of workers changes nothing in what a replay of real telemetry writes, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.replay import replay
from flows.settings import Settings
from tests.integration.test_datasets import DATA_SETS, unpack

#: Lines of each file that are replayed.
LINES = 3_000


@pytest.mark.data
def test_one_worker_and_four_write_the_same_bytes(data_dir: Path, tmp_path: Path) -> None:
    files = [
        path
        for data_set in DATA_SETS
        for path in unpack(data_dir, data_set.folder, tmp_path / data_set.folder, first=LINES)
    ]
    # All of it can be read; so that there is something to reject, some lines of one file are cut short.
    cut = next(path for path in files if path.name.startswith("events") and "attack" in path.parent.name)
    lines = cut.read_bytes().splitlines()
    cut.write_bytes(b"\n".join(line[: 100 if number % 250 == 0 else None] for number, line in enumerate(lines)) + b"\n")
    written: list[dict[str, bytes]] = []
    for workers in (1, 4):
        out = tmp_path / f"out-{workers}"
        replay(files, out, Settings(), workers=workers)
        summary = json.loads((out / "summary.json").read_bytes())
        del summary["events_per_second"], summary["judging"]  # which are about the machine
        written.append(
            {path.name: path.read_bytes() for path in out.iterdir()} | {"summary.json": repr(summary).encode()}
        )
    one, four = written
    names = {
        "alerts.jsonl",
        "escalations.jsonl",
        "incidents.jsonl",
        "notifications.jsonl",
        "rejected.jsonl",
        "summary.json",
    }
    assert one.keys() == names
    assert len(one["alerts.jsonl"].splitlines()) > 100
    assert len(one["rejected.jsonl"].splitlines()) > 10
    assert one == four
