"""The screen clears what is plainly benign, the same in any company, and one that is broken is refused."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analyzers.bert.canonical import FEATURES, SOURCES
from analyzers.bert.encoder import Encoder
from analyzers.bert.judge import BENIGN, TextJudge, Verdict
from analyzers.bert.manifest import ModelError
from analyzers.bert.screen import BITS, STRETCH, Screen
from analyzers.learning.screen import LEAST, NEVER, fit
from analyzers.learning.texts import Prepared

WORDS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel")
HTTP, SHELL = SOURCES.index("http"), SOURCES.index("shell")


def texts(seed: int, count: int) -> list[Prepared]:
    """Return texts of which every second has a bad word in it."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        words = rng.choices(WORDS, k=rng.randrange(1, 60 if number % 29 == 0 else 9))
        if number % 2:
            words.insert(rng.randrange(len(words) + 1), "union select")
        found.append(Prepared(" ".join(words), HTTP, (0.0,) * len(FEATURES), (number % 2,)))
    return found


@pytest.fixture(scope="module")
def screen() -> Screen:
    return fit(texts(1, 600), texts(2, 2 * LEAST + 100))


def test_it_clears_the_benign_and_hardly_a_malicious_text(screen: Screen) -> None:
    fresh = texts(3, 2_000)
    cleared = screen.cleared([text.text for text in fresh], [text.source for text in fresh])
    benign = [clear for text, clear in zip(fresh, cleared, strict=True) if not text.targets[0]]
    malicious = [clear for text, clear in zip(fresh, cleared, strict=True) if text.targets[0]]
    assert np.mean(benign) > 0.9 and np.mean(malicious) < 0.01


def test_it_finds_a_word_anywhere_in_a_long_text(screen: Screen) -> None:
    filler = " ".join(random.Random(4).choices(WORDS, k=2_000))
    middle = filler[:6_000] + " union select " + filler[6_000:]
    plain, hidden = screen.scores([filler, middle], [HTTP, HTTP])
    assert plain < screen.clear[HTTP] < hidden


def test_of_a_source_with_too_few_examples_it_clears_nothing(screen: Screen) -> None:
    assert screen.clear[SHELL] == np.float32(NEVER)
    assert screen.cleared(["alpha", "alpha"], [HTTP, SHELL]) == [True, False]


def test_a_score_does_not_depend_on_the_texts_around_it(screen: Screen) -> None:
    lengths = [0, 1, 2, 3, 4, 5, STRETCH - 1, STRETCH, STRETCH + 1, 3 * STRETCH // 2, 5 * STRETCH]
    many = ["é" * length for length in lengths] + ["ab cd " * length for length in lengths] + ["\0\0", "\ud800"]
    together = screen.scores(many, [HTTP] * len(many))
    alone = np.concatenate([screen.scores([text], [HTTP]) for text in many])
    assert np.array_equal(together, alone)
    assert len(screen.scores([], [])) == 0


def test_what_is_packed_comes_back(screen: Screen) -> None:
    again = Screen.load(screen.pack())
    some = [text.text for text in texts(5, 100)]
    assert np.array_equal(again.scores(some, [HTTP] * 100), screen.scores(some, [HTTP] * 100))
    assert np.array_equal(again.clear, screen.clear)


def test_a_cleared_text_is_benign_and_the_encoder_is_spared(encoder: Encoder, screen: Screen) -> None:
    everything = Screen(
        np.zeros(2**BITS, np.float32), np.zeros(len(SOURCES), np.float32), np.ones(len(SOURCES), np.float32)
    )
    asked = [("alpha", "http"), ("id=1' or '1'='1", "http")]
    encoder.screen, kept = everything, encoder.screen
    try:
        judge = TextJudge(encoder, screened=True)
        for verdict in judge.judge(asked):
            assert isinstance(verdict, Verdict)
            assert (verdict.label, verdict.malicious) == (BENIGN, 0.0)
        assert (judge.counts["screen"], judge.counts["encoder"]) == (2, 0)
        unscreened = TextJudge(encoder)
        unscreened.judge(asked)
        assert (unscreened.counts["screen"], unscreened.counts["encoder"]) == (0, 2)
    finally:
        encoder.screen = kept


def bomb() -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, weights=np.zeros(2**24), bias=np.zeros(6), clear=np.zeros(6))
    return out.getvalue()


def pickled() -> bytes:
    out = io.BytesIO()
    np.savez(out, weights=np.array([Path()], dtype=object), bias=np.zeros(6), clear=np.zeros(6))
    return out.getvalue()


def nothing() -> bytes:
    return b""


def other() -> bytes:
    out = io.BytesIO()
    np.savez(out, weights=np.full(2**BITS, np.nan), bias=np.zeros(6), clear=np.zeros(6))
    return out.getvalue()


@pytest.mark.parametrize("content", [bomb, pickled, nothing, other])
def test_a_model_with_a_screen_that_is_none_is_refused(
    changed: Callable[..., Path], content: Callable[[], bytes]
) -> None:
    with pytest.raises(ModelError, match="does not run"):
        Encoder.load(changed({"screen.npz": content()}))
