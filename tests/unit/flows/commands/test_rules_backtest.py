"""``winnow rules backtest``: an engineer changes rules and asks what that would do to last week."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.cli import main

IDS = [f"{digit * 8}-1111-4111-8111-111111111111" for digit in "123"]
Output = pytest.CaptureFixture[str]


def rule(i: int, kind: str, **more: Any) -> dict[str, Any]:
    return {
        "title": f"Rule {i}",
        "id": IDS[i],
        "logsource": {"product": "zeek", "service": "dns"},
        "detection": {"sel": {"qtype_name": kind}, "condition": "sel"},
        **more,
    }


def dns(kind: str, day: int) -> bytes:
    event = {"_path": "dns", "ts": 1600000000.5 + day * 86400, "uid": "C1", "id.orig_h": "10.0.0.1", "id.orig_p": 4}
    return json.dumps({**event, "id.resp_h": "10.0.0.2", "id.resp_p": 53, "qtype_name": kind}).encode()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write("old", rule(0, "A"), rule(1, "AXFR"))
    write("new", rule(0, "A"), rule(1, "TXT"), rule(2, "MX"))
    lines = [dns("A", 0), dns("AXFR", 0), b"{broken", dns("TXT", 1), dns("TXT", 1), dns("MX", 1)]
    Path("week.json.gz").write_bytes(gzip.compress(b"\n".join(lines)))
    return tmp_path


def write(name: str, *rules: dict[str, Any]) -> None:
    for i, each in enumerate(rules):
        path = Path(name) / f"{i}.yml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(each))


def report(capsys: Output, *words: str) -> tuple[int, dict[str, Any]]:
    words = ("rules", "backtest", "--rules", "new", "--baseline", "old", "week.json.gz", "--json", *words)
    status = main(words)
    return status, json.loads(capsys.readouterr().out)


def test_what_the_change_adds_and_removes_by_rule_and_day_with_samples(capsys: Output) -> None:
    status, found = report(capsys, "--samples", "1")
    assert status == 0
    assert found["matches"] == {"added": 3, "removed": 1, "kept": 1}
    by_rule = {each["id"]: each for each in found["by_rule"]}
    counts = {i: [by_rule[IDS[i]][name] for name in ("fate", "added", "removed", "kept")] for i in range(3)}
    assert counts == {0: ["unchanged", 0, 0, 1], 1: ["changed", 2, 1, 0], 2: ["new", 1, 0, 0]}
    assert by_rule[IDS[1]]["samples"] == [
        {"verdict": "added", "place": "week.json.gz:3", "reason": 'qtype_name="TXT" (is txt)'},
        {"verdict": "removed", "place": "week.json.gz:1", "reason": 'qtype_name="AXFR" (is axfr)'},
    ]
    assert found["by_day"] == {
        "2020-09-13": {"added": 0, "removed": 1, "kept": 1},
        "2020-09-14": {"added": 3, "removed": 0, "kept": 0},
    }
    assert found["files"] == [
        {"file": "week.json.gz", "lines": 6, "events": 5, "rejected": {"malformed_json": 1}}
    ]  # fmt: skip
    assert {name: [d["id"] for d in found["changes"][name]] for name in ("new", "changed", "removed")} == {
        "new": [IDS[2]],
        "changed": [IDS[1]],
        "removed": [],
    }
    assert found["cost"]["by_rule"].keys() == set(IDS)


def test_the_text_says_the_same(capsys: Output) -> None:
    words = ["rules", "backtest", "--rules", "new", "--baseline", "old", "week.json.gz"]
    assert main(words) == 0
    text, err = capsys.readouterr()
    assert "+3 added, -1 removed, 1 kept" in text and "1 new, 0 removed, 1 changed, 0 reworded, 1 unchanged" in text
    assert 'week.json.gz:1: qtype_name="AXFR"' in text and "2020-09-14       +3        0        0" in text
    assert "without the prefilter" in text and "1 rules match the same in both; 1 are compared" in err


def test_a_rule_that_the_change_breaks_loses_its_matches_and_fails(capsys: Output) -> None:
    write("new", rule(0, "A", detection={"sel": {"qtype_name|re": "("}, "condition": "sel"}))
    status, found = report(capsys)
    assert status == 1
    (broken,) = (each for each in found["by_rule"] if each["id"] == IDS[0])
    assert (broken["removed"], broken["fate"]) == (1, "changed")


def test_a_filter_that_comes_to_the_rules_changes_what_unchanged_rules_match(capsys: Output) -> None:
    sigma_filter = {
        "title": "Own",
        "logsource": {"product": "zeek", "service": "dns"},
        "filter": {"rules": "any", "own": {"id.orig_h": "10.0.0.1"}, "condition": "not own"},
    }
    write("new", rule(0, "A"), rule(1, "AXFR"), sigma_filter)
    _, found = report(capsys)
    assert found["matches"] == {"added": 0, "removed": 2, "kept": 0} and found["changes"]["filters_changed"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--rules", "gone", "--baseline", "old", "week.json.gz"), "gone"),
        (("--rules", "new", "--baseline", "old", "gone.json"), "gone.json"),
        (("--rules", "new", "--baseline", "old", "week.json.gz", "--samples", "-1"), "--samples"),
        (("--rules", "new", "--baseline", "old", "week.json.gz", "--format", "xml"), "no such format"),
        (("--rules", "new", "--baseline", "empty", "week.json.gz"), "empty: no rule in force"),
    ],
)
def test_bad_input_is_status_2_and_one_line(words: tuple[str, ...], said: str, capsys: Output) -> None:
    Path("empty").mkdir()
    assert main(["rules", "backtest", *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err and len(err.splitlines()) == 1
