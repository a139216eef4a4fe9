"""Fit the linear screen that stands before the encoder: logistic regression on hashed n-grams of its texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analyzers.bert.canonical import SOURCES
from analyzers.bert.screen import BITS, ORDERS, Screen, stretches
from analyzers.learning.texts import Prepared

Array = npt.NDArray[np.float64]

#: Texts that are fitted on, at most: more cost memory and change little.
MOST: Final = 80_000
#: Inverse of the penalty, chosen on validation texts; and steps.
_C: Final = 20.0
_STEPS: Final = 60
#: Share of the malicious validation texts of a source that the screen may clear, and how many there must be to say so.
MISSED: Final = 0.001
LEAST: Final = 1_000
#: A score that no text falls below.
NEVER: Final = -1e6


def fit(train: Sequence[Prepared], valid: Sequence[Prepared], seed: int = 1) -> Screen:
    """Return the screen: of each source it clears what scores below all but ``MISSED`` of the malicious texts."""
    chosen = np.random.default_rng(seed).permutation(len(train))[:MOST]
    texts = [train[index] for index in chosen]
    design, owners = _design(texts)
    malicious = np.array([text.malicious for text in texts])
    alone = np.bincount(owners, minlength=len(texts))[owners] == 1
    weights = _regress(design[alone], malicious[owners][alone])
    # Of a long malicious text not every stretch is: the most suspicious one stands for it.
    scores = design @ weights
    best = np.full(len(texts), -np.inf)
    np.maximum.at(best, owners, scores)
    telling = ~malicious[owners] | (scores >= best[owners])
    weights = _regress(design[telling], malicious[owners][telling])
    # As it will be read from the file, in 16 bits.
    rounded = weights[: 2**BITS].astype(np.float16).astype(np.float32)
    bias = weights[2**BITS :].astype(np.float32)
    screen = Screen(rounded, bias, np.full(len(SOURCES), NEVER, dtype=np.float32))
    return Screen(rounded, bias, clearing(screen, valid))


def clearing(screen: Screen, valid: Sequence[Prepared]) -> npt.NDArray[np.float32]:
    """Return the score of each source below which texts are cleared."""
    scores = screen.scores([text.text for text in valid], [text.source for text in valid])
    sources = np.array([text.source for text in valid])
    malicious = np.array([text.malicious for text in valid])
    clear = np.full(len(SOURCES), NEVER, dtype=np.float32)
    for source in range(len(SOURCES)):
        found = np.sort(scores[malicious & (sources == source)])
        if len(found) >= LEAST:
            clear[source] = found[int(len(found) * MISSED)]
    return clear


def _design(texts: Sequence[Prepared]) -> tuple[Any, npt.NDArray[np.int64]]:
    """Return a sparse matrix, stretches x (buckets, sources), and the text of each stretch."""
    from scipy import sparse

    hashed, starts, ends, owners = stretches([text.text for text in texts])
    lengths = ends - starts
    rows = np.repeat(np.arange(len(starts)), lengths)
    # The places from each start to its end, one after the other.
    places = np.arange(lengths.sum()) + np.repeat(starts - np.append(0, np.cumsum(lengths)[:-1]), lengths)
    columns = np.concatenate([buckets[places] for buckets in hashed]).astype(np.int64)
    values = np.tile((1 / np.sqrt(lengths * len(ORDERS)))[rows], len(ORDERS))
    grams = sparse.csr_matrix((values, (np.tile(rows, len(ORDERS)), columns)), shape=(len(starts), 2**BITS))
    told = np.array([text.source for text in texts])[owners]
    shape = (len(starts), len(SOURCES))
    sources = sparse.csr_matrix((np.ones(len(starts)), (np.arange(len(starts)), told)), shape=shape)
    return sparse.hstack([grams, sources]).tocsr(), owners


def _regress(design: Any, malicious: npt.NDArray[np.bool_]) -> Array:
    """Return the weights of a logistic regression with a quadratic penalty."""
    from scipy.optimize import minimize

    # Buckets that no text has keep a weight of 0.
    used = np.flatnonzero(design.getnnz(axis=0))
    design, size = design[:, used], design.shape[1]
    signs = np.where(malicious, 1.0, -1.0)
    turned = design.T.tocsr()

    def loss(weights: Array) -> tuple[float, Array]:
        margins = signs * (design @ weights)
        slopes = turned @ (-signs / (1 + np.exp(np.clip(margins, -50, 50))))
        return float(np.logaddexp(0, -margins).sum() + weights @ weights / (2 * _C)), slopes + weights / _C

    weights = np.zeros(size)
    first = np.zeros(len(used))
    weights[used] = minimize(loss, first, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}).x
    return weights
