"""The AIT alert data set, a window a host and minute: what alerted how often, and which attack it belonged to."""

from __future__ import annotations

import csv
import io
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import zstandard

ARCHIVE = "ait_ads/dev_3scenarios.tar.zst"
WINDOW = 60_000_000


class Window(NamedTuple):
    """The alerts of one host in one minute."""

    #: Start, µs.
    start: int
    host: str
    #: Alerts by short name.
    counts: dict[str, int]
    #: The phases of attack that alerts of it are labelled with, by event.
    phases: frozenset[str]
    #: Whether some alert of it fell into the time of an attack.
    during: bool

    @property
    def positive(self) -> bool:
        """Say whether an event of an attack is in it."""
        return bool(self.phases)

    @property
    def counted(self) -> bool:
        """Say whether it counts for or against a score: what fell into an attack unlabelled is neither."""
        return self.positive or not self.during


def load(data: Path) -> dict[str, list[Window]]:
    """Return the windows of each scenario, by time and then host."""
    return {name: windows(text) for name, text in load_texts(data).items()}


def load_texts(data: Path) -> dict[str, str]:
    """Return the table of each scenario as CSV, by name."""
    with (data / ARCHIVE).open("rb") as packed, zstandard.ZstdDecompressor().stream_reader(packed) as stream:
        return dict(sorted(_files(stream)))


def windows(text: str) -> list[Window]:
    """Return the windows of one scenario's table."""
    counts: dict[tuple[int, str], Counter[str]] = {}
    phases: dict[tuple[int, str], set[str]] = {}
    during: set[tuple[int, str]] = set()
    for row in csv.DictReader(io.StringIO(text)):
        key = (int(float(row["time"])) // 60 * WINDOW, row["host"])
        counts.setdefault(key, Counter())[row["short"]] += 1
        if row["event_label"] != "-":
            phases.setdefault(key, set()).add(row["event_label"])
        if row["time_label"] != "false_positive":
            during.add(key)
    return [Window(*key, dict(counts[key]), frozenset(phases.get(key, ())), key in during) for key in sorted(counts)]


def minutes(scenario: Sequence[Window]) -> Iterator[tuple[int, list[Window]]]:
    """Yield each minute in which anything alerted, with its windows."""
    for start, some in groupby(scenario, key=lambda window: window.start):
        yield start, list(some)


def judged(scenario: Sequence[Window]) -> int:
    """Return when the first 24 hours are over, µs: from then on windows count."""
    return scenario[0].start + 1_440 * WINDOW


def _files(stream: zstandard.ZstdDecompressionReader) -> Iterator[tuple[str, str]]:
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name.endswith("_alerts.txt") else None
            if file is not None:
                yield Path(member.name).name.removesuffix("_alerts.txt"), file.read().decode()
