"""The Numenta Anomaly Benchmark's series and its scoring, written from its published definition.

Lavin and Ahmad, Evaluating real-time anomaly detection algorithms, 2015, and NAB's white paper: a detection in a
labelled window earns by a sigmoid of its place, the earliest counts; one outside costs by a sigmoid of its distance
from the window before; a missed window costs; the first 15 % (of 5,000 rows at most) are not scored. Totals are put
between the detector that never says anything (0) and the perfect one (100).
"""

from __future__ import annotations

import io
import json
import math
import tarfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import zstandard

Array = npt.NDArray[np.float64]


class Profile(NamedTuple):
    """What a false alarm and a missed window cost; a hit earns 1 at most."""

    name: str
    false_alarm: float
    miss: float


PROFILES = (
    Profile("standard", 0.11, 1.0),
    Profile("reward_low_FP_rate", 0.22, 1.0),
    Profile("reward_low_FN_rate", 0.11, 2.0),
)


class Series(NamedTuple):
    """One series with its labels."""

    name: str
    #: µs since 1970, UTC.
    times: npt.NDArray[np.int64]
    values: Array
    #: First and last row of each labelled window.
    windows: tuple[tuple[int, int], ...]


class Best(NamedTuple):
    """The highest score over all thresholds."""

    score: float
    threshold: float


def read_corpus(data: Path) -> list[Series]:
    """Return the labelled series of the data sets' folder, in order of name."""
    archive = data / "nab" / "nab_data_labels.tar.zst"
    with archive.open("rb") as packed:
        plain = zstandard.ZstdDecompressor().stream_reader(packed).read()
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        files = {m.name.removeprefix("./"): tar.extractfile(m) for m in tar.getmembers() if m.isfile()}
        texts = {name: file.read().decode() for name, file in files.items() if file and _wanted(name)}
    windows = json.loads(texts["labels/combined_windows.json"])
    return [_series(name, texts[f"data/{name}"], windows[name]) for name in sorted(windows)]


def _wanted(name: str) -> bool:
    return name == "labels/combined_windows.json" or (name.startswith("data/") and name.endswith(".csv"))


def _series(name: str, text: str, windows: list[list[str]]) -> Series:
    rows = [line.split(",") for line in text.splitlines()[1:]]
    place = {}
    for at, (stamp, _) in enumerate(rows):
        place.setdefault(stamp, at)
    times = [int(datetime.fromisoformat(stamp).replace(tzinfo=UTC).timestamp()) * 1_000_000 for stamp, _ in rows]
    labelled = tuple((place[first[:19]], place[last[:19]]) for first, last in windows)
    return Series(name, np.array(times), np.array([float(value) for _, value in rows]), labelled)


def sigmoid(place: float) -> float:
    """Return NAB's scaled sigmoid of a place relative to a window: −1 its left edge, 0 its right edge."""
    return -1.0 if place >= 3.0 else 2.0 / (1.0 + math.exp(5.0 * place)) - 1.0


class Marked(NamedTuple):
    """The scored rows of a series: what a detection in each is worth, and the window it lies in, or −1."""

    start: int
    worth: Array
    window: npt.NDArray[np.int64]
    windows: int


class Scoring:
    """Scores a detector's output over some of the series, all with one threshold."""

    def __init__(self, corpus: Sequence[Series]) -> None:
        self._marked = [_mark(series) for series in corpus]
        self.all = tuple(range(len(corpus)))

    def best(self, scores: Sequence[Array], profile: Profile, chosen: Sequence[int] | None = None) -> Best:
        """Return the best score of any one threshold over the chosen series, and the threshold."""
        score, worth, window, windows = self._join(scores, self.all if chosen is None else chosen)
        order = np.argsort(-score, kind="stable")
        score, worth, window = score[order], worth[order], window[order]
        change = np.where(window < 0, worth * profile.false_alarm, 0.0)
        for number in range(windows):
            rows = np.flatnonzero(window == number)
            earliest = np.maximum.accumulate(np.concatenate([[-profile.miss], worth[rows]]))
            change[rows] = np.diff(earliest)
        total = np.cumsum(change) - profile.miss * windows
        ends = np.flatnonzero(np.append(score[1:] != score[:-1], True) & (score > 0))
        if not len(ends) or total[ends].max() <= -profile.miss * windows:
            return Best(0.0, math.inf)
        at = ends[int(np.argmax(total[ends]))]
        return Best(_normal(total[at], windows, profile), float(score[at]))

    def at(
        self, scores: Sequence[Array], profile: Profile, threshold: float, chosen: Sequence[int] | None = None
    ) -> float:
        """Return the score of a threshold over the chosen series."""
        score, worth, window, windows = self._join(scores, self.all if chosen is None else chosen)
        hit = score >= threshold
        found = np.full(windows, -profile.miss)
        inside = hit & (window >= 0)
        np.maximum.at(found, window[inside], worth[inside])
        return _normal(found.sum() + worth[hit & (window < 0)].sum() * profile.false_alarm, windows, profile)

    def marked(self, at: int) -> Marked:
        """Return what detections in a series are worth."""
        return self._marked[at]

    def counts(self, scores: Sequence[Array], threshold: float) -> tuple[int, int]:
        """Return how many windows a threshold hits, and its false alarms, over all series."""
        score, _, window, _ = self._join(scores, self.all)
        hit = score >= threshold
        return len(np.unique(window[hit & (window >= 0)])), int((hit & (window < 0)).sum())

    def _join(self, scores: Sequence[Array], chosen: Sequence[int]) -> tuple[Array, Array, npt.NDArray[np.int64], int]:
        parts, count = [], 0
        for at in chosen:
            marked = self._marked[at]
            window = np.where(marked.window < 0, -1, marked.window + count)
            parts.append((scores[at][marked.start :], marked.worth, window))
            count += marked.windows
        score, worth, window = (np.concatenate(column) for column in zip(*parts, strict=True))
        return score, worth, window, count


def _mark(series: Series) -> Marked:
    rows = len(series.values)
    worth, window = np.full(rows, -1.0), np.full(rows, -1)
    for number, (first, last) in enumerate(series.windows):
        width = last - first + 1
        for row in range(first, last + 1):
            worth[row], window[row] = sigmoid(-(last - row + 1) / width) / sigmoid(-1.0), number
        following = [start for start, _ in series.windows[number + 1 :]]
        for row in range(last + 1, min([*following, rows])):
            worth[row] = sigmoid((row - last) / (width - 1))
    start = int(min(math.floor(0.15 * rows), 0.15 * 5_000))
    return Marked(start, worth[start:], window[start:], len(series.windows))


def _normal(total: float, windows: int, profile: Profile) -> float:
    return float(100.0 * (total + profile.miss * windows) / (windows * (1.0 + profile.miss)))


def halves(series: int, count: int = 20) -> list[tuple[list[int], list[int]]]:
    """Return random halves of the series, each with the other half; the same at every call."""
    found = []
    for seed in range(count):
        order = np.random.default_rng(seed).permutation(series)
        found.append((sorted(order[: series // 2].tolist()), sorted(order[series // 2 :].tolist())))
    return found
