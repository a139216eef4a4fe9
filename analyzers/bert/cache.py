"""A bounded memory of verdicts. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Remembered(Generic[Key, Value]):
    """About the last ``size`` values that were used, in two generations.

    What is asked for is in the young one, or moves there; when that holds half of ``size`` it becomes the old one, and
    the old one goes. A hit thus costs one look-up and no reordering.

    >>> cache = Remembered[str, int](2)
    >>> for word, value in (("a", 1), ("b", 2), ("c", 3)):
    ...     cache.put(word, value)
    >>> cache.get("a"), cache.get("c"), len(cache)
    (None, 3, 2)
    """

    __slots__ = ("_half", "_old", "_young")

    def __init__(self, size: int) -> None:
        self._half = (size + 1) // 2
        self._young: dict[Key, Value] = {}
        self._old: dict[Key, Value] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: Key) -> Value | None:
        """Return what was put under a key, None if it is not remembered."""
        found = self._young.get(key)
        if found is None and self._old:
            found = self._old.pop(key, None)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: Key, value: Value) -> None:
        """Remember a value."""
        if not self._half:
            return
        if len(self._young) >= self._half and key not in self._young:
            self._old, self._young = self._young, {}
        self._young[key] = value
