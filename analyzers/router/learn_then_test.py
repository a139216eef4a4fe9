"""Fit thresholds so that what they let through is bounded with confidence, by Learn then Test. Pure.

Angelopoulos, Bates, Candès, Jordan and Lei, "Learn then Test: Calibrating Predictive Algorithms to Achieve Risk
Control" (2021): each threshold of a grid that was fixed before is a hypothesis, "its risk is above the limit". Its
p-value is exact, for the number of malicious texts below the threshold is binomial. They are tested in a fixed order,
the most cautious first, each at the whole level, until one cannot be rejected; all before it hold at once. The risk
rises with the threshold, and cost falls, so the last that held is the cheapest.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from analyzers.router.calibration import ANY, Calibration, CalibrationError, Fitted, Point
from analyzers.router.exact import binomial_cdf, least_trials

#: Thresholds that are tried, as six-decimal probabilities: log-odds from -13.8 to 13.8 in steps of .05.
GRID: Final = tuple(sorted({round(1 / (1 + math.exp(-place / 20)), 6) for place in range(-276, 277)}))
#: Every so many-th point of the grid is written to the file, and those beside the choice.
_SHOWN = 6


class Labelled(msgspec.Struct, frozen=True, gc=False):
    """A text whose truth is known, as the text judge sees it."""

    source: str
    truth: bool
    #: Probability of its most probable label, and that from which this label alerts.
    malicious: float
    alerts_from: float


def calibrate(
    labelled: Iterable[Labelled],
    model: str,
    max_miss_rate: float,
    confidence: float,
    *,
    max_false_rate: float | None = None,
    pooled: bool = False,
    labels: str = "",
    windows: int = 16,
    screen: bool = False,
) -> Calibration:
    """Return thresholds by source, so that of malicious texts of each source a bounded share is decided benign.

    The bound holds for all sources at once with ``confidence``, which they share evenly, if future texts are like the
    labelled ones (exchangeable). A source with too few labels has no threshold, and says how many are missing.

    Args:
        labelled: texts, each once.
        model: version that judged them.
        max_miss_rate: P(decided benign | malicious) that is allowed.
        confidence: 1 - delta.
        max_false_rate: P(decided malicious | benign) that is allowed, with the same confidence, a claim of its own;
            None: what alerts is malicious.
        pooled: one threshold for the texts of all sources together; the bound is then that of this mixture.
        labels: SHA-256 of where they are from.
        windows: how many windows of a long text the judge read.
        screen: whether its screen cleared plainly benign texts.

    Raises:
        CalibrationError: no source has enough labels, or even the most cautious threshold misses too many.
    """
    if (
        not 0 < max_miss_rate < 1
        or not 0 < confidence < 1
        or (max_false_rate is not None and not 0 < max_false_rate < 1)
    ):
        raise CalibrationError("rates and confidence are above 0 and below 1")
    groups: dict[str, list[Labelled]] = defaultdict(list)
    for text in labelled:
        groups[ANY if pooled else text.source].append(text)
    counts = {source: sum(text.truth for text in texts) for source, texts in groups.items()}
    enough, needed = _enough(counts, max_miss_rate, confidence)
    refused = {source: _missing(counts[source], needed) for source in sorted(groups.keys() - enough)}
    fitted = {}
    for source in sorted(enough):
        try:
            own = 1 - (1 - confidence) / len(enough)
            fitted[source] = fit(groups[source], max_miss_rate, own, max_false_rate)
        except CalibrationError as error:
            refused[source] = str(error)
    if not fitted:
        raise CalibrationError(_refusal(groups, counts, refused, max_miss_rate, confidence, pooled))
    return Calibration(
        model=model,
        max_miss_rate=max_miss_rate,
        confidence=confidence,
        max_false_rate=max_false_rate,
        labels=labels,
        windows=windows,
        screen=screen,
        sources=fitted,
        refused=refused,
    ).sealed()


def fit(
    texts: Sequence[Labelled], max_miss_rate: float, confidence: float, max_false_rate: float | None = None
) -> Fitted:
    """Return the thresholds of one source. Raises CalibrationError."""
    bad = sorted(text.malicious for text in texts if text.truth)
    good = sorted(text.malicious for text in texts if not text.truth)
    if (needed := least_trials(max_miss_rate, confidence)) > len(bad):
        raise CalibrationError(_missing(len(bad), needed))
    cdf = binomial_cdf(len(bad), len(bad), max_miss_rate)
    missed = [bisect_left(bad, threshold) for threshold in GRID]
    chosen = -1
    while chosen + 1 < len(GRID) and cdf[missed[chosen + 1]] <= 1 - confidence:
        chosen += 1
    if chosen < 0:
        raise CalibrationError(
            f"{missed[0]:,} of {len(bad):,} malicious texts have a probability below {GRID[0]}: no threshold keeps "
            f"the share of those missed below {max_miss_rate:.2%}"
        )
    low = GRID[chosen]
    high = None if max_false_rate is None else _high(good, max_false_rate, confidence)
    high = None if high is None else max(high, low)
    unsettled = [
        sum(
            low <= text.malicious < (text.alerts_from if high is None else high)
            for text in texts
            if text.truth == truth
        )
        for truth in (False, True)
    ]
    curve = tuple(
        Point(threshold, missed[place], round(cdf[missed[place]], 6), len(good) - bisect_left(good, threshold))
        for place, threshold in enumerate(GRID)
        if place % _SHOWN == 0 or abs(place - chosen) <= 1
    )
    return Fitted(
        benign_below=low,
        malicious_from=high,
        malicious=len(bad),
        benign=len(good),
        missed=missed[chosen],
        p_value=round(cdf[missed[chosen]], 6),
        unsettled_benign=round(unsettled[0] / len(good), 6) if good else 0.0,
        unsettled_malicious=round(unsettled[1] / len(bad), 6),
        curve=curve,
    )


def _high(good: Sequence[float], max_false_rate: float, confidence: float) -> float | None:
    """Return the least threshold from which few enough benign texts are; None: they are too few to say."""
    cdf = binomial_cdf(len(good), len(good), max_false_rate) if good else []
    found = None
    for threshold in reversed(GRID):
        above = len(good) - bisect_left(good, threshold)
        if not cdf or cdf[above] > 1 - confidence:
            break
        found = threshold
    return found


def _enough(counts: dict[str, int], rate: float, confidence: float) -> tuple[set[str], int]:
    """Return the sources of which there are enough malicious texts to share the confidence, and how many that are.

    It depends on the counts only, not on any probability, or the claim would not hold.
    """
    kept = sorted(counts, key=lambda source: (-counts[source], source))
    while True:
        needed = least_trials(rate, 1 - (1 - confidence) / max(len(kept), 1))
        if not kept or counts[kept[-1]] >= needed:
            return set(kept), needed
        kept.pop()


def _missing(count: int, needed: int) -> str:
    return f"{count:,} malicious texts, {needed - count:,} are missing"


def _refusal(
    groups: dict[str, list[Labelled]],
    counts: dict[str, int],
    refused: dict[str, str],
    rate: float,
    confidence: float,
    pooled: bool,
) -> str:
    if not groups:
        return "there are no labels"
    told = "; ".join(f"{source}: {why}" if source != ANY else why for source, why in refused.items())
    said = f"too few labels to claim {rate:.3g} with confidence {confidence:.3g}: {told}"
    total, needed = sum(counts.values()), least_trials(rate, confidence)
    if not pooled and len(groups) > 1 and total >= needed:
        said += f"; --pooled fits one threshold on all {total:,}"
    return said
