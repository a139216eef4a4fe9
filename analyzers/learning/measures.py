"""Measures of a judge: precision, recall, F1, recall at a rate of false positives, calibration error. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Truth = NDArray[np.bool_]


class Score(msgspec.Struct, frozen=True):
    """How well one label is found."""

    precision: float
    recall: float
    f1: float
    #: Texts that have the label.
    count: int


def score(truth: Truth, said: Truth) -> Score:
    """Return precision, recall and F1; 0 where nothing was said or there was nothing to find.

    >>> score(np.array([True, True, False]), np.array([True, False, False])).f1
    0.6666666666666666
    """
    hit = int((truth & said).sum())
    precision = hit / int(said.sum()) if said.any() else 0.0
    recall = hit / int(truth.sum()) if truth.any() else 0.0
    f1 = 2 * precision * recall / (precision + recall) if hit else 0.0
    return Score(precision, recall, f1, int(truth.sum()))


def classes(scores: Array, threshold: float = 0.5) -> NDArray[np.int64]:
    """Return the most probable label of each text [N]; the number of labels where none reaches the threshold."""
    found: NDArray[np.int64] = np.where(scores.max(axis=1) >= threshold, scores.argmax(axis=1), scores.shape[1])
    return found


def recall_at(malicious: Array, benign: Array, rate: float) -> tuple[float, float]:
    """Return the recall where at most ``rate`` of the benign texts are above the threshold, and that threshold.

    >>> recall_at(np.array([0.9, 0.2]), np.array([0.1, 0.1, 0.3, 0.1]), 0.25)
    (1.0, 0.1)
    """
    allowed = math.floor(rate * len(benign))
    threshold = float(np.sort(benign)[len(benign) - 1 - allowed])
    return float((malicious > threshold).mean()), threshold


def calibration(probabilities: Array, truth: Truth, bins: int = 15) -> tuple[float, list[tuple[float, float, int]]]:
    """Return the expected calibration error (Naeini et al. 2015) and, a bin: mean probability, share true, count."""
    places = np.minimum((probabilities * bins).astype(int), bins - 1)
    rows, error = [], 0.0
    for place in range(bins):
        inside = places == place
        if inside.any():
            mean, share = float(probabilities[inside].mean()), float(truth[inside].mean())
            rows.append((mean, share, int(inside.sum())))
            error += abs(mean - share) * inside.sum() / len(truth)
    return float(error), rows


#: Student's t, two-sided 95 %, by degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Return mean and half the width of its 95 % interval over seeds; None of one value."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, None
    t = _T[min(len(values) - 2, len(_T) - 1)]
    return mean, float(t * np.std(values, ddof=1) / math.sqrt(len(values)))
