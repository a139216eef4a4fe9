"""The real data sets: nearly every line an event with its host, its time in UTC and its category."""

from __future__ import annotations

import io
import os
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from operators.formats import Decoder, FormatSettings
from operators.formats.generic_json import CATEGORIES
from operators.formats.times import EARLIEST, LATEST
from state.events import Event

DATA = Path(os.environ.get("WINNOW_DATA", Path(__file__).parents[4].parent / "shared" / "data"))
REFERENCE = 1_750_000_000_000_000
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no data sets at {DATA}; name the folder by WINNOW_DATA"),
]


def streams(folder: str) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield each log file of a data set with its lines, whether plain, compressed or in an archive."""
    for path in sorted((DATA / folder).rglob("*")):
        if path.name.endswith(".tar.zst"):
            with (
                path.open("rb") as file,
                zstandard.open(file, "rb") as plain,
                tarfile.open(fileobj=plain, mode="r|") as tar,
            ):
                for member in tar:
                    if member.name.endswith((".log", ".labeled", ".jsonl")) and (inner := tar.extractfile(member)):
                        yield Path(member.name).name, iter(inner.read().splitlines(keepends=True))
        elif path.name.endswith((".jsonl.zst", ".log.zst")):
            with path.open("rb") as file, zstandard.open(file, "rb") as plain:
                yield path.name, iter(io.BufferedReader(plain))
        elif path.suffix in (".jsonl", ".log", ".json"):
            with path.open("rb") as file:
                yield path.name, iter(file)


class Seen:
    """What became of a data set's lines."""

    def __init__(self, folder: str, every: int = 1) -> None:
        self.lines = self.rejected = self.skipped = self.whole = 0
        self.reasons: Counter[str] = Counter()
        self.hosts: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()
        self.formats: Counter[str] = Counter()
        for name, lines in streams(folder):
            decoder = Decoder(f"{name}-0", FormatSettings(), default_host=name.partition(".")[0])
            batch: list[bytes] = []
            for number, line in enumerate(lines):
                if number % every == 0:
                    batch.append(line)
                if len(batch) == 2_000:
                    self._take(decoder, batch)
                    batch = []
            self._take(decoder, batch)

    def _take(self, decoder: Decoder, batch: list[bytes]) -> None:
        done = decoder.decode_batch(batch, list(range(self.lines, self.lines + len(batch))), REFERENCE)
        assert len(done.events) + len(done.rejected) + len(done.skipped) == len(batch)
        self.lines += len(batch)
        self.rejected += len(done.rejected)
        self.skipped += len(done.skipped)
        self.reasons.update(r.reason for r in done.rejected)
        for event in done.events:
            self.hosts[event.host] += 1
            self.sources[event.kind.source] += 1
            self.formats[event.format] += 1
            self.whole += _is_whole(event)


def _is_whole(event: Event) -> bool:
    return bool(event.host) and EARLIEST <= event.time < LATEST and event.kind.category in CATEGORIES


@pytest.mark.parametrize(
    ("folder", "every", "least", "formats"),
    [
        ("windows_events", 20, 10_000, {"windows_nxlog", "windows_winlogbeat6"}),
        ("windows_attack_samples", 1, 13_000, {"windows_evtx"}),
        ("zeek_wrccdc", 4, 30_000, {"zeek_json"}),
        ("zeek_flows_labelled", 1, 10_000, {"zeek_tsv"}),
        ("suricata_eve", 1, 300, {"suricata"}),
        ("syslog", 1, 5_900, {"syslog", "apache"}),
    ],
)
def test_data_set_is_read(folder: str, every: int, least: int, formats: set[str]) -> None:
    seen = Seen(folder, every)
    assert seen.lines >= least
    assert seen.rejected <= seen.lines * 0.001, seen.reasons
    assert seen.whole >= (seen.lines - seen.skipped) * 0.99
    assert set(seen.formats) == formats
    assert "wecserver" not in seen.hosts
    if folder == "windows_events":
        workstations = [h for h in seen.hosts if h.startswith("workstation5")]
        assert workstations == ["workstation5"]
        assert len(seen.hosts) < 20
