"""Pack a scorer's state as plain numbers behind a header; refuse what is not whole. No pickle, no names, no code."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

#: Marks a scorer's snapshot; the tag of the scorer, its version and the length of the body follow.
MAGIC = b"WNSC"
_HEADER = struct.Struct("<4s12sHI")


class Packer:
    """Gather numbers in a fixed order.

    >>> packer = Packer("light", 1)
    >>> packer.doubles([1.5, 2.0])
    >>> Unpacker(packer.bytes(), "light", 1).doubles(2)
    [1.5, 2.0]
    """

    def __init__(self, tag: str, version: int) -> None:
        self._tag, self._version = tag.encode(), version
        self._parts: list[bytes] = []

    def doubles(self, values: Sequence[float]) -> None:
        """Add 64-bit floats."""
        self._parts.append(struct.pack(f"<{len(values)}d", *values))

    def small(self, values: Sequence[int]) -> None:
        """Add whole numbers of 0 to 255, a byte each."""
        self._parts.append(bytes(values))

    def array(self, values: npt.NDArray[np.float32] | npt.NDArray[np.float64]) -> None:
        """Add an array as it lies in memory, little-endian."""
        self._parts.append(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes())

    def whole(self, values: npt.NDArray[np.int16]) -> None:
        """Add an array of 16-bit whole numbers, little-endian."""
        self._parts.append(np.ascontiguousarray(values, "<i2").tobytes())

    def bytes(self) -> bytes:
        """Return header and body."""
        body = b"".join(self._parts)
        return _HEADER.pack(MAGIC, self._tag, self._version, len(body)) + body


class Unpacker:
    """Take the numbers back in the same order.

    Raises:
        ValueError: the snapshot is another scorer's, of another version, or cut.
    """

    def __init__(self, state: bytes, tag: str, version: int) -> None:
        if len(state) < _HEADER.size:
            raise ValueError(f"{tag} scorer: snapshot of {len(state)} bytes is cut")
        magic, found, number, length = _HEADER.unpack_from(state)
        if magic != MAGIC or found.rstrip(b"\0") != tag.encode():
            raise ValueError(f"{tag} scorer: snapshot is not this scorer's")
        if number != version:
            raise ValueError(f"{tag} scorer: snapshot version {number} cannot be read")
        self._tag, self._body, self._at = tag, memoryview(state)[_HEADER.size :], 0
        if len(self._body) != length:
            raise ValueError(f"{tag} scorer: snapshot body has {len(self._body)} bytes, not {length}")

    def doubles(self, count: int) -> list[float]:
        """Return the next 64-bit floats."""
        return list(struct.unpack(f"<{count}d", self._take(8 * count)))

    def small(self, count: int) -> list[int]:
        """Return the next bytes as whole numbers."""
        return list(self._take(count))

    def floats(self, *shape: int) -> npt.NDArray[np.float32]:
        """Return the next 32-bit floats as an array of its own."""
        count = int(np.prod(shape))
        return np.frombuffer(self._take(4 * count), "<f4").astype(np.float32).reshape(shape)

    def whole(self, *shape: int) -> npt.NDArray[np.int16]:
        """Return the next 16-bit whole numbers as an array of its own."""
        count = int(np.prod(shape))
        return np.frombuffer(self._take(2 * count), "<i2").astype(np.int16).reshape(shape)

    def left(self) -> int:
        """Return how many bytes are left."""
        return len(self._body) - self._at

    def end(self) -> None:
        """Make sure that nothing is left."""
        if self.left():
            raise ValueError(f"{self._tag} scorer: {self.left()} bytes of the snapshot are left over")

    def _take(self, size: int) -> memoryview:
        if self.left() < size:
            raise ValueError(f"{self._tag} scorer: snapshot ends {size - self.left()} bytes early")
        self._at += size
        return self._body[self._at - size : self._at]
