"""Where the claim of a calibration must hold, by random splits; and where it must break, by families and origin."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from analyzers.router.calibration import Calibration, CalibrationError
from analyzers.router.drift import DriftWatch
from analyzers.router.learn_then_test import Labelled, calibrate
from analyzers.router.router import Router
from benchmarks.router_policies import Oracle
from benchmarks.router_texts import LEAST, Sample

#: Texts of a simulated stream that the drift watch learns from, and of each of four blocks that it compares.
REFERENCE, BLOCK, BLOCKS = 5_000, 2_500, 4
#: One in so many that the judge decides benign is audited, and how many audits are compared. Production audits one in
#: 10,000; a stream of that length would be these few texts over and over.
AUDIT_ONE_IN, AUDITS = 5, 400


def splits(
    samples: Sequence[Sample], model: str, rate: float, confidence: float, share: float, count: int
) -> dict[str, Any]:
    """Return how often calibrations on random parts miss more than they claim, of the rest and of all texts.

    On the rest: texts are dealt out once, so what calibration did not see is what it is tried on, and its own chance is
    part of the answer. Of all: as many are drawn with replacement, and the true rate of a threshold is that of the
    whole set, which is exactly what the claim is about.
    """
    labelled = [sample.labelled for sample in samples]
    exceeded = {"rest": 0, "all": 0}
    worst = {"rest": 0.0, "all": 0.0}
    rates = {"rest": 0.0, "all": 0.0}
    for seed in range(count):
        chances = random.Random(seed)
        dealt = list(labelled)
        chances.shuffle(dealt)
        some = round(share * len(dealt))
        drawn = chances.choices(labelled, k=some)
        for name, fitted, tried in (("rest", dealt[:some], dealt[some:]), ("all", drawn, labelled)):
            router = Router(calibration=calibrate(fitted, model, rate, confidence))
            by_source = missed(router, tried)
            exceeded[name] += max(by_source.values()) > rate
            worst[name] = max(worst[name], *by_source.values())
            rates[name] += sum(by_source.values()) / len(by_source) / count
    malicious = Counter(text.source for text in labelled if text.truth)
    return {
        "splits": count,
        "calibrated_on": {source: round(share * number) for source, number in sorted(malicious.items())},
        "max_miss_rate": rate,
        "confidence": confidence,
        "exceeded": exceeded,
        "worst": {name: round(value, 5) for name, value in worst.items()},
        "mean": {name: round(value, 5) for name, value in rates.items()},
    }


def missed(router: Router, texts: Sequence[Labelled]) -> dict[str, float]:
    """Return which share of the malicious texts of each source is settled as benign."""
    of: Counter[str] = Counter()
    hits: Counter[str] = Counter()
    for text in texts:
        if text.truth:
            of[text.source] += 1
            hits[text.source] += router.settled(text.malicious, text.alerts_from, text.source)
    return {source: hits[source] / number for source, number in of.items()}


def breaks(
    samples: Sequence[Sample], model: str, rate: float, confidence: float, oracle: Oracle, prevalences: Sequence[float]
) -> list[dict[str, Any]]:
    """Return, for each case in which what comes is not like what was labelled, the rate missed and what was noticed."""
    found: list[dict[str, Any]] = []
    for name, before, after in _cases(samples):
        try:
            calibration = calibrate(before, model, rate, confidence)
        except CalibrationError as error:
            found.append({"case": name, "refused": str(error)})
            continue
        bad = [text for text in after if text.truth]
        rates = missed(Router(calibration=calibration), bad)
        found.append(
            {
                "case": name,
                "malicious": len(bad),
                "missed": round(sum(rates[text.source] for text in bad) / len(bad), 4),
                "noticed": {
                    str(prevalence): noticed(calibration, before, after, prevalence, oracle)
                    for prevalence in prevalences
                },
            }
        )
    return found


def _cases(samples: Sequence[Sample]) -> list[tuple[str, list[Labelled], list[Labelled]]]:
    """Return cases: a family that calibration did not see; texts of another origin."""
    cases = []
    by_set: dict[str, list[Sample]] = {}
    for sample in samples:
        by_set.setdefault(sample.set, []).append(sample)
    for name in ("commands", "parameters"):
        own = by_set.get(name, [])
        if own:
            cases.append((f"{name}, then others of the same", *_halves(own)))
        good = [sample.labelled for sample in own if not sample.labelled.truth]
        known, fresh = good[::2], good[1::2]
        families = Counter(sample.family for sample in own if sample.labelled.truth)
        for family, count in sorted(families.items()):
            if count < LEAST or len(families) < 2:
                continue
            rest = [sample.labelled for sample in own if sample.labelled.truth and sample.family != family]
            new = [sample.labelled for sample in own if sample.labelled.truth and sample.family == family]
            cases.append((f"{name} without {family}, then {family}", known + rest, fresh + new))
    for source, name in (("shell", "commands"), ("http", "parameters")):
        ours = [s.labelled for s in by_set.get("templates", []) if s.labelled.source == source]
        others = [s.labelled for s in by_set.get(name, [])]
        if ours and others:
            cases.append((f"templates of {source}, then {name} of others", ours, others))
            cases.append((f"{name} of others, then templates of {source}", others, ours))
    return cases


def _halves(samples: Sequence[Sample]) -> tuple[list[Labelled], list[Labelled]]:
    dealt = [sample.labelled for sample in samples]
    random.Random(0).shuffle(dealt)
    return dealt[::2], dealt[1::2]


def noticed(
    calibration: Calibration,
    before: Sequence[Labelled],
    after: Sequence[Labelled],
    prevalence: float,
    oracle: Oracle,
    seed: int = 0,
) -> list[str]:
    """Return what the drift watch says when a stream turns from texts like those labelled to others.

    Streams are drawn with replacement, a share ``prevalence`` malicious, before and after alike.
    """
    chances = random.Random(f"{seed}-{prevalence}")
    router = Router(calibration=calibration)
    watch = DriftWatch(REFERENCE, BLOCK, AUDITS)
    kinds: set[str] = set()
    for texts, count in ((before, REFERENCE + BLOCK), (after, BLOCKS * BLOCK)):
        pools = {truth: [text for text in texts if text.truth == truth] for truth in (False, True)}
        kinds = set()
        for _ in range(count):
            text = chances.choice(pools[chances.random() < prevalence])
            band = router.band(text.source, text.alerts_from)
            benign = text.malicious < band.low
            watch.count(
                "benign" if benign else "malicious" if text.malicious >= band.high else "unsettled", text.malicious
            )
            if benign and chances.random() < 1 / AUDIT_ONE_IN:
                accused = chances.random() >= oracle.misses if text.truth else chances.random() < oracle.accuses
                watch.audited("benign", not accused)
            kinds |= {drift.kind for drift in watch.drifts()}
    return sorted(kinds)
