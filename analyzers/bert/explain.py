"""Which words of a text speak for its verdict. On demand only: it costs a run of the model a word."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from analyzers.bert.canonical import Canonical, canonical
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

    The score is that of the text's most probable label. What the text shows twice weighs little by this measure.
    """
    form = canonical(excerpt(sound(text)), source)
    words = list(_WORD.finditer(form.text))
    if not words:
        return []
    size = -(-len(words) // PARTS)
    spans = [(words[at].start(), words[min(at + size, len(words)) - 1].end()) for at in range(0, len(words), size)]
    changed = [form.text[:start] + form.text[end:] for start, end in spans]
    whole, *without = _scores(judge, form, [form.text, *changed], place_of(source))
    label = max(range(len(whole)), key=whole.__getitem__)
    parts = [
        Part(form.text[start:end][:_LONGEST], start, round(whole[label] - scores[label], 6))
        for (start, end), scores in zip(spans, without, strict=True)
    ]
    return sorted(parts, key=lambda part: -abs(part.weight))[:NAMED]


def _scores(judge: TextJudge, form: Canonical, texts: Sequence[str], source: int) -> list[Sequence[float]]:
    forms = [(msgspec.structs.replace(form, text=text), source, False) for text in texts]
    return [verdict.scores for verdict in judge.encode(forms)]
