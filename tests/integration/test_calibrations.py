"""A calibration in the whole flow: in force at every worker without a restart, refused if it does not check, kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analyzers.bert.excerpt import WINDOWS
from analyzers.bert.manifest import BUILTIN_MODEL
from analyzers.router.calibration import ANY, Calibration, Fitted
from flows.cli import main
from state.postgres import connect
from tests.integration.live import create_topic, environment, ledger, running, send, until
from tests.integration.test_texts import http

MODEL: str = json.loads((BUILTIN_MODEL / "model.json").read_text())["version"]


def calibration(path: Path, model: str = MODEL) -> str:
    fitted = Fitted(
        benign_below=0.01, malicious=400, benign=400, missed=0, p_value=0.01, unsettled_benign=0.1,
        unsettled_malicious=0.1,
    )  # fmt: skip
    found = Calibration(
        model=model, windows=WINDOWS, max_miss_rate=0.01, confidence=0.95, sources={ANY: fitted}
    ).sealed()
    path.write_bytes(found.encode())
    return found.version


def in_force(dsn: str, topic: str) -> dict[int, str]:
    """Return the calibration that each partition's texts were last settled by."""
    with connect(dsn) as database:
        rows = database.execute(
            "SELECT partition, versions->>'calibration' FROM ledger WHERE topic = %s AND versions ? 'calibration'",
            (topic,),
        ).fetchall()
    return dict(rows)


def test_a_calibration_comes_into_force_at_every_worker_and_stays_over_a_restart(
    kafka: str,
    postgres_dsn: str,
    topic_name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    good, changed, foreign = tmp_path / "good.json", tmp_path / "changed.json", tmp_path / "foreign.json"
    version = calibration(good)
    changed.write_bytes(good.read_bytes().replace(b"0.01", b"0.99", 1))
    calibration(foreign, "0" * 12)
    create_topic(kafka, topic_name, 2)
    own = {
        "WINNOW_RECOVERY__FOLDER": str(tmp_path / "recovery"),
        "WINNOW_RULES__BUILTIN": "false",
        "WINNOW_ROUTER__AUDIT_ONE_IN": "5",
    }
    variables = environment(kafka, postgres_dsn, topic_name, **own)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    sent = 0

    def more() -> None:
        nonlocal sent
        for partition in (0, 1):
            send(kafka, topic_name, [http(sent + n, f"/new/{sent + n}") for n in range(50)], partition)
        sent += 100

    with running(variables, "--workers", "2") as flow:
        more()
        until(lambda: len(in_force(postgres_dsn, topic_name)) == 2, flow)
        assert set(in_force(postgres_dsn, topic_name).values()) == {"uncalibrated"}
        for wrong, why in ((changed, "changed since it was made"), (foreign, "winnow calibrate again")):
            assert main(["calibration", "activate", str(wrong), "--author", "ann"]) == 2
            assert why in capsys.readouterr().err
        assert main(["calibration", "activate", "0" * 12, "--author", "ann"]) == 2, "no such version is stored"
        activate = ["calibration", "activate", str(good), "--author", "ann", "--from", "2024-01-08T08:00:00Z"]
        capsys.readouterr()
        assert main(activate) == 0
        assert json.loads(capsys.readouterr().out)["version"] == version
        while set(in_force(postgres_dsn, topic_name).values()) != {version}:
            more()
            assert sent < 20_000, "it is not in force"
            until(lambda: ledger(postgres_dsn)["consumed"] == sent, flow)
        until(lambda: (now := ledger(postgres_dsn))["bert"] + now["rule"] + now["llm"] == sent, flow)
    assert main(["calibration", "list"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["version"] for row in rows if row["last_activated"]] == [version]
    with connect(postgres_dsn) as database:
        kept = dict(database.execute("SELECT calibration, count(*) FROM audits GROUP BY 1").fetchall())
        assert set(kept) == {"", version} and sum(kept.values()) > sent / 10, "analysts' sample, by what decided it"
        database.execute("DELETE FROM ledger WHERE topic = %s", (topic_name,))
    with running(variables) as flow:  # by one worker now, which has to find it again
        more()
        until(lambda: len(in_force(postgres_dsn, topic_name)) == 2, flow)
        assert set(in_force(postgres_dsn, topic_name).values()) == {version}
