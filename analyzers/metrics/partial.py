"""Mergeable counts of one host in one window, small enough to be rewritten at every snapshot."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable
from functools import lru_cache

import msgspec

#: Smallest hashes that a distinct count keeps. Exact up to here; beyond, standard error 1/sqrt(K - 2) = 12.7 %.
K = 64
_SPACE = float(2**64)


@lru_cache(maxsize=65_536)
def hashed(value: str | int) -> int:
    """Return the 64-bit hash of a value: the same in every process, and not to be steered by who writes the value."""
    return int.from_bytes(hashlib.blake2b(str(value).encode(errors="replace"), digest_size=8).digest(), "big")


class Distinct(msgspec.Struct):
    """A distinct count that forgets nothing it needs: the K smallest hashes seen (k minimum values).

    Merging is a set union cut to the K smallest, so the count is the same in whatever order and batches values come,
    which a HyperLogLog with an order-dependent estimator is not. Source: Bar-Yossef et al., "Counting distinct elements
    in a data stream", RANDOM 2002; estimator (K - 1) / kth-smallest, Beyer et al., SIGMOD 2007.

    >>> d = Distinct()
    >>> d.add(["a", "b", "a"])
    >>> d.count()
    2.0
    """

    hashes: set[int] = msgspec.field(default_factory=set)

    def add(self, values: Iterable[str | int]) -> None:
        """Count values."""
        self.hashes.update(map(hashed, values))
        if len(self.hashes) > K:
            self._cut()

    def merge(self, other: Distinct) -> None:
        """Count what ``other`` counted."""
        self.hashes |= other.hashes
        if len(self.hashes) > K:
            self._cut()

    def count(self) -> float:
        """Return how many different values were seen: exact below K, estimated from there on."""
        if len(self.hashes) < K:
            return float(len(self.hashes))
        return (K - 1) * _SPACE / (max(self.hashes) + 1)

    def _cut(self) -> None:
        self.hashes = set(heapq.nsmallest(K, self.hashes))


class Partial(msgspec.Struct):
    """Sparse metrics of one (host, window), by index in the metric set. Merging is commutative and associative."""

    sums: dict[int, int] = msgspec.field(default_factory=dict)
    distinct: dict[int, Distinct] = msgspec.field(default_factory=dict)

    def merge(self, other: Partial) -> None:
        """Add ``other`` to this; ``other`` is left as it is."""
        sums = self.sums
        for index, value in other.sums.items():
            sums[index] = sums.get(index, 0) + value
        for index, values in other.distinct.items():
            mine = self.distinct.get(index)
            if mine is None:
                self.distinct[index] = Distinct(set(values.hashes))
            else:
                mine.merge(values)

    def values(self) -> dict[int, float]:
        """Return the value of each metric seen, by index."""
        found: dict[int, float] = {index: float(value) for index, value in self.sums.items()}
        for index, values in self.distinct.items():
            found[index] = values.count()
        return found
