"""Try a judge with everything that the report tells of it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analyzers.learning import trials
from analyzers.learning.measures import Array, calibration, classes, recall_at, score
from analyzers.learning.texts import LABELS, Text, benign_pool

#: Probabilities [N, labels] of texts with their source.
Judge = Callable[[Sequence[tuple[str, str]]], Array]
HTTP: Final = ("sqli", "xss", "path-traversal", "cmdi")
#: Texts of a trial, benign and as many malicious ones, at most: long ones at 1 %, short ones at 0.1 % false positives.
LONG, SHORT = 1_000, 4_000


def _pairs(texts: Sequence[Text], source: str | None = None) -> list[tuple[str, str]]:
    return [(text.text, source or text.source) for text in texts]


def _truth(texts: Sequence[Text]) -> NDArray[np.bool_]:
    return np.array([[label in text.labels for label in LABELS] for text in texts], bool)


def _apart(judge: Judge, malicious: Sequence[Text], benign: Sequence[Text], rate: float) -> float:
    """Return the recall at a rate of false positives."""
    found = judge(_pairs(malicious)).max(axis=1)
    return recall_at(found, judge(_pairs(benign)).max(axis=1), rate)[0]


def http(judge: Judge, texts: Sequence[Text]) -> dict[str, Any]:
    """Return how well the kinds of HTTP parameters are told apart: F1 a kind, benign among them, and their mean."""
    scores = judge(_pairs(texts))
    said = classes(scores[:, : len(HTTP)])
    said[(said == len(HTTP)) & (scores.max(axis=1) >= 0.5)] = len(HTTP) + 1  # malicious, of a kind that HTTP has not
    kinds = np.array([HTTP.index(text.labels[0]) if text.labels else len(HTTP) for text in texts])
    found = {name: score(kinds == place, said == place) for place, name in enumerate((*HTTP, "benign"))}
    confusion = [[int(((kinds == a) & (said == b)).sum()) for b in range(len(HTTP) + 2)] for a in range(len(HTTP) + 1)]
    error, bins = calibration(scores.max(axis=1), kinds < len(HTTP))
    return {
        "labels": {name: _record(one) for name, one in found.items()},
        "macro_f1": float(np.mean([one.f1 for one in found.values()])),
        "calibration_error": error,
        "reliability": bins,
        "confusion": confusion,
        "texts": len(texts),
    }


def home(judge: Judge, texts: Sequence[Text]) -> dict[str, Any]:
    """Return how well texts of held-back templates are judged, a label, and benign against malicious."""
    scores, truth = judge(_pairs(texts)), _truth(texts)
    any_of = np.asarray(truth.any(axis=1), bool)
    error, bins = calibration(scores.max(axis=1), any_of)
    return {
        "labels": {
            label: _record(score(truth[:, place], scores[:, place] >= 0.5)) for place, label in enumerate(LABELS)
        },
        "malicious": _record(score(any_of, scores.max(axis=1) >= 0.5)),
        "calibration_error": error,
        "reliability": bins,
        "texts": len(texts),
    }


def abroad(judge: Judge, texts: Sequence[Text]) -> dict[str, Any]:
    """Return how well texts by others are told apart, with their source told and not told."""
    truth = np.array([bool(text.labels) for text in texts])
    found: dict[str, Any] = {"texts": len(texts), "malicious": int(truth.sum())}
    for name, source in (("told", None), ("untold", "unknown")):
        scores = judge(_pairs(texts, source)).max(axis=1)
        error, bins = calibration(scores, truth)
        found[name] = {
            **_record(score(truth, scores >= 0.5)),
            "recall_at_1_percent": recall_at(scores[truth], scores[~truth], 0.01)[0],
            "recall_at_0_1_percent": recall_at(scores[truth], scores[~truth], 0.001)[0],
            "calibration_error": error,
            "reliability": bins,
        }
    return found


def wrapped(judge: Judge, texts: Sequence[Text], pool: Sequence[str]) -> dict[str, float]:
    """Return the recall of wrapped commands at 1 % false positives on benign ones wrapped alike."""
    return _trials(judge, trials.WRAPPED, texts, pool, 0.01, LONG)


def encoded(judge: Judge, texts: Sequence[Text], pool: Sequence[str]) -> dict[str, float]:
    """Return the recall of encoded HTTP parameters at 0.1 % false positives on benign ones encoded alike."""
    return _trials(judge, trials.ENCODED, texts, pool, 0.001, SHORT)


def _trials(
    judge: Judge, changes: dict[str, trials.Change], texts: Sequence[Text], pool: Sequence[str], rate: float, most: int
) -> dict[str, float]:
    rng = random.Random("trials")
    texts = rng.sample(texts, len(texts))
    malicious, benign = ([t for t in texts if bool(t.labels) is bad][:most] for bad in (True, False))
    if not malicious or not benign:
        return {}
    return {
        name: _apart(judge, trials.changed(malicious, change, pool, 1), trials.changed(benign, change, pool, 2), rate)
        for name, change in {"as they are": _same, **changes}.items()
    }


def _same(text: str, rng: Any, benign: Any) -> str:
    return text


def families(judge: Judge, unseen: Sequence[Text], benign: Sequence[Text]) -> dict[str, float]:
    """Return the recall of each family, unseen in training, at 0.1 % false positives on its source's benign texts."""
    found = {}
    for source in sorted({text.source for text in unseen}):
        against = judge(_pairs([text for text in benign if text.source == source])).max(axis=1)
        for family in sorted({text.family for text in unseen if text.source == source}):
            some = [text for text in unseen if text.family == family and text.source == source]
            found[family] = recall_at(judge(_pairs(some)).max(axis=1), against, 0.001)[0]
    return found


def speed(judge: Judge, texts: Sequence[Text]) -> float:
    """Return texts a second of one core, everything from the raw text on included."""
    pairs = list(dict.fromkeys(_pairs(texts)))
    began = time.process_time()
    judge(pairs)
    return len(pairs) / max(time.process_time() - began, 1e-9)


def everything(
    judge: Judge, generated: Sequence[Text], parameters: Sequence[Text], others: dict[str, list[Text]]
) -> dict[str, Any]:
    """Return all that is told of a judge, but for the families left out."""
    pool = benign_pool([*generated, *parameters])
    found: dict[str, Any] = {"home": home(judge, generated)}
    if parameters:
        found["http"] = http(judge, parameters)
    found["robustness"] = {
        "wrapped": wrapped(judge, [text for text in generated if text.source == "shell"], pool["shell"]),
        "encoded": encoded(judge, parameters or [t for t in generated if t.source == "http"], pool["http"]),
    }
    for name, texts in others.items():
        commands = [text for text in texts if text.source == "shell"]
        found.setdefault("abroad", {})[name] = {
            **abroad(judge, texts),
            "wrapped": wrapped(judge, commands, pool["shell"]),
        }
    found["texts_per_second"] = speed(judge, [*generated, *parameters])
    return found


def _record(found: Any) -> dict[str, float]:
    return {"precision": found.precision, "recall": found.recall, "f1": found.f1, "count": found.count}
