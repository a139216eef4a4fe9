"""A linear screen before the encoder: hashed character n-grams, by which most texts are plainly benign. NumPy only."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from analyzers.bert.canonical import SOURCES

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

#: Lengths of the n-grams, bytes of UTF-8.
ORDERS: Final = (2, 3, 4)
#: Number of weights, as a power of two.
BITS: Final = 16
#: A longer text is judged by its most suspicious stretch of so many bytes.
STRETCH: Final = 192
#: Greatest score, either way, that joins the encoder's logits: a text must not settle its verdict by one odd stretch.
LOUDEST: Final = 16.0
#: Largest screen, bytes unpacked.
LARGEST: Final = 4 * 4 * 2**BITS
_GAP: Final = max(ORDERS)
_MIX: Final = np.uint32(0x9E3779B1)


def stretches(texts: Sequence[str]) -> tuple[list[npt.NDArray[np.uint32]], Ints, Ints, Ints]:
    """Return the hashed n-grams of texts.

    Returns:
        For each order the bucket of the n-gram that begins at each place; the places at which stretches begin and end;
        and of each stretch the index of its text. What a stretch holds does not depend on the texts around it.
    """
    data = bytearray(b"\0" * _GAP)
    starts: list[int] = []
    ends: list[int] = []
    owners: list[int] = []
    for index, text in enumerate(texts):
        raw = text.encode("utf-8", "replace")
        # The last stretch is up to half as long again, never a mere rest.
        count = max(1, (len(raw) + STRETCH // 2) // STRETCH)
        begin = len(data) - 1  # the n-gram that tells how the text begins is its own
        starts += [begin + number * STRETCH for number in range(count)]
        ends += [*starts[1 - count :], begin + 1 + len(raw)] if count > 1 else [begin + 1 + len(raw)]
        owners += [index] * count
        data += raw
        data += b"\0" * _GAP
    codes = np.frombuffer(bytes(data) + b"\0" * _GAP, dtype=np.uint8).astype(np.uint32)
    size = len(data)
    found = []
    code = codes[:size].copy()
    for place in range(1, max(ORDERS)):
        code = (code << np.uint32(8)) | codes[place : place + size]
        if place + 1 in ORDERS:
            mixed = (code + np.uint32(place)) * _MIX
            found.append(mixed >> np.uint32(32 - BITS))
    return found, np.array(starts, dtype=np.int64), np.array(ends, dtype=np.int64), np.array(owners, dtype=np.int64)


class Screen:
    """Scores texts and says which need no encoder.

    Args:
        weights: of the buckets.
        bias: of each source.
        clear: score of each source below which a text is plainly benign.
    """

    def __init__(self, weights: Floats, bias: Floats, clear: Floats) -> None:
        if weights.shape != (2**BITS,) or bias.shape != (len(SOURCES),) or clear.shape != (len(SOURCES),):
            raise ValueError("arrays are of the wrong shape")
        if not all(np.isfinite(array).all() for array in (weights, bias, clear)):
            raise ValueError("a value is no number")
        self._weights, self._bias, self.clear = weights, bias, clear

    def scores(self, texts: Sequence[str], sources: Sequence[int]) -> Floats:
        """Return the score of each text in canonical form, greater for malicious; sources by their place."""
        hashed, starts, ends, owners = stretches(texts)
        if not len(texts):
            return np.zeros(0, dtype=np.float32)
        values = self._weights[hashed[0]]
        for buckets in hashed[1:]:
            values = values + self._weights[buckets]
        # From each start to its end, and, to be left out, from there to the next start.
        sums = np.add.reduceat(values.astype(np.float64), np.stack([starts, ends], axis=1).ravel())[::2]
        scores = sums / np.sqrt((ends - starts) * len(ORDERS))
        best = np.full(len(texts), -np.inf)
        np.maximum.at(best, owners, scores)
        total: Floats = (best + self._bias[np.asarray(sources)]).astype(np.float32)
        return total

    def cleared(self, texts: Sequence[str], sources: Sequence[int]) -> list[bool]:
        """Return which texts are plainly benign."""
        cleared: list[bool] = (self.scores(texts, sources) < self.clear[np.asarray(sources, dtype=np.int64)]).tolist()
        return cleared

    def pack(self) -> bytes:
        """Return the screen as the content of ``screen.npz``."""
        out = io.BytesIO()
        np.savez_compressed(out, weights=self._weights.astype(np.float16), bias=self._bias, clear=self.clear)
        return out.getvalue()

    @classmethod
    def load(cls, content: bytes) -> Screen:
        """Return what was packed. Raises ValueError, KeyError, OSError, BadZipFile for what is none."""
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(member.file_size for member in archive.infolist()) > LARGEST:
                raise ValueError(f"unpacks to more than {LARGEST:,} bytes")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return cls(*(arrays[name].astype(np.float32) for name in ("weights", "bias", "clear")))
