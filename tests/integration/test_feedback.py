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
from state.audits import Audited
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
