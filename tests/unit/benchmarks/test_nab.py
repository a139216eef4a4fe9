"""The benchmark's scoring is NAB's: what it says of a detector is what NAB would have said."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.nab import PUBLISHED, figures, main
from benchmarks.nab_corpus import PROFILES, Scoring, Series, halves, read_corpus, sigmoid
from benchmarks.nab_detectors import periodic, windowed_gaussian

DATA = Path(os.environ.get("WINNOW_DATA", Path(__file__).parents[4] / "shared" / "data"))
STANDARD, LOW_FP, LOW_FN = PROFILES


def made(rows: int = 1_000, *windows: tuple[int, int]) -> Series:
    """Return a series without content; only its labels matter."""
    return Series("made", np.arange(rows), np.zeros(rows), windows)


def detections(rows: int, *at: int) -> list[np.ndarray]:
    """Return scores of 1 at some rows, else 0."""
    scores = np.zeros(rows)
    scores[list(at)] = 1.0
    return [scores]


def test_the_perfect_detector_gets_100_and_the_silent_one_0() -> None:
    scoring = Scoring([made(1_000, (300, 399), (700, 799))])
    for profile in PROFILES:
        assert scoring.best(detections(1_000, 300, 700), profile).score == pytest.approx(100.0)
        assert scoring.best([np.zeros(1_000)], profile).score == 0.0


def test_a_late_hit_earns_less_and_the_earliest_counts_once() -> None:
    scoring = Scoring([made(1_000, (300, 399))])
    early, late, both = (
        scoring.best(detections(1_000, *at), STANDARD).score for at in ((300,), (390,), (300, 350, 390))
    )
    assert early == both == pytest.approx(100.0) and 50 < late < 75
    assert late == pytest.approx(50 + 50 * sigmoid(-10 / 100) / sigmoid(-1.0))


def test_false_alarms_cost_by_profile_and_little_right_after_a_window() -> None:
    scoring = Scoring([made(1_000, (300, 399))])
    costs = [100 - scoring.best(detections(1_000, 300, 200), profile).score for profile in PROFILES]
    assert costs == pytest.approx([100 * 0.11 / 2, 100 * 0.22 / 2, 100 * 0.11 / 3])
    after = 100 - scoring.best(detections(1_000, 300, 405), STANDARD).score
    assert 0 < after < costs[0] / 3


def test_the_first_15_percent_are_not_scored() -> None:
    scoring = Scoring([made(1_000, (300, 399))])
    assert scoring.best(detections(1_000, 300, *range(150)), STANDARD).score == pytest.approx(100.0)
    assert Scoring([made(20_000, (9_000, 9_099))]).best(detections(20_000, 9_000, 751), STANDARD).score < 100


def test_the_best_threshold_is_that_of_the_sweep() -> None:
    corpus = [made(1_000, (300, 399)), made(800, (500, 540), (700, 720)), made(600)]
    scoring = Scoring(corpus)
    scores = [np.round(np.random.default_rng(at).random(len(s.values)), 2) for at, s in enumerate(corpus)]
    for profile in PROFILES:
        best = scoring.best(scores, profile)
        every = [scoring.at(scores, profile, threshold) for threshold in np.unique(np.concatenate(scores))]
        assert best.score == pytest.approx(max(0.0, *every))


def test_halves_are_halves_and_the_same_at_every_call() -> None:
    for one, other in halves(58):
        assert len(one) == 29 and sorted(one + other) == list(range(58))
    assert halves(58) == halves(58) and len({tuple(one) for one, _ in halves(58)}) == 20


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--scorers", "rich,oracle"], "no scorer 'oracle'; known: "), ([], "name the data sets' folder")],
)
def test_a_mistake_is_one_line(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["nab", "--data", str(tmp_path), *words])
    assert main() == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1


@pytest.fixture(scope="module")
def corpus() -> list[Series]:
    if not (DATA / "nab").is_dir():
        pytest.skip(f"SKIPPED, no nab in {DATA}: name the data sets' folder by WINNOW_DATA")
    return read_corpus(DATA)


@pytest.mark.data
class TestOnNab:
    def test_the_windowed_gaussian_gets_its_published_totals(self, corpus: list[Series]) -> None:
        assert len(corpus) == 58 and sum(len(series.windows) for series in corpus) == 116
        scores = [windowed_gaussian(series.values) for series in corpus]
        found = [round(Scoring(corpus).best(scores, profile).score, 2) for profile in PROFILES]
        assert found == list(PUBLISHED["windowed Gaussian"])

    def test_alarms_by_the_clock_are_no_detector(self, corpus: list[Series]) -> None:
        assert figures(Scoring(corpus), [periodic(corpus, 500)])["best"][0] < 25
