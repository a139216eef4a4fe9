"""Other engines beside ours: one that cannot be had or fails is skipped with its reason, and never counted wrongly."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import peers
from benchmarks.engines import sqlite_engines

NXLOG = {
    "EventID": 1,
    "Channel": "Sysmon",
    "SourceName": "P",
    "ProcessID": 4,
    "ProcessId": 77,
    "Image": r"C:\Windows\CMD.exe",
}
WINLOGBEAT = {
    "event_id": 1,
    "log_name": "Sysmon",
    "source_name": "P",
    "event_data": {"Image": r"C:\x\cmd.exe", "ProcessId": "77"},
}
OTHER = {"EventID": 10, "Channel": "Sysmon", "Image": r"C:\Windows\cmd.exe", "Elevated": True, "Groups": ["a", "b"]}


def ours() -> peers.Found:
    return peers.Found(frozenset({(0, "a"), (1, "b")}), 0.5)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_without_a_package_index_each_peer_is_skipped_in_one_line(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    report = peers.measure([b"{}"], [], tmp_path, ours)
    assert set(report) == {peer.name for peer in peers.PEERS}
    for said in peers.table(report):
        assert "skipped: " in said and "No matching distribution found for pySigma" in said
        assert "\n" not in said
    # What was begun is gone: it would be taken for an environment by the next run.
    assert not list((cache / "winnow" / "bench").iterdir())


def test_an_engine_that_breaks_is_skipped_with_what_it_said_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This Python has none of the packages that the engine needs.
    monkeypatch.setattr(peers, "environment", lambda name, requirements: Path(sys.executable))
    with pytest.raises(peers.Skipped, match="ModuleNotFoundError: No module named 'zargunlite'"):
        (tmp_path / "converted.json").write_text("[]")
        (tmp_path / "lines.jsonl").write_bytes(b"{}\n")
        job = {
            "engine": "zargunlite",
            "lines": str(tmp_path / "lines.jsonl"),
            "converted": str(tmp_path / "converted.json"),
        }
        peers.run(Path(sys.executable), peers.ENGINES / "sqlite_engines.py", job, tmp_path)


def test_an_engine_that_does_not_end_is_skipped() -> None:
    with pytest.raises(peers.Skipped, match="took longer than 1 s"):
        peers.call([sys.executable, "-c", "import time; time.sleep(60)"], patience=1)


def test_a_cache_folder_that_cannot_be_written_skips(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(peers.Skipped, match="no environment at"):
        peers.environment("x", ["x==1"])


def test_agreement_and_ratio_are_of_the_same_lines() -> None:
    theirs = peers.Found(frozenset({(0, "a"), (2, "c"), (3, "c")}), 5.0)
    assert peers.compare(100, ours(), theirs) == {
        "rate": 20.0,
        "winnow_rate": 200.0,
        "ratio": 10.0,
        "both": 1,
        "winnow_only": 1,
        "peer_only": 2,
    }


def asked(folder: Path, *rules: tuple[str, str]) -> dict[str, Any]:
    lines, converted = folder / "lines.jsonl", folder / "converted.json"
    lines.write_text("".join(json.dumps(event) + "\n" for event in (NXLOG, WINLOGBEAT, OTHER)))
    named = ["Image", "ProcessId", "Elevated", "Groups", "Provider_Name", "Absent"]
    converted.write_text(
        json.dumps([{"id": id, "title": id, "required_fields": named, "rule": [sql]} for id, sql in rules])
    )
    return sqlite_engines.run({"engine": "sqlite", "lines": str(lines), "converted": str(converted)})


@pytest.mark.parametrize(
    ("where", "lines"),
    [
        # Both schemas are one table; text is compared without case.
        ("EventID=1 AND Image LIKE '%\\\\cmd.exe' ESCAPE '\\'", [0, 1]),
        ("Channel='sysmon' AND Provider_Name='p'", [0, 1]),
        # NXLog's header has a ProcessID beside the event's ProcessId, which the rule means.
        ("ProcessId=77", [0, 1]),
        ("ProcessId=4", []),
        ("Elevated='true'", [2]),
        ("Groups LIKE '%\"b\"%'", [2]),
        ("Absent IS NULL AND Image REGEXP 'CMD'", [0]),
    ],
)
def test_a_peer_sees_the_fields_as_rules_name_them(where: str, lines: list[int], tmp_path: Path) -> None:
    done = asked(tmp_path, ("r", f"SELECT * FROM logs WHERE {where}"))
    assert done["refused"] == {}
    assert done["pairs"] == [(line, "r") for line in lines]


def test_a_rule_that_sqlite_refuses_is_named_and_the_others_are_judged(tmp_path: Path) -> None:
    done = asked(
        tmp_path, ("bad", "SELECT * FROM logs WHERE nonsense("), ("good", "SELECT * FROM logs WHERE EventID=10")
    )
    assert list(done["refused"]) == ["bad"]
    assert done["pairs"] == [(2, "good")]
