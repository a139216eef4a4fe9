"""Our own tokenizer, windows over long texts, and batches of one length."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from analyzers.bert.canonical import part
from analyzers.bert.commands import commands
from analyzers.learning.texts import Prepared

PAD, CLS, SEP = 0, 1, 2
VOCABULARY: Final = 4096
#: Tokens of a window, [CLS] and [SEP] among them, and how far the next window starts.
WINDOW: Final = 128
STRIDE: Final = 96
#: Tokens that windows share in training, at least; and how many windows of a text are learned from, at most, and how
#: many of its commands.
SHARED: Final = 30
LEARNED: Final = 12
LEARNED_COMMANDS: Final = 24
#: Cuts a character, of the texts that are cut.
CUT: Final = 0.12
#: Digits in groups of three at most, so that no number is a word of its own.
_DIGITS: Final = Regex("[0-9]{1,3}")


def train_tokenizer(texts: Iterable[str], size: int = VOCABULARY) -> Tokenizer:
    """Return byte-level BPE learned from canonical texts; every byte is a token, so nothing is unknown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(_DIGITS, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=3,
        special_tokens=["[PAD]", "[CLS]", "[SEP]"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=16,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


class Encoded(msgspec.Struct, frozen=True):
    """A text as token ids, without [CLS] and [SEP]."""

    ids: tuple[int, ...]
    source: int
    features: tuple[float, ...]
    targets: tuple[int, ...]
    #: Ids and features of each of its commands that is judged by itself too.
    commands: tuple[tuple[tuple[int, ...], tuple[float, ...]], ...] = ()


def encode(tokenizer: Tokenizer, texts: Sequence[Prepared], rng: random.Random | None = None) -> list[Encoded]:
    """Return the token ids of texts; with ``rng`` words are cut at random places, so that no merge is relied on.

    The like of BPE dropout (Provilkov et al. 2020), which the tokenizer has too, but not for a given seed.
    """
    # A special token's name in a text is text.
    tokenizer.encode_special_tokens = True
    lines = [commands(text.text, text.source) for text in texts]
    read = [text.text for text in texts] + [one for some in lines for one in some]
    if rng is None:
        found = tokenizer.encode_batch(read, add_special_tokens=False)
    else:
        found = tokenizer.encode_batch(
            [_cut(text, rng) for text in read], is_pretokenized=True, add_special_tokens=False
        )
    own = iter(found[len(texts) :])
    return [
        Encoded(
            tuple(tokens.ids),
            text.source,
            text.features,
            text.targets,
            tuple((tuple(ids), part(text.features, one)) for one in some if len(ids := next(own).ids) <= WINDOW - 2),
        )
        for tokens, text, some in zip(found[: len(texts)], texts, lines, strict=True)
    ]


def _cut(text: str, rng: random.Random) -> list[str]:
    """Return the text in pieces; half of the texts are in one."""
    if len(text) < 4 or rng.random() < 0.5:
        return [text]
    places = sorted({rng.randrange(1, len(text)) for _ in range(round(len(text) * CUT))})
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def windows(length: int) -> list[tuple[int, int]]:
    """Return (start, end) of the windows over that many tokens, the last one flush with the end."""
    size = WINDOW - 2
    if length <= size:
        return [(0, length)]
    starts = [*range(0, length - size, STRIDE), length - size]
    return [(start, start + size) for start in starts]


def learned_windows(length: int) -> list[tuple[int, int]]:
    """Return (start, end) of windows spread evenly over that many tokens, as few as share ``SHARED`` tokens."""
    size = WINDOW - 2
    more = min(max(-(-(length - size) // (size - SHARED)), 0), LEARNED - 1)
    starts = [place * (length - size) // more for place in range(more + 1)] if more else [0]
    return [(start, min(start + size, length)) for start in starts]


#: The place of a text in a list, and ids and features of what is read of it at once.
Row = tuple[int, tuple[int, ...], tuple[float, ...]]


def _rows(place: int, text: Encoded, spans: Sequence[tuple[int, int]], most: int | None = None) -> list[Row]:
    """Return windows over a text and its commands, ``most`` of them."""
    found: list[Row] = [(place, text.ids[start:end], text.features) for start, end in spans]
    return found + [(place, ids, features) for ids, features in text.commands[:most]]


class Batch(msgspec.Struct, frozen=True):
    """Inputs of the encoder, and the place of each row's text in the list."""

    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    token_type_ids: NDArray[np.int64]
    features: NDArray[np.float32]
    rows: NDArray[np.int64]


def batch(texts: Sequence[Encoded], parts: Sequence[Row]) -> Batch:
    """Return rows as padded arrays."""
    length = max(len(read) for _, read, _ in parts) + 2
    ids = np.zeros((len(parts), length), np.int64)
    mask = np.zeros_like(ids)
    for row, (_, read, _) in enumerate(parts):
        ids[row, : len(read) + 2] = (CLS, *read, SEP)
        mask[row, : len(read) + 2] = 1
    types = np.array([texts[place].source for place, _, _ in parts], np.int64)
    return Batch(
        input_ids=ids,
        attention_mask=mask,
        token_type_ids=np.repeat(types[:, None], length, axis=1),
        features=np.array([features for _, _, features in parts], np.float32),
        rows=np.array([place for place, _, _ in parts], np.int64),
    )


def training_batches(texts: Sequence[Encoded], size: int, rng: random.Random) -> Iterator[list[Batch]]:
    """Yield texts of about one length in random order, of each all windows, ``size`` of them at most, and its commands.

    What is learned from at once comes as several batches, each of rows of about one length.

    A text's label is that of one of its windows, and which one is not known: the loss is of the greatest logit over
    all of them, as in serving. A window by itself would teach that the benign part of a malicious text is malicious.
    """
    order = list(range(len(texts)))
    rng.shuffle(order)
    pool = 50 * size
    for begin in range(0, len(order), pool):
        some = sorted(order[begin : begin + pool], key=lambda place: len(texts[place].ids))
        groups: list[list[Row]] = [[]]
        count = 0
        for place in some:
            spans = learned_windows(len(texts[place].ids))
            if count and count + len(spans) > size:
                groups.append([])
                count = 0
            groups[-1] += _rows(place, texts[place], spans, LEARNED_COMMANDS)
            count += len(spans)
        rng.shuffle(groups)
        for group in groups:
            yield [batch(texts, rows) for rows in _alike(group)]


def _alike(rows: list[Row]) -> Iterator[list[Row]]:
    """Yield rows of about one length: a row that is less than half as long as the first is of the next ones."""
    rows = sorted(rows, key=lambda row: -len(row[1]))
    begin = 0
    for place, row in enumerate(rows):
        if 2 * (len(row[1]) + 2) < len(rows[begin][1]) + 2:
            yield rows[begin:place]
            begin = place
    yield rows[begin:]


def judging_batches(texts: Sequence[Encoded], tokens: int = 16_384) -> Iterator[Batch]:
    """Yield all windows and commands of all texts, of about one length in a batch."""
    parts = sorted(
        (row for place, text in enumerate(texts) for row in _rows(place, text, windows(len(text.ids)))),
        key=lambda row: len(row[1]),
    )
    begin = 0
    while begin < len(parts):
        count = 1
        while begin + count < len(parts) and (count + 1) * (len(parts[begin + count][1]) + 2) <= tokens:
            count += 1
        yield batch(texts, parts[begin : begin + count])
        begin += count
