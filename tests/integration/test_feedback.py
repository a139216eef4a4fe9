"""Labels from analysts: the audit sample in a real Postgres becomes a calibration, or a refusal that says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from analyzers.bert.excerpt import WINDOWS
from analyzers.bert.manifest import BUILTIN_MODEL
from analyzers.router.calibration import load
from flows.cli import main
from flows.feedback import lessons
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


def test_what_analysts_said_of_texts_is_what_training_learns_from(
    dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "/search?q=%s"
    raws = {
        "e1": url % "1%27+OR+1%3D1--", "e2": url % "union+station", "e3": url % "scanned+by+us",
        "e4": url % "in+doubt", "e5": "no JSON", "e6": url % "seen+twice", "e7": url % "of+a+rule",
    }  # fmt: skip
    messages = {
        name: json.dumps({"timestamp": "2024-01-08T08:00:00Z", "host": "web-1", "event_type": "http", "url": path})
        if path.startswith("/") else path
        for name, path in raws.items()
    }  # fmt: skip
    alerts = [
        _alert("true", "sqli", "e1", "e5", "e6"), _alert("false", "sqli", "e2"), _alert("allowed", "sqli", "e3"),
        _alert("torn", "sqli", "e4"), _alert("torn2", "sqli", "e4"), _alert("seen", "xss", "e6"),
        _alert("rule", "r1", "e7", kind="rule"),
    ]  # fmt: skip
    verdicts = {"true": "true_positive", "false": "false_positive", "allowed": "benign", "torn": "true_positive",
                "torn2": "false_positive", "seen": "true_positive", "rule": "false_positive"}  # fmt: skip
    at = 1_704_700_800_000_000
    with Store(PostgresSettings.model_validate({"dsn": dsn})) as store:
        store.write_alerts(alerts)
        store.write_evidence(
            [Evidence(e, a.id, "web-1", at + int(e[1]), messages[e].encode()) for a in alerts for e in a.evidence]
        )
        store.write_incidents(
            [
                Incident(
                    f"i-{a.id}", "open", Level.medium, 1.0, ("web-1",), at, at, at, (), (), 1, (a.id,), (), "T", "W"
                )
                for a in alerts
            ]
        )
        store.write_audits(
            [
                audited(1, 0.99, source="shell", text="ls -la"),
                audited(2, 0.01, source="shell", text="bash -i", label="sqli"),
                audited(3, 0.01, source="http", text="/a?b", label="malicious-shell"),
                audited(4, 0.9, source="http", text="/never?reviewed"),
            ]
        )
    with connect(dsn, autocommit=True) as database:
        for name, verdict in verdicts.items():
            database.execute(
                "INSERT INTO incident_reviews (incident_id, state, verdict, severity, author, reason) "
                "VALUES (%s, 'closed', %s, 2, 'ann', 'looked')",
                (f"i-{name}", verdict),
            )
    for number, truth in ((1, "benign"), (2, "malicious"), (3, "malicious")):
        assert main(["audit", "review", f"t-0-{number}", "--as", truth, "--reason", "looked"]) == 0
    said = lessons(load_settings(None))
    assert sorted((one.event_id, one.source, one.label) for one in said.found) == [
        ("e1", "http", "sqli"),
        ("e2", "http", "benign"),
        ("e6", "http", "xss"),  # the last word of those that agree that it is malicious
        ("t-0-1", "shell", "benign"),
        ("t-0-2", "shell", "malicious-shell"),
    ]
    assert said.left_out == {
        "of a message that cannot be read by itself": 1,
        "malicious, but not said of what kind": 1,
    }
    times = [one.time for one in said.found]
    assert times == sorted(times)


def test_without_a_verdict_there_is_nothing_to_learn(dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--out", "o", "--from-feedback"]) == 2
    assert "no text has an analyst's verdict" in capsys.readouterr().err
