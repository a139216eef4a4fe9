"""Texts to try a judge with: as they are, wrapped, encoded, padded, by others. Benign and malicious ones alike."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import zstandard

from analyzers.learning.augment import UNSEEN_JOINERS, pad, pad_words, percent_encode, wrap
from analyzers.learning.http_params import LARGEST, DatasetError
from analyzers.learning.texts import LABELS, Text

#: Changes a text: with a random generator and benign texts that training never saw.
Change = Callable[[str, random.Random, Sequence[str]], str]


class Labelled(msgspec.Struct, frozen=True):
    """A line of a set by others: ``{"text": …, "label": …}``, label ``benign`` or another word, source if known."""

    text: str
    label: str
    source: str = ""


def read_labelled(path: Path, source: str) -> list[Text]:
    """Read JSON lines (zstandard too) of texts with a label. DatasetError if it holds anything else.

    A label that is none of the model's means malicious, of what kind is not said.
    """
    try:
        raw = path.read_bytes()
        if path.suffix == ".zst":
            raw = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw)).read(LARGEST + 1)
    except (OSError, zstandard.ZstdError) as error:
        raise DatasetError(f"{path}: {error}") from None
    if len(raw) > LARGEST:
        raise DatasetError(f"{path}: more than {LARGEST} bytes")
    found = []
    for number, line in enumerate(raw.splitlines(), 1):
        try:
            one = msgspec.json.decode(line, type=Labelled)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DatasetError(f"{path}:{number}: {error}") from None
        labels = () if one.label == "benign" else (one.label,)
        found.append(Text(one.text, one.source or source, labels, path.name))
    return found


def read_training(path: Path) -> list[Text]:
    """Read JSON lines of texts to train on: a label is one of the model's, a source must be named."""
    texts = read_labelled(path, "")
    for number, text in enumerate(texts, 1):
        unknown = [label for label in text.labels if label not in LABELS]
        if unknown or not text.source:
            said = f"label {json.dumps(unknown[0])} is none of {', '.join(LABELS)}" if unknown else "no source"
            raise DatasetError(f"{path}:{number}: {said}")
    return texts


def _characters(size: int, source: str) -> Change:
    def change(text: str, rng: random.Random, benign: Sequence[str]) -> str:
        joiner = rng.choice(UNSEEN_JOINERS[source])
        return pad(text, rng, benign, (joiner, joiner), (size, size))

    return change


#: Malicious commands among benign text, with joiners that training never saw.
WRAPPED: Final[dict[str, Change]] = {
    "64 characters each side": _characters(64, "shell"),
    "256 characters each side": _characters(256, "shell"),
    "4 commands each side": lambda text, rng, benign: wrap(text, rng, benign, UNSEEN_JOINERS["shell"], (4, 4)),
    "40 commands each side": lambda text, rng, benign: wrap(text, rng, benign, UNSEEN_JOINERS["shell"], (40, 40)),
}
#: HTTP parameters written in other ways.
ENCODED: Final[dict[str, Change]] = {
    "percent-encoded at random": lambda text, rng, benign: percent_encode(text, rng, 0.5),
    "percent-encoded twice": lambda text, rng, benign: percent_encode(percent_encode(text, rng, 0.3), rng, 0.3),
    "padded with benign words": pad_words,
}


def changed(texts: Sequence[Text], change: Change, benign: Sequence[str], seed: int) -> list[Text]:
    """Return the texts changed, the same ones for the same seed."""
    rng = random.Random(f"trial-{seed}")
    return [msgspec.structs.replace(text, text=change(text.text, rng, benign)) for text in texts]
