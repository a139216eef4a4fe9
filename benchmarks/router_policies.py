"""What policies of routing cost and miss, in expectation over an oracle LLM of stated error rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyzers.router.calibration import Calibration
from analyzers.router.learn_then_test import Labelled
from analyzers.router.router import Router


class Oracle(NamedTuple):
    """An LLM of which only this is known: which share of malicious texts it misses, and of benign ones it accuses."""

    misses: float
    accuses: float


class Texts(NamedTuple):
    """Texts as columns [N]."""

    truth: NDArray[np.bool_]
    malicious: NDArray[np.float64]
    bar: NDArray[np.float64]
    source: NDArray[np.str_]


class Outcome(NamedTuple):
    """Shares: of malicious texts missed, of benign ones accused, of each that an LLM is asked about."""

    missed: float
    accused: float
    asked_malicious: float
    asked_benign: float
    #: Malicious texts that are decided benign without an LLM: what calibration limits.
    settled_malicious: float

    def calls(self, prevalence: float) -> float:
        """Return calls a text, if such a share of texts is malicious: the cost beside LLM-for-everything."""
        return prevalence * self.asked_malicious + (1 - prevalence) * self.asked_benign

    @property
    def error(self) -> float:
        """Return the mean of both error rates: 1 less balanced accuracy, which no prevalence changes."""
        return (self.missed + self.accused) / 2


def columns(labelled: Sequence[Labelled]) -> Texts:
    """Return texts as columns."""
    return Texts(
        np.array([text.truth for text in labelled]),
        np.array([text.malicious for text in labelled]),
        np.array([text.alerts_from for text in labelled]),
        np.array([text.source for text in labelled]),
    )


def cascade(texts: Texts, low: NDArray[np.float64], high: NDArray[np.float64], oracle: Oracle) -> Outcome:
    """Return what becomes of texts if those from ``low`` to ``high`` go to the oracle."""
    asked = (texts.malicious >= low) & (texts.malicious < high)
    return outcome(texts, asked.astype(float), texts.malicious >= high, oracle)


def outcome(texts: Texts, asked: NDArray[np.float64], alarmed: NDArray[np.bool_], oracle: Oracle) -> Outcome:
    """Return what becomes of texts, each asked about with a chance, else ``alarmed`` or not."""
    bad, good = texts.truth, ~texts.truth
    missed = asked * oracle.misses + (1 - asked) * ~alarmed
    accused = asked * oracle.accuses + (1 - asked) * alarmed
    return Outcome(
        float(missed[bad].mean()),
        float(accused[good].mean()),
        float(asked[bad].mean()),
        float(asked[good].mean()),
        float(((1 - asked) * ~alarmed)[bad].mean()),
    )


def routed(texts: Texts, router: Router, oracle: Oracle) -> Outcome:
    """Return what becomes of texts by a router's bands."""
    bands = {
        (source, bar): router.band(source, bar)
        for source, bar in {(str(s), float(b)) for s, b in zip(texts.source, texts.bar, strict=True)}
    }
    found = [bands[str(s), float(b)] for s, b in zip(texts.source, texts.bar, strict=True)]
    return cascade(texts, np.array([band.low for band in found]), np.array([band.high for band in found]), oracle)


def policies(texts: Texts, calibrations: dict[str, Calibration], oracle: Oracle) -> dict[str, Outcome]:
    """Return what becomes of texts by each policy. No rule reads texts alone, so there is no rules-only."""
    none, every = np.zeros(len(texts.truth)), np.ones(len(texts.truth))
    alerts = texts.malicious >= texts.bar
    found = {
        "LLM for everything": outcome(texts, every, alerts, oracle),
        "BERT only, from where it alerts": outcome(texts, none, alerts, oracle),
        "BERT only, from .5": outcome(texts, none, texts.malicious >= 0.5, oracle),
        "fixed .1 to .9": cascade(texts, np.full_like(none, 0.1), np.full_like(none, 0.9), oracle),
        "fixed .3 to .7": cascade(texts, np.full_like(none, 0.3), np.full_like(none, 0.7), oracle),
        "uncalibrated, as shipped": routed(texts, Router(), oracle),
    }
    for name, calibration in calibrations.items():
        found[name] = routed(texts, Router(calibration=calibration), oracle)
        share = float(found[name].calls(texts.truth.mean()))
        found[f"at random, as often as: {name}"] = outcome(texts, every * share, texts.malicious >= 0.5, oracle)
    return found
