"""``winnow rules coverage``: what a team's rules cover, and what of it ever fired."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.cli import main

IDS = [f"{digit * 8}-1111-4111-8111-111111111111" for digit in "12"]
Output = pytest.CaptureFixture[str]


def alert(id_: str, rule: str, **more: Any) -> str:
    message = {"version": 1, "id": id_, "kind": "rule", "rule": rule, "name": "R", "count": 3}
    return json.dumps({**message, "techniques": ["T1105"], "tactics": ["execution"], "evidence": [], **more})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("rules").mkdir()
    for i, (product, technique) in enumerate((("windows", "t1105"), ("aws", "t1530"))):
        rule = {
            "title": f"Rule {i}",
            "id": IDS[i],
            "logsource": {"product": product},
            "detection": {"sel": {"a": 1}, "condition": "sel"},
            "tags": ["attack.execution", f"attack.{technique}"],
        }
        Path(f"rules/{i}.yml").write_text(yaml.safe_dump(rule))
    return tmp_path


def test_rules_by_tactic_and_technique(capsys: Output) -> None:
    assert main(["rules", "coverage", "rules"]) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line}
    assert rows["execution"] == ["1", "1"] and rows["T1105"] == ["1", "0"] and rows["T1530"] == ["0", "1"]


def test_what_fired_by_the_alerts_of_a_replay(capsys: Output) -> None:
    lines = [alert("a-1", IDS[0]), alert("a-1", IDS[0], count=4), alert("a-2", IDS[0]), alert("a-3", "gone")]
    Path("alerts.jsonl").write_text("\n".join([*lines, "", alert("a-4", "m:peak", kind="anomaly")]) + "\n")
    assert main(["rules", "coverage", "rules", "--fired", "alerts.jsonl", "--json", "--navigator", "l.json"]) == 0
    report = json.loads(capsys.readouterr().out)
    fired = {row["name"]: row for row in report["techniques"]}
    # The alert that stands twice counts once, as last said.
    assert fired["T1105"] == {"name": "T1105", "rules": 1, "unfed": 0, "fired": 2, "alerts": 3, "events": 10}
    assert [each["rule"] for each in report["fired_outside"]] == ["gone"]
    layer = json.loads(Path("l.json").read_text())
    assert {t["techniqueID"]: t["score"] for t in layer["techniques"]} == {"T1105": 1, "T1530": 0}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("gone",), "gone"),
        (("rules", "--fired", "gone.jsonl"), "gone.jsonl: no such file"),
        (("rules", "--fired", "bad.jsonl"), "bad.jsonl:1: no alert message"),
        (("rules", "--navigator", "nowhere/l.json"), "--navigator nowhere/l.json: No such file"),
        (("rules", "--postgres"), "postgres.dsn"),
    ],
)
def test_bad_input_is_status_2_and_one_line(words: tuple[str, ...], said: str, capsys: Output) -> None:
    Path("bad.jsonl").write_text('{"id": 3}\n')
    assert main(["rules", "coverage", *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err and len(err.splitlines()) == 1
