"""Turn logits into probabilities: a temperature and a bias a label, and what the maximum over windows adds.

Platt scaling (Platt 1999; with a bias, as most labels are rare) on validation texts that neither training nor test saw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from analyzers.bert.canonical import SOURCES
from analyzers.learning.export import Calibration
from analyzers.learning.texts import UNSAID

Array = NDArray[np.float64]
#: Calibrated logit, probability .27.
LEAST: Final = -1.0
#: Most that is taken off, times ln n: more would hide long malicious texts, 2.8 of whose logit 16 windows cost at 1.
STEEPEST: Final = 1.0
#: Least temperature: validation texts are written as those of training are, and sharper for it than the world is.
COOLEST: Final = 1.0
#: Sources in which the screen has no say: of a domain name the encoder reads the letters itself.
UNHEARD: Final = ("dns",)
#: Weights that the screen's score may get: the encoder's is the first voice.
WEIGHTS: Final = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)


class Rows(msgspec.Struct, frozen=True):
    """What the model says of texts, window by window."""

    #: [windows, labels], those of a text one after the other.
    logits: Array
    #: The screen's [windows].
    scores: Array
    #: Windows of each text.
    counts: NDArray[np.int64]
    #: How many these are the most suspicious of.
    among: NDArray[np.int64]
    #: Source of each text, its place in ``SOURCES``.
    sources: NDArray[np.int64]


def scale(logits: Array, truth: NDArray[np.bool_], more: Array) -> tuple[float, float]:
    """Return (temperature, bias) of one label that make the validation texts most likely; (1, 0) if it is in none.

    ``more`` is what the screen adds to the logit of each.
    """
    if not truth.any():
        return 1.0, 0.0
    signs = np.where(truth, 1.0, -1.0)

    def loss(parameters: Array) -> float:
        margin = signs * (logits / max(math.exp(parameters[0]), COOLEST) + parameters[1] + more)
        # A weak prior at 1 and 0 keeps both finite where a label is told apart without error.
        return float(np.logaddexp(0, -margin).mean() + 1e-4 * (parameters**2).sum())

    best = minimize(loss, np.zeros(2), method="Nelder-Mead").x
    return float(min(max(math.exp(best[0]), COOLEST), 20.0)), float(min(max(best[1], -5.0), 5.0))


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


def weight(margins: Array, scores: Array, malicious: NDArray[np.bool_]) -> float:
    """Return how much of the screen's score, added to calibrated logits [N, labels], makes the texts most likely.

    Malicious or not, that is: the screen knows no labels.
    """
    best, signs = margins.max(axis=1), np.where(malicious, 1.0, -1.0)
    losses = [float(np.logaddexp(0, -signs * (best + step * scores)).mean()) for step in WEIGHTS]
    return WEIGHTS[int(np.argmin(losses))]


def weights(
    margins: Array, scores: Array, malicious: NDArray[np.bool_], sources: NDArray[np.int64]
) -> tuple[float, ...]:
    """Return the weight of each source: one for all but ``UNHEARD``; empty if no text has a score."""
    if not scores.any():
        return ()
    heard = [source not in UNHEARD for source in SOURCES]
    here = np.array(heard)[sources]
    share = weight(margins[here], scores[here], malicious[here])
    return tuple(share if one else 0.0 for one in heard)


def margins(rows: Rows, temperatures: Sequence[float], biases: Sequence[float], shares: Sequence[float]) -> Array:
    """Return the calibrated logits [texts, labels], nothing taken off for length."""
    share = np.array(shares or [0.0] * len(SOURCES))[np.repeat(rows.sources, rows.counts)]
    each = rows.logits / np.array(temperatures) + (share * rows.scores)[:, None]
    starts = np.append(0, np.cumsum(rows.counts)[:-1])
    found: Array = np.maximum.reduceat(each, starts, axis=0) + np.array(biases)
    return found


def probabilities(found: Calibration, rows: Rows) -> Array:
    """Return the probabilities [texts, labels] that serving gives."""
    seen = margins(rows, found.temperatures, found.biases, found.screen_weights)
    seen -= np.log(rows.among)[:, None] * np.array(found.length_calibration)
    out: Array = 1 / (1 + np.exp(-np.clip(seen, -60, 60)))
    return out


def alerting(probabilities: Array, rate: float = 0.001) -> tuple[float, ...]:
    """Return, a label, the probability that a share ``rate`` of benign texts [N, labels] reaches, .5 to .999."""
    reached = np.quantile(probabilities, 1 - rate, axis=0, method="higher")
    return tuple(round(float(p), 4) for p in np.clip(reached, 0.5, 0.999))


def calibrated(rows: Rows, targets: NDArray[np.int64], long: Rows) -> Calibration:
    """Return the calibration from validation texts, those of one window, and from long benign texts.

    Args:
        rows: of validation texts.
        targets: what these are [texts, labels].
        long: of long benign texts.
    """
    short = rows.counts == 1
    first = (np.cumsum(rows.counts) - 1)[short]
    logits, scores, sources, targets = rows.logits[first], rows.scores[first], rows.sources[short], targets[short]
    said = targets != UNSAID

    def scales(more: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
        pairs = [scale(logits[s, place], targets[s, place] == 1, more[s]) for place, s in enumerate(said.T)]
        return tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)

    temperatures, biases = scales(np.zeros(len(scores)))
    alone = logits / np.array(temperatures) + np.array(biases)
    shares = weights(alone, scores, (targets == 1).any(axis=1), sources)
    if any(shares):
        temperatures, biases = scales(np.array(shares)[sources] * scores)
    seen = margins(long, temperatures, biases, shares)
    return Calibration(
        temperatures=tuple(round(temperature, 4) for temperature in temperatures),
        biases=tuple(round(bias, 4) for bias in biases),
        length_calibration=tuple(length(seen[:, place], long.among) for place in range(seen.shape[1])),
        screen_weights=shares,
    )
