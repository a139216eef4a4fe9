"""Labels from analysts: the audit sample in a real Postgres becomes a calibration, or a refusal that says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from analyzers.bert.excerpt import WINDOWS
from analyzers.bert.manifest import BUILTIN_MODEL
from analyzers.learning.trials import read_training
from analyzers.router.calibration import load
from flows.cli import main
from flows.commands.train import fetch
from flows.lessons import lessons
from flows.settings import load_settings
from state.alerts import Alert, Evidence, Level
from state.audits import Audited
from state.incidents import Incident
from state.postgres import PostgresSettings, connect
from state.revisions import migrate
from state.store import Store

MODEL: str = json.loads((BUILTIN_MODEL / "model.json").read_text())["version"]
FIT = ["calibrate", "--from-feedback", "--max-miss-rate", ".1", "--confidence", ".9", "--out", "c"]


def audited(number: int, probability: float, **other: Any) -> Audited:
    given: dict[str, Any] = {
        "event_id": f"t-0-{number}", "host": "web-1", "time": 1_704_700_800_000_000 + number, "source": "http",
        "text": "/a\x00?\ud800q=1\x1b[2J", "label": "sqli", "malicious": probability, "alerts_from": 0.98,
        "model": MODEL, "windows": WINDOWS, "screen": True, "said": "benign", "calibration": "",
        "one_in": 10_000, "seed": 0,
    }  # fmt: skip
    return Audited(**{**given, **other})


@pytest.fixture
def dsn(postgres_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    migrate(postgres_dsn)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WINNOW_POSTGRES__DSN", postgres_dsn)
    monkeypatch.setenv("WINNOW_BERT__SCREEN", "true")
    return postgres_dsn


def test_the_reviewed_sample_is_a_calibration_and_a_part_of_it_is_none(
    dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # Of 60 malicious ones two are hardly told from benign ones: a tenth may be missed.
    bad = [audited(n, 0.002 if n < 2 else 0.2 + n / 100) for n in range(60)]
    good = [audited(100 + n, 0.001 if n % 10 else 0.5) for n in range(40)]
    others = [audited(900, 0.0, model="0" * 12), audited(901, 0.0, one_in=7), audited(902, 0.0, windows=4)]
    with Store(PostgresSettings.model_validate({"dsn": dsn})) as store:
        for _ in range(2):  # the flow writes again after a crash
            store.write_audits([*bad, *good, *others])
    assert main(FIT) == 2
    assert "100 of 100 texts of the audit sample" in capsys.readouterr().err
    assert main(["audit", "list", "--limit", "1"]) == 0
    line = capsys.readouterr().out
    assert line.startswith("t-0-0  web-1  http") and line.rstrip("\n").isprintable()

    review = ["audit", "review", "t-0-0", "--as", "malicious", "--reason", "it injects", "--author", "ann"]
    assert main(review) == 0 and main([*review[:2], "t-9-9", *review[3:]]) == 2
    with connect(dsn, autocommit=True) as database:  # 98 more as the command says them, one is left
        database.execute(
            "INSERT INTO audit_reviews SELECT event_id, CASE WHEN time < '2024-01-08 08:00:00.0001Z' THEN 'malicious' "
            "ELSE 'benign' END, 'ann', 'looked' FROM audits WHERE model = %s AND one_in = 10000 AND windows = %s "
            "AND event_id NOT IN ('t-0-0', 't-0-59')",
            (MODEL, WINDOWS),
        )
    capsys.readouterr()
    assert main(FIT) == 2
    refused = capsys.readouterr().err
    assert "1 of 100" in refused and "59 are malicious so far, and at least 22 are needed" in refused
    assert main([*review[:2], "t-0-59", *review[3:]]) == 0
    assert main(FIT) == 0
    found = load(Path("c/calibration.json"), MODEL).sources["http"]
    assert (found.malicious, found.benign, found.missed) == (60, 40, 2)
    assert 0.001 < found.benign_below < 0.24
    capsys.readouterr()
    assert main(["calibrate", "--from-feedback", "--out", "d"]) == 2
    assert "http: 60 malicious texts, 239 are missing" in capsys.readouterr().err and not Path("d").exists()


def test_what_was_judged_by_another_model_is_no_sample_of_this_one(
    dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store(PostgresSettings.model_validate({"dsn": dsn})) as store:
        store.write_audits([audited(1, 0.5, model="0" * 12)])
    assert main(FIT) == 2
    assert "1 were judged or drawn otherwise" in capsys.readouterr().err


def _alert(name: str, rule: str, *events: str, kind: str = "text") -> Alert:
    at = 1_704_700_800_000_000
    return Alert(name, kind, rule, "A text", Level.medium, "web-1", at, at, at, len(events), "", evidence=events)


AT = 1_704_700_800_000_000


def _request(path: str, agent: str = "curl/8", **other: Any) -> str:
    told = {"timestamp": "2024-01-08T08:00:00Z", "host": "web-1", "event_type": "http", "url": path}
    return json.dumps({**told, "user_agent": {"original": agent}, **other})


#: Alert, its label, its kind, the verdict on its incident, and its events.
ALERTS: list[tuple[str, str, str, str, dict[str, str]]] = [
    ("true", "sqli", "text", "true_positive", {
        "e1": _request("/search?q=1%27+OR+1%3D1--"),
        "e2": _request("/index.html", "' OR 1=1 UNION SELECT password FROM users--"),
        "e3": "no JSON",
        "e4": _request("/" + "a" * 20_000)[:16_384],
        "e5": _request("/search?q=<script>alert(1)</script>' or '1'='1"),
        "e6": '{"n":1e999,"timestamp":"2024-01-08T08:00:00Z","host":"web-1","event_type":"http","url":"/a\\ud800?id"}',
    }),
    ("false", "sqli", "text", "false_positive", {
        "e7": '192.0.2.7 - - [08/Jan/2024:08:00:00 +0000] "GET /union?station HTTP/1.1" 200 9 "-" "Mozilla/5.0"',
    }),
    ("again", "sqli", "text", "false_positive", {"e8": _request("/nightly"), "e9": _request("/nightly")}),
    ("allowed", "sqli", "text", "benign", {"f1": _request("/scanned-by-us")}),
    ("torn", "sqli", "text", "true_positive", {"f2": _request("/in-doubt?id=1")}),
    ("torn2", "sqli", "text", "false_positive", {"f2": _request("/in-doubt?id=1")}),
    ("also", "xss", "text", "true_positive", {"e5": _request("/search?q=<script>alert(1)</script>' or '1'='1")}),
    ("rule", "r1", "rule", "false_positive", {"f3": _request("/of-a-rule")}),
    ("late", "sqli", "text", "false_positive", {"f4": _request("/after-the-verdict")}),
    ("worse", "sqli", "text", "false_positive", {"f5": _request("/of-what-became-worse")}),
]  # fmt: skip


def test_what_analysts_said_of_texts_is_what_training_learns_from(
    dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store(PostgresSettings.model_validate({"dsn": dsn})) as store:
        for name, rule, kind, _, events in ALERTS:
            store.write_alerts([_alert(name, rule, *events, kind=kind)])
            # By their names an hour apart, the late one ten years.
            times = {e: AT + int(e, 16) * 3_600_000_000 + (name == "late") * 10**16 for e in events}
            store.write_evidence([Evidence(e, name, "web-1", times[e], raw.encode()) for e, raw in events.items()])
            severity = Level.high if name == "worse" else Level.medium
            store.write_incidents(
                [Incident(f"i-{name}", "open", severity, 1, ("web-1",), AT, AT, AT, (), (), 1, (name,), (), "T", "W")]
            )
        store.write_audits(
            [
                audited(1, 0.99, source="shell", text="ls -la"),
                audited(2, 0.01, source="shell", text="bash -i", label="sqli"),
                audited(3, 0.01, text="/a?not-found"),
                audited(4, 0.9, text="/never?reviewed"),
                audited(5, 0.99, text="/x?id=1"),
                audited(6, 0.1, text="/x?" + "y" * 4_000),
            ]
        )
    with connect(dsn, autocommit=True) as database:
        for name, _, _, verdict, _ in ALERTS:
            database.execute(
                "INSERT INTO incident_reviews (incident_id, state, verdict, severity, author, reason) "
                "VALUES (%s, 'closed', %s, %s, 'ann', 'looked')",
                (f"i-{name}", verdict, int(Level.medium)),
            )
    for number, truth in ((1, "benign"), (2, "malicious"), (3, "malicious"), (5, "malicious"), (6, "benign")):
        assert main(["audit", "review", f"t-0-{number}", "--as", truth, "--reason", "looked"]) == 0
    said = lessons(load_settings(None))
    assert {(one.event_id, one.source, one.label) for one in said.found} == {
        ("e1", "http", "sqli"),
        ("e2", "user-agent", "sqli"),  # not its harmless URL
        ("e5", "http", "xss"),  # the last word of those that agree that it is malicious
        ("e6", "http", "sqli"),
        ("e7", "http", "benign"),
        ("e7", "user-agent", "benign"),
        ("e8", "http", "benign"),  # as old as when it first came
        ("e8", "user-agent", "benign"),
        ("t-0-1", "shell", "benign"),
        ("t-0-2", "shell", "malicious-shell"),
        ("t-0-5", "http", "sqli"),
    }
    assert said.left_out == {
        "of a message that cannot be read by itself": 1,
        "kept in part": 2,
        "malicious, but not said of what kind": 1,
    }
    times = [one.time for one in said.found]
    assert times == sorted(times)

    fetch(tmp_path / "v.jsonl", None)
    lines = (tmp_path / "v.jsonl").read_text().splitlines()
    assert len(lines) == len(said.found) and (tmp_path / "v.jsonl").stat().st_mode & 0o777 == 0o600
    assert "11 texts with verdicts, 6 malicious; 2 left out: kept in part" in capsys.readouterr().err
    learned = read_training(tmp_path / "v.jsonl")
    assert [text.labels for text in learned] == [() if one.label == "benign" else (one.label,) for one in said.found]
    fetch(tmp_path / "v.jsonl", Path("no such settings"))
    assert "as they were read before" in capsys.readouterr().err


def test_without_a_verdict_there_is_nothing_to_learn(dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--out", "o", "--from-feedback"]) == 2
    assert "no text has an analyst's verdict" in capsys.readouterr().err
