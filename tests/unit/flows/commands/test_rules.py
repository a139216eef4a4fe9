"""``winnow rules``: what a user of the command line sees."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
import zstandard

from analyzers.rules import parsing
from flows.cli import main

RULE_ID = "11111111-1111-4111-8111-111111111111"
RULE: dict[str, Any] = {
    "title": "Zone transfer asked for",
    "id": RULE_ID,
    "level": "high",
    "logsource": {"product": "zeek", "service": "dns"},
    "detection": {"sel": {"qtype_name": "AXFR"}, "condition": "sel"},
}


def dns(kind: str) -> bytes:
    event = {
        "_path": "dns",
        "ts": 1600000000.5,
        "uid": "C1",
        "id.orig_h": "10.0.0.1",
        "id.orig_p": 40000,
        "id.resp_h": "10.0.0.2",
        "id.resp_p": 53,
        "query": "example.test",
        "qtype_name": kind,
    }
    return json.dumps(event).encode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "good.yml").write_text(yaml.safe_dump(RULE))
    return rules


def test_match_prints_one_json_line_a_match_with_lines_from_0(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "dns.log"
    log.write_bytes(b"\n".join([dns("A"), dns("AXFR"), b"{broken", b"", b"x" * 2_000_000, dns("axfr")]) + b"\n")
    assert main(["rules", "match", "--rules", str(folder), str(log)]) == 0
    out, err = capsys.readouterr()
    assert [json.loads(line) for line in out.splitlines()] == [
        {"file": str(log), "line": 1, "rule": RULE_ID},
        {"file": str(log), "line": 5, "rule": RULE_ID},
    ]
    assert "6 lines, 3 events, 2 matches, 3 rejected" in err


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_match_reads_compressed_files(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    packed = gzip.compress(dns("AXFR")) if suffix == ".gz" else zstandard.compress(dns("AXFR"))
    log = tmp_path / f"dns.log{suffix}"
    log.write_bytes(packed)
    assert main(["rules", "match", "--rules", str(folder), str(log)]) == 0
    assert json.loads(capsys.readouterr().out)["line"] == 0
    log.write_bytes(packed[: len(packed) // 2] if suffix == ".gz" else b"no archive")
    assert main(["rules", "match", "--rules", str(folder), str(log)]) == 2
    assert log.name in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "no-such-folder"],
        ["check", "empty"],
        ["match", "--rules", "no-such-folder", "log"],
        ["match", "--rules", "rules", "no-such-file"],
        ["match", "--rules", "rules", "--format", "no-such-format", "log"],
    ],
)
def test_bad_input_is_status_2_and_one_line(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("log").write_bytes(dns("A"))
    assert main(["rules", *arguments]) == 2
    assert capsys.readouterr().out == ""


def test_check_of_good_rules_is_status_0(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "check", str(folder)]) == 0
    assert "compiled      1 rules" in capsys.readouterr().out


def test_check_says_the_same_from_the_cache_and_what_changed_in_a_rule_is_seen(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    parsed: list[str] = []
    parse = parsing.parse

    def noted(path: str, *rest: Any) -> parsing.Parsed:
        parsed.append(Path(path).stem)
        return parse(path, *rest)

    monkeypatch.setattr(parsing, "parse", noted)
    (folder / "broken.yml").write_text(
        yaml.safe_dump({**RULE, "id": "33333333-3333-4333-8333-333333333333", "detection": {}})
    )
    (folder / "good.test.yaml").write_text("match:\n  - fields: {qtype_name: A}\n")

    def report(*more: str) -> dict[str, Any]:
        parsed.clear()
        assert main(["rules", "check", "--json", *more, str(folder)]) == 1
        told: dict[str, Any] = json.loads(capsys.readouterr().out)
        told.pop("seconds")
        return told

    uncached = report("--no-cache")
    assert not (tmp_path / "cache").exists()
    assert uncached["problems"] and uncached["tests"]["failures"]
    assert report() == uncached and parsed == ["broken", "good"]
    assert report() == uncached and parsed == []
    assert report("--no-cache") == uncached and parsed == ["broken", "good"]
    (folder / "good.yml").write_text(yaml.safe_dump({**RULE, "logsource": {"product": "aws"}}))
    assert report()["unserved_log_sources"] and parsed == ["good"]


def test_check_names_what_is_not_in_force_and_what_is_never_fed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud = {
        **RULE,
        "id": "22222222-2222-4222-8222-222222222222",
        "logsource": {"product": "aws", "service": "cloudtrail"},
    }
    broken = {**RULE, "id": "33333333-3333-4333-8333-333333333333", "title": "Broken", "detection": {"condition": "x"}}
    (folder / "cloud.yml").write_text(yaml.safe_dump(cloud))
    (folder / "broken.yml").write_text(yaml.safe_dump(broken))
    assert main(["rules", "check", str(folder)]) == 1
    table = capsys.readouterr().out
    assert "broken.yml" in table and "Broken" in table and "product=aws service=cloudtrail" in table
    assert main(["rules", "check", "--json", str(folder)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["compiled"] == 2
    assert [problem["id"] for problem in report["problems"]] == [broken["id"]]
    assert report["unserved_log_sources"] == [{"product": "aws", "category": "", "service": "cloudtrail", "rules": 1}]


def test_check_runs_the_tests_beside_rules_and_says_what_is_missing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = dns("AXFR").decode()
    tests = folder / "good.test.yaml"
    tests.write_text(f"match:\n- raw: '{raw}'\n  format: zeek_json\nno_match:\n- fields: {{qtype_name: A}}\n")
    assert main(["rules", "check", str(folder)]) == 0
    assert "tests         2 of 1 rules, 0 failed" in capsys.readouterr().out
    tests.write_text("match:\n- fields: {qtype_name: A}\n  why: they ask for all\n")
    assert main(["rules", "check", str(folder)]) == 1
    table = capsys.readouterr().out
    assert "good.test.yaml:2: Zone transfer asked for must match, and does not" in table
    assert "they ask for all" in table and 'sel: qtype_name is "A"; wanted: is axfr' in table
    assert main(["rules", "check", "--json", str(folder)]) == 1
    (failure,) = json.loads(capsys.readouterr().out)["tests"]["failures"]
    assert (failure["path"], failure["line"]) == (str(tests), 2)
    assert failure["explanation"]["gaps"][0]["selection"] == "sel"


def test_check_knows_the_values_of_placeholders(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    detection = {"sel": {"query|expand": "%tunnels%"}, "condition": "sel"}
    rule = {**RULE, "id": "44444444-4444-4444-8444-444444444444", "detection": detection}
    (folder / "expand.yml").write_text(yaml.safe_dump(rule))
    assert main(["rules", "check", str(folder)]) == 1
    assert "1 × placeholder %tunnels% has no value in the settings" in capsys.readouterr().out
    (folder / "winnow.toml").write_text("[rules.placeholders]\ntunnels = ['t.example']\n")
    assert main(["rules", "check", str(folder), "--config", str(folder / "winnow.toml")]) == 0
