"""``winnow rules explain``: an analyst asks why, or why not, of one event."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from flows.cli import main

RULE_ID = "11111111-1111-4111-8111-111111111111"
RULE: dict[str, Any] = {
    "title": "Zone transfer asked for",
    "id": RULE_ID,
    "logsource": {"product": "zeek", "service": "dns"},
    "detection": {
        "sel": {"qtype_name": "AXFR"},
        "filter_own": {"id.orig_h|cidr": "10.0.0.0/8"},
        "condition": "sel and not 1 of filter_*",
    },
}


def dns(kind: str, source: str = "192.0.2.1", path: str = "dns") -> bytes:
    event = {"_path": path, "ts": 1600000000.5, "uid": "C1", "id.orig_h": source, "id.orig_p": 40000}
    return json.dumps({**event, "id.resp_h": "10.0.0.2", "id.resp_p": 53, "qtype_name": kind}).encode()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/zone.yml").write_text(yaml.safe_dump(RULE))
    return tmp_path


Output = pytest.CaptureFixture[str]


@pytest.mark.parametrize("name", [RULE_ID, "zone TRANSFER asked for", "rules/zone.yml", "./rules//zone.yml"])
def test_a_match_is_status_0_by_id_title_and_file(name: str, capsys: Output) -> None:
    Path("one.json").write_bytes(dns("axfr") + b"\n")
    assert main(["rules", "explain", name, "one.json", "--rules", "rules"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"match: Zone transfer asked for ({RULE_ID})\nevent       one.json-0-0: 2020-09-13T")
    assert '    [x] qtype_name is axfr: "axfr"' in text and "Missing" not in text


def test_a_non_match_is_status_1_and_says_what_is_missing(capsys: Output) -> None:
    Path("one.json").write_bytes(dns("A", "10.1.2.3"))
    assert main(["rules", "explain", RULE_ID, "one.json", "--rules", "rules"]) == 1
    text = capsys.readouterr().out
    assert 'sel: qtype_name is "A"; wanted: is axfr' in text
    assert 'filter_own: id.orig_h="10.1.2.3" (in 10.0.0.0/8), which the rule excludes' in text


def test_another_log_source_is_said(capsys: Output) -> None:
    Path("one.json").write_bytes(dns("AXFR", path="http"))
    assert main(["rules", "explain", RULE_ID, "one.json", "--rules", "rules"]) == 1
    text = capsys.readouterr().out
    assert "the event is source zeek.http; the rule wants source zeek.dns" in text
    assert "the log source alone rules the event out" in text


def test_a_line_of_a_file_is_found_by_its_number_from_0_also_in_an_archive(capsys: Output) -> None:
    lines = b"\n".join([dns("A"), b"{broken", dns("AXFR")])
    Path("log.json").write_bytes(lines)
    Path("log.json.gz").write_bytes(gzip.compress(lines))
    for name in ("log.json:2", "log.json.gz:2"):
        assert main(["rules", "explain", RULE_ID, name, "--rules", "rules"]) == 0
        assert "json" in capsys.readouterr().out
    assert main(["rules", "explain", RULE_ID, "log.json:0", "--rules", "rules"]) == 1


def test_a_line_that_needs_the_files_header_is_read_with_it(capsys: Output) -> None:
    names = "ts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tqtype_name"
    row = "1600000000.5\tC1\t192.0.2.1\t40000\t10.0.0.2\t53\tAXFR"
    Path("dns.log").write_text(f"#separator \\x09\n#path\tdns\n#fields\t{names}\n{row}\n")
    assert main(["rules", "explain", RULE_ID, "dns.log:3", "--rules", "rules"]) == 0
    assert main(["rules", "explain", RULE_ID, "dns.log:1", "--rules", "rules"]) == 2


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(dns("AXFR") + b"\n")))
    assert main(["rules", "explain", RULE_ID, "-", "--rules", "rules"]) == 0


def test_json_holds_the_whole_tree(capsys: Output) -> None:
    Path("one.json").write_bytes(dns("A"))
    assert main(["rules", "explain", RULE_ID, "one.json", "--rules", "rules", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["matched"] is False and report["rule"]["id"] == RULE_ID
    assert report["log_source"]["met"] is True and report["conditions"] == ["sel and not 1 of filter_*"]
    selection, negation = report["tree"]["parts"]
    assert (selection["text"], selection["met"], negation["kind"], negation["met"]) == ("sel", False, "not", True)
    assert selection["parts"][0]["values"] == ['"A"'] and selection["parts"][0]["wanted"] == ["is axfr"]
    assert [gap["selection"] for gap in report["missing"]] == ["sel"]


def test_a_shipped_rule_needs_no_folder(capsys: Output) -> None:
    Path("one.json").write_bytes(dns("AXFR"))
    assert main(["rules", "explain", "Very long DNS query", "one.json"]) == 1
    assert "no match: Very long DNS query" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing", "one.json"), "no rule in force has the id or title 'nothing'"),
        (("Zone transfer asked four", "one.json"), "near: Zone transfer asked for"),
        ((RULE_ID, "gone.json"), "gone.json: no such file"),
        ((RULE_ID, "one.json:7"), "the file has 1 lines, counted from 0"),
        ((RULE_ID, "many.json"), "several lines: say which as FILE:LINE"),
        ((RULE_ID, "many.json:1"), "the line is no event (rejected up to there: {'malformed_json': 1})"),
        ((RULE_ID, "broken.json"), "no event: malformed_json"),
        ((RULE_ID, "empty.json"), "no event in it"),
        ((RULE_ID, "one.json", "--format", "xml"), "no such format"),
        ((RULE_ID, "one.json", "--rules", "nowhere"), "nowhere"),
        (("Broken", "one.json"), "not in force"),
    ],
)
def test_what_cannot_be_explained_is_status_2_and_one_line(
    words: tuple[str, ...], said: str, folder: Path, capsys: Output
) -> None:
    Path("one.json").write_bytes(dns("A"))
    Path("many.json").write_bytes(dns("A") + b"\n{broken\n" + dns("A"))
    Path("broken.json").write_bytes(b"{broken")
    Path("empty.json").write_bytes(b"\n")
    broken = {**RULE, "id": "22222222-2222-4222-8222-222222222222", "title": "Broken", "detection": {"condition": "x"}}
    (folder / "rules/broken.yml").write_text(yaml.safe_dump(broken))
    assert main(["rules", "explain", *words, *(() if "--rules" in words else ("--rules", "rules"))]) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err and len(err.splitlines()) == 1
