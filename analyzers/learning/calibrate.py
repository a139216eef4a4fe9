"""Turn logits into probabilities: a temperature and a bias a label, and what the maximum over windows adds.

Platt scaling (Platt 1999; with a bias, as most labels are rare) on validation texts that neither training nor test saw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from analyzers.learning.export import Calibration
from analyzers.learning.texts import UNSAID

Array = NDArray[np.float64]
#: Calibrated logit, probability .27.
LEAST: Final = -1.0
#: Most that is taken off, times ln n: more would hide long malicious texts, 2.8 of whose logit 16 windows cost at 1.
STEEPEST: Final = 1.0


def scale(logits: Array, truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Return (temperature, bias) of one label that make the validation texts most likely; (1, 0) if it is in none."""
    if not truth.any():
        return 1.0, 0.0
    signs = np.where(truth, 1.0, -1.0)

    def loss(parameters: Array) -> float:
        margin = signs * (logits * math.exp(-parameters[0]) + parameters[1])
        # A weak prior at 1 and 0 keeps both finite where a label is told apart without error.
        return float(np.logaddexp(0, -margin).mean() + 1e-4 * (parameters**2).sum())

    best = minimize(loss, np.zeros(2), method="Nelder-Mead").x
    return float(min(max(math.exp(best[0]), 0.2), 20.0)), float(min(max(best[1], -5.0), 5.0))


def length(logits: Array, windows: NDArray[np.int64], rate: float = 0.002) -> float:
    """Return what is to be taken from the greatest of n windows' logits, times ln n.

    The least that brings benign texts of many windows above a threshold no more often than those of one, for the
    threshold that a share ``rate`` of the latter passes; ``STEEPEST`` at most. Below ``LEAST`` a logit decides nothing.
    """
    one, many = logits[windows == 1], logits[windows > 2]
    if len(one) < 100 or len(many) < 100:
        return 0.0
    threshold = max(float(np.quantile(one, 1 - rate)), LEAST)
    logs = np.log(windows[windows > 2])
    for step in range(round(STEEPEST * 20)):
        if float((many - step / 20 * logs > threshold).mean()) <= rate:
            return step / 20
    return STEEPEST


def probabilities(found: Calibration, logits: Array, windows: NDArray[np.int64]) -> Array:
    """Return the probabilities [N, labels] that serving gives texts of so many windows."""
    margins = logits / np.array(found.temperatures) + np.array(found.biases)
    margins -= np.log(windows)[:, None] * np.array(found.length_calibration)
    out: Array = 1 / (1 + np.exp(-np.clip(margins, -60, 60)))
    return out


def alerting(probabilities: Array, rate: float = 0.001) -> tuple[float, ...]:
    """Return, a label, the probability that a share ``rate`` of benign texts [N, labels] reaches, .5 to .999."""
    reached = np.quantile(probabilities, 1 - rate, axis=0, method="higher")
    return tuple(round(float(p), 4) for p in np.clip(reached, 0.5, 0.999))


def calibrated(
    logits: Array, targets: NDArray[np.int64], long_logits: Array, long_windows: NDArray[np.int64]
) -> Calibration:
    """Return the calibration from validation texts of one window, and from long benign texts."""
    said = targets != UNSAID
    scales = [scale(logits[s, place], targets[s, place] == 1) for place, s in enumerate(said.T)]
    lengths: Sequence[float] = [
        length(long_logits[:, place] / temperature + bias, long_windows)
        for place, (temperature, bias) in enumerate(scales)
    ]
    return Calibration(
        temperatures=tuple(round(temperature, 4) for temperature, _ in scales),
        biases=tuple(round(bias, 4) for _, bias in scales),
        length_calibration=tuple(lengths),
    )
