"""Texts in the whole flow: the same alerts at any number of workers, and another model while it runs."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from analyzers.bert.manifest import BUILTIN_MODEL, Manifest, version_of
from flows.cli import main
from flows.commands.replay import lanes
from flows.replay import replay
from flows.settings import Settings
from state.postgres import connect
from tests.integration.live import create_topic, environment, ledger, running, send, until

#: Every text alerts, and no rule is there to be asked first: what is tested is the way of a verdict, not what it says.
LABELS = dict.fromkeys(json.loads((BUILTIN_MODEL / "model.json").read_text())["labels"], 0.0)
ALL = {"bert": {"thresholds": LABELS}, "rules": {"builtin": False}}
URIS = ("/index.html", "/a?id=1%27%20or%20%271%27=%271", "/../../etc/passwd", "/img/logo.png", "/q?s=<script>")


def http(number: int, uri: str) -> bytes:
    record = {
        "_path": "http",
        "ts": 1_704_700_800 + number,
        "uid": f"C{number}",
        "id.orig_h": f"10.0.0.{number % 5 + 1}",
        "id.orig_p": 4_000,
        "id.resp_h": "192.0.2.1",
        "id.resp_p": 80,
        "method": "GET",
        "uri": uri,
        "status_code": 200,
    }
    return json.dumps(record).encode()


def alerts(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "alerts.jsonl").read_text().splitlines()]


def test_verdicts_are_the_same_at_any_number_of_workers(tmp_path: Path) -> None:
    files = []
    for name in ("a", "b", "c"):
        path = tmp_path / f"{name}.log"
        path.write_bytes(b"\n".join(http(n, URIS[n % 5] if n % 3 else f"/p/{name}/{n}") for n in range(300)) + b"\n")
        files.append(path)
    summaries = [
        replay(files, tmp_path / str(workers), Settings.model_validate(ALL), workers=workers) for workers in (1, 2)
    ]
    one, two = (alerts(tmp_path / str(workers)) for workers in (1, 2))
    assert one == two
    assert {alert["kind"] for alert in one} == {"text"}
    assert all(alert["versions"]["model"] and alert["evidence"] for alert in one)
    for summary in summaries:
        assert summary["lanes"] == {"rule": 0, "bert": 900, "llm": 0}
        judging = summary["judging"]
        assert judging["rule"]["read"] == judging["bert"]["read"] == 900, "of all workers together"
        assert 0 < judging["bert"]["p50"] <= judging["bert"]["p99"] and judging["bert"]["microseconds"] > 0
        assert judging["llm"]["price_of_all"] == pytest.approx(900 * 0.002)
        assert lanes(summary)[2].split()[:3] == ["bert", "900", "100.000%"]


def test_switched_off_no_text_is_judged(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"\n".join(http(n, URIS[1]) for n in range(10)) + b"\n")
    settings = Settings.model_validate({"bert": {"enabled": False, "thresholds": LABELS}})
    assert replay([tmp_path / "a.log"], tmp_path / "out", settings)["lanes"] == {"rule": 10, "bert": 0, "llm": 0}


def test_a_model_comes_into_force_while_the_flow_runs_and_a_damaged_one_does_not(
    kafka: str,
    postgres_dsn: str,
    topic_name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = tmp_path / "other"
    shutil.copytree(BUILTIN_MODEL, other)
    manifest = json.loads((other / "model.json").read_text())
    with (other / "tokenizer.json").open("ab") as file:
        file.write(b"\n")
    manifest["sha256"]["tokenizer.json"] = hashlib.sha256((other / "tokenizer.json").read_bytes()).hexdigest()
    before, after = manifest["version"], version_of(msgspec.convert(manifest, Manifest))
    manifest["version"] = after
    (other / "model.json").write_text(json.dumps(manifest))

    create_topic(kafka, topic_name)
    variables = environment(
        kafka,
        postgres_dsn,
        topic_name,
        WINNOW_RECOVERY__FOLDER=str(tmp_path / "recovery"),
        WINNOW_BERT__THRESHOLDS=json.dumps(LABELS),
        WINNOW_RULES__BUILTIN="false",
        WINNOW_REDIS__URL="redis://127.0.0.1:1/0",  # not there, and not missed
    )
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with running(variables) as flow:
        send(kafka, topic_name, [http(n, URIS[n % 5]) for n in range(100)])
        until(lambda: ledger(postgres_dsn)["consumed"] == 100, flow)
        assert _models(postgres_dsn) == {before}
        damaged = tmp_path / "damaged"
        shutil.copytree(other, damaged)
        (damaged / "model.onnx").write_bytes(b"no model")
        assert main(["models", "activate", str(damaged), "--author", "ann"]) == 2
        assert "SHA-256" in capsys.readouterr().err
        activate = ["models", "activate", str(other), "--author", "ann", "--from", "2024-01-08T08:02:00Z"]
        assert main(activate) == 0
        assert json.loads(capsys.readouterr().out)["version"] == after
        sent = 100
        while _models(postgres_dsn) == {before}:
            # It holds from a time on that comes with these; by then it was heard, or a little later.
            send(kafka, topic_name, [http(sent + n, f"/new/{sent + n}") for n in range(100)])
            sent += 100
            assert sent < 20_000
            until(lambda: ledger(postgres_dsn)["consumed"] == sent, flow)  # noqa: B023
        # Candidates wait for the watermark, which follows the wall clock once the partition is idle.
        until(lambda: ledger(postgres_dsn)["bert"] == sent, flow)
    assert _models(postgres_dsn) == {after}
    counts = ledger(postgres_dsn)
    assert (counts["bert"], counts["consumed"]) == (sent, sent)


def _models(dsn: str) -> set[str]:
    with connect(dsn) as database:
        rows = database.execute("SELECT versions->>'model' FROM ledger").fetchall()
    return {row[0] for row in rows}
