"""What is read of a text that is too long to be read whole. Pure."""

from __future__ import annotations

from typing import Final

from analyzers.bert.canonical import MAX_TEXT

#: Characters read of the head and the tail of a long text, and of each of the samples between.
HEAD: Final = 32_768
TAIL: Final = 16_000
SAMPLES: Final = 4
SAMPLE: Final = 4_000
#: Windows of a text that the encoder reads, at most, unless the settings say otherwise.
WINDOWS: Final = 8


def spread(count: int, most: int) -> list[int]:
    """Return the places of ``count`` things that are looked at: all, or half from the head, a quarter from the tail.

    >>> spread(3, 4), spread(100, 8)
    ([0, 1, 2], [0, 1, 2, 3, 27, 74, 98, 99])
    """
    if count <= most:
        return list(range(count))
    head, tail = most - most // 2, most // 4
    between, some = count - head - tail, most - head - tail
    middle = [head + (2 * place + 1) * between // (2 * some) for place in range(some)]
    return [*range(head), *middle, *range(count - tail, count)]


def excerpt(text: str) -> str:
    """Return the text; of one over ``MAX_TEXT`` characters head, tail and evenly spread samples, a line each.

    >>> len(excerpt("a" * 65_536)), len(excerpt("a" * 1_000_000))
    (65536, 64773)
    """
    if len(text) <= MAX_TEXT:
        return text
    between = len(text) - HEAD - TAIL
    parts = [text[:HEAD]]
    for number in range(SAMPLES):
        start = HEAD + (2 * number + 1) * between // (2 * SAMPLES) - SAMPLE // 2
        parts.append(text[start : start + SAMPLE])
    parts.append(text[-TAIL:])
    return "\n".join(parts)
