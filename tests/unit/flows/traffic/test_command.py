"""The command ``winnow traffic``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from flows.cli import main


def run(*arguments: str) -> int:
    return main(["traffic", *arguments])


def test_the_command_reports_one_line_of_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--out", str(tmp_path), "--hours", "0.05", "--attack", "port_scan@3", "--attacks-per-hour", "0") == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert out.count("\n") == 1 and err == ""
    assert report["messages"] == sum(report["files"].values()) > 1_000
    assert list(report["attacks"]) == ["port_scan-1"]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("--attack", "port_scam@3"), "port_scam"),
        (("--attack", "port_scan@soon"), "soon"),
        (("--hosts", "2"), "hosts"),
        (("--hours", "0"), "--hours"),
        (("--rate", "-1"), "rate"),
    ],
)
def test_bad_usage_is_one_line_that_names_it(
    arguments: tuple[str, ...], names: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--out", str(tmp_path / "out"), *arguments) == 2
    err = capsys.readouterr().err
    assert names in err and err.count("\n") == 1


def test_a_folder_that_cannot_be_made_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run("--out", str(tmp_path / "file")) == 2
    assert "file" in capsys.readouterr().err


def test_it_says_how_many_the_broker_took(kafka: str, topic_name: str, capsys: pytest.CaptureFixture[str]) -> None:
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(topic_name, num_partitions=1, replication_factor=1)])[topic_name].result(30)
    assert run("--bootstrap-servers", kafka, "--topic", topic_name, "--hours", "0.005", "--speed", "0") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["delivered"] == report["messages"] > 0 and report["failed"] == 0
