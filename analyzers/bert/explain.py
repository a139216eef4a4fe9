"""Which words of a text speak for its verdict. On demand only: it costs a run of the model a word."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
from msgspec import structs

from analyzers.bert.canonical import Canonical, canonical, part
from analyzers.bert.excerpt import excerpt
from analyzers.bert.judge import TextJudge, place_of, sound

#: Parts of a text that are left out in turn; words of a longer text are taken together.
PARTS = 64
#: Parts that are named.
NAMED = 8
#: Longest part that is named, characters.
_LONGEST = 120
_WORD = re.compile(r"\w+|[^\w\s]+")


class Part(msgspec.Struct, frozen=True):
    """A part of the canonical text and what it adds to the greatest score: positive speaks for malicious."""

    text: str
    #: Where it begins in the canonical text.
    start: int
    #: By how much the score falls without it, −1 to 1.
    weight: float


def explain(judge: TextJudge, text: str, source: str) -> list[Part]:
    """Return the parts that weigh most, heaviest first: each is what the score loses when that part is left out.

    The score is that of the text's most probable label. Of a text of several windows or commands the one is explained
    in which that label is most probable, by its score alone. What a text shows twice weighs little by this measure.
    """
    form = canonical(excerpt(sound(text)), source)
    start, form = _telling(judge, form, place_of(source))
    shown = form.text
    words = list(_WORD.finditer(shown))
    if not words:
        return []
    size = -(-len(words) // PARTS)
    spans = [(words[at].start(), words[min(at + size, len(words)) - 1].end()) for at in range(0, len(words), size)]
    changed = [shown[:first] + shown[last:] for first, last in spans]
    whole, *without = _scores(judge, form, [shown, *changed], place_of(source))
    label = max(range(len(whole)), key=whole.__getitem__)
    parts = [
        Part(shown[first:last][:_LONGEST], start + first, round(whole[label] - scores[label], 6))
        for (first, last), scores in zip(spans, without, strict=True)
    ]
    return sorted(parts, key=lambda part: -abs(part.weight))[:NAMED]


def _telling(judge: TextJudge, form: Canonical, source: int) -> tuple[int, Canonical]:
    """Return where the window or command of a canonical text with the highest score begins, and itself."""
    encoder = judge.encoder
    (reading,) = encoder.read([(form.text, source, form.features)], judge.windows)
    if reading.whole and len(reading.windows) == 1:
        return 0, form
    logits, (screened,) = encoder.logits(reading.windows), encoder.screened([reading])
    rows = [slice(row, row + 1) for row in range(len(logits))]
    best_of = [max(encoder.probabilities(logits[at], screened[at])) for at in rows]
    row = best_of.index(max(best_of))
    if row >= reading.over_whole:
        command = reading.parts[1 + row - reading.over_whole]
        return form.text.find(command), structs.replace(form, text=command, features=part(form.features, command))
    if reading.whole and reading.over_whole == 1:
        return 0, form
    best, pieces = reading.windows[row], encoder.pieces(form.text)
    start, end = pieces[best.start][1][0], pieces[best.start + len(best.tokens) - 1][1][1]
    return start, structs.replace(form, text=form.text[start:end])


def _scores(judge: TextJudge, form: Canonical, texts: Sequence[str], source: int) -> list[Sequence[float]]:
    forms = [(structs.replace(form, text=text), source, False) for text in texts]
    return [verdict.scores for verdict in judge.encode(forms)]
