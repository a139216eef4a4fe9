"""What fired, as the table of alerts has it; and explanations against the engine on real telemetry and rules."""

from __future__ import annotations

import io
import itertools
import json
import random
import tarfile
from pathlib import Path

import msgspec
import pytest
import zstandard
from pydantic import SecretStr

from analyzers.rules import RuleSet
from analyzers.rules.explanation import explain
from analyzers.rules.finding import conditions
from flows.cli import main
from operators.formats import UNDECODED, Decoder, FormatSettings, fields
from state.alerts import Alert, Level
from state.postgres import PostgresSettings
from state.revisions import migrate
from state.store import Store

RULE = """
title: Tool fetched
id: 11111111-1111-4111-8111-111111111111
logsource: {product: windows}
detection: {sel: {a: 1}, condition: sel}
tags: [attack.command-and-control, attack.t1105]
"""


def test_alerts_in_postgres_are_counted_by_rule(
    postgres_dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(postgres_dsn)
    rule = "11111111-1111-4111-8111-111111111111"
    first = Alert("a-1", "rule", rule, "Tool fetched", Level.high, "ws-1", 0, 0, 0, 5, "r", ("T1105",), ("impact",))
    alerts = [
        first,
        # The rule's tags were others then.
        msgspec.structs.replace(first, id="a-2", count=2, techniques=("T1105", "T1071")),
        msgspec.structs.replace(first, id="a-3", kind="anomaly", rule="logons:peak"),
    ]
    with Store(PostgresSettings(dsn=SecretStr(postgres_dsn))) as store:
        store.write_alerts(alerts)
    (tmp_path / "rule.yml").write_text(RULE)
    monkeypatch.setenv("WINNOW_POSTGRES__DSN", postgres_dsn)
    assert main(["rules", "coverage", str(tmp_path), "--postgres", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    rows = {row["name"]: [row[name] for name in ("rules", "fired", "alerts", "events")] for row in report["techniques"]}
    assert rows == {"T1071": [0, 1, 2, 7], "T1105": [1, 1, 2, 7]}
    assert report["fired_outside"] == []


@pytest.mark.data
def test_explanations_agree_with_the_engine_on_real_rules_and_events(data_dir: Path, tmp_path: Path) -> None:
    with tarfile.open(fileobj=unpacked(data_dir / "sigma/rules.tar.zst"), mode="r|") as archive:
        # Every tenth rule, so that most log sources are there and the test takes seconds.
        for number, member in enumerate(archive):
            if number % 10 == 0 and member.name.endswith(".yml") and (file := archive.extractfile(member)) is not None:
                (tmp_path / f"{number}.yml").write_bytes(file.read())
    rules = RuleSet.load(tmp_path)
    by_id = {rule.id: rule for rule in rules.rules}
    known = conditions(rules.rules, sorted(tmp_path.iterdir()), {})
    (path,) = (data_dir / "windows_events").glob("events.jsonl*")
    with unpacked(path) as stream:
        lines = [line.rstrip() for line in itertools.islice(stream, 4_000)]
    events = Decoder("t-0", FormatSettings()).decode_batch(lines, range(len(lines)), 0).events
    matched = {(match.index, match.rule.id) for match in rules.match_batch(events, fields, UNDECODED)}
    assert matched
    chance = random.Random(5)
    pairs = set(chance.sample(sorted(matched), min(60, len(matched))))
    # And of each event looked at, rules that its log source concerns and that it may or may not meet.
    for index in [index for index, _ in sorted(pairs)] + chance.sample(range(len(events)), 20):
        concerned = sorted(rule.id for rule in rules.concerns(events[index].kind))
        pairs |= {(index, rule) for rule in chance.sample(concerned, min(10, len(concerned)))}
    for index, rule in sorted(pairs):
        found = explain(by_id[rule], known[rule], events[index], fields(events[index]))
        assert found.matched is ((index, rule) in matched), (index, by_id[rule].path)
        assert bool(found.gaps) is not found.tree.met


def unpacked(path: Path) -> io.BufferedReader:
    return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(path.open("rb")))  # type: ignore[type-var]
