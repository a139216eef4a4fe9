"""ATT&CK techniques that there are: a model also names some that never were, or are no more."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

#: Most techniques that one answer may name.
MOST = 16


@cache
def known_techniques() -> frozenset[str]:
    """Return the ids of all techniques and sub-techniques of Enterprise ATT&CK, as ``T1059`` and ``T1059.001``."""
    found = set()
    for line in (Path(__file__).parent / "techniques.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            technique, *parts = line.split()
            found.add(technique)
            found.update(technique + part for part in parts)
    return frozenset(found)


def sorted_out(named: Iterable[str]) -> tuple[tuple[str, ...], int]:
    """Return the techniques among what was named, once each, and how many of the rest there were.

    >>> sorted_out(["t1059.001", "T1059.001", "T9999", "PowerShell"])
    (('T1059.001',), 2)
    """
    kept: dict[str, None] = {}
    unknown = 0
    for name in named:
        name = name.strip().upper()
        if name in known_techniques():
            kept[name] = None
        else:
            unknown += 1
    return tuple(kept)[:MOST], unknown
