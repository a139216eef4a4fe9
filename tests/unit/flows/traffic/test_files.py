"""Traffic in files."""

from __future__ import annotations

import json
from pathlib import Path

from flows.traffic import Traffic, TrafficSettings, write_files
from flows.traffic.clock import HOUR, MINUTE, SECOND

START = 1_704_672_000 * SECOND + 10 * HOUR


def test_files_hold_all_messages_in_order_and_the_truth_points_at_attacks(tmp_path: Path) -> None:
    source = Traffic(
        2, START, TrafficSettings.model_validate({"attacks": [("sql_injection", 5)], "attacks_per_hour": 0})
    )
    until = START + 4 * MINUTE
    written = write_files(source, until, tmp_path)
    messages = list(source.messages(until))
    assert sum(written.lines.values()) == len(messages)
    assert {path.name for path in tmp_path.iterdir()} == {*written.lines, "truth.jsonl"}
    for host in ("web-01", "web-02"):
        lines = (tmp_path / f"{host}.log").read_bytes().splitlines()
        assert lines == [m.value for m in messages if m.format == "apache" and m.host == host]
    hostile = [m for m in messages if m.attack_id]
    truth = [json.loads(line) for line in (tmp_path / "truth.jsonl").read_bytes().splitlines()]
    assert written.attacks == {"sql_injection-1": len(hostile)} and len(truth) == len(hostile)
    for row, message in zip(truth, hostile, strict=True):
        assert row["event"] == f"{row['file']}-0-{row['line']}"
        assert (tmp_path / row["file"]).read_bytes().splitlines()[row["line"]] == message.value
        assert (row["truth"], row["attack"], row["host"]) == (message.truth, message.attack_id, message.host)
