"""Our matches against those of an independent implementation (pySigma-backend-sqlite) on real Windows telemetry."""

from __future__ import annotations

import csv
import io
import itertools
import tarfile
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import zstandard

from analyzers.rules import RuleSet
from operators.formats import UNDECODED, Decoder, FormatSettings, fields
from state.events import Event, Kind

#: Lines of windows_events that are judged; the whole file takes a minute.
LINES = 20_000
#: The only known difference: the other side reads category process_creation from Sysmon 1 alone, we also from Security
#: 4688, as the Sigma specification allows. A pair on such a line is ours alone.
PROCESS_4688 = ("security", 4688)

pytestmark = pytest.mark.data


def unpacked(path: Path) -> io.BufferedReader:
    return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(path.open("rb")))  # type: ignore[type-var]


def expected_rules(data_dir: Path) -> list[dict[str, str]]:
    with (data_dir / "sigma_expected/windows_events_rules.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def rules(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> RuleSet:
    """The 2,531 rules that the other side evaluated."""
    folder = tmp_path_factory.mktemp("sigma")
    wanted = {row["path"] for row in expected_rules(data_dir)}
    with tarfile.open(fileobj=unpacked(data_dir / "sigma/rules.tar.zst"), mode="r|") as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            name = name if name in wanted else name.partition("/")[2]
            if name in wanted and (file := archive.extractfile(member)) is not None:
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read())
    loaded = RuleSet.load(folder)
    assert not loaded.problems
    assert len(loaded.rules) == len(wanted)
    return loaded


def events_of(lines: Iterator[bytes]) -> Iterator[list[Event]]:
    decoder = Decoder("windows_events-0", FormatSettings())
    for start in itertools.count(0, 2_000):
        batch = [line.rstrip(b"\r\n") for line in itertools.islice(lines, 2_000)]
        if not batch:
            return
        decoded = decoder.decode_batch(batch, range(start, start + len(batch)), 0)
        assert not decoded.rejected
        yield decoded.events


def test_windows_events_give_the_expected_pairs(data_dir: Path, rules: RuleSet) -> None:
    with io.TextIOWrapper(unpacked(data_dir / "sigma_expected/windows_events_matches.csv.zst")) as file:
        rows = ((int(row["line_index0"]), row["rule_id"]) for row in csv.DictReader(file))
        expected = {(line, rule) for line, rule in rows if line < LINES}
    (path,) = (data_dir / "windows_events").glob("events.jsonl*")
    found: set[tuple[int, str]] = set()
    ours_alone: set[tuple[int, str]] = set()
    with unpacked(path) as stream:
        for events in events_of(itertools.islice(stream, LINES)):
            for match in rules.match_batch(events, fields, UNDECODED):
                event = events[match.index]
                of_4688 = (event.kind.channel.lower(), event.kind.code) == PROCESS_4688
                process_creation = match.rule.logsource.category == "process_creation"
                (ours_alone if of_4688 and process_creation else found).add((event.offset, match.rule.id))
    assert not rules.failures
    assert expected
    assert found == expected
    assert ours_alone


def test_process_creations_give_the_expected_rules(data_dir: Path, rules: RuleSet) -> None:
    sysmon_1 = Kind(
        "windows.sysmon", "process", "process-created", channel="Microsoft-Windows-Sysmon/Operational", code=1
    )
    categories = {row["rule_id"]: row["category"] for row in expected_rules(data_dir)}
    events: list[Event] = []
    expected: set[tuple[int, str]] = set()
    with unpacked(data_dir / "sigma_expected/process_creation.jsonl.zst") as stream:
        for index, line in enumerate(stream):
            row = orjson.loads(line)
            events.append(
                Event("process_creation-0", index, 0, row["host"], sysmon_1, orjson.dumps(row["fields"]), "none")
            )
            expected |= {(index, rule) for rule in row["expected_rules"]}
    matches = rules.match_batch(events, lambda event: orjson.loads(event.raw))
    found = {(m.index, m.rule.id) for m in matches if categories[m.rule.id] == "process_creation"}
    assert not rules.failures
    assert found == expected
