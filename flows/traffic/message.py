"""What the generator yields, and the tape that one run is written on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from random import Random
from typing import TypeVar

import msgspec

T = TypeVar("T")

#: Truth of every message that belongs to no attack.
BENIGN = "benign"


@lru_cache(maxsize=64)
def _table(alphabet: str) -> bytes:
    """Return which character each byte becomes."""
    return bytes(ord(alphabet[byte % len(alphabet)]) for byte in range(256))


class Message(msgspec.Struct, frozen=True, gc=False):
    """One raw message with what only its maker knows: what it truly is."""

    #: Event time, µs since the epoch, UTC; also the Kafka timestamp.
    time: int
    #: Canonical name of the host that it is about; the Kafka key.
    host: str
    #: The message in its real format.
    value: bytes
    #: ``benign``, or the name of the scenario. Travels in a Kafka header, never in the value.
    truth: str
    #: Which occurrence of the scenario, such as ``port_scan-3``; empty for benign traffic.
    attack_id: str
    #: Name of the message's format, a key of ``operators.formats.FORMATS``.
    format: str


class Tape:
    """Collects the messages of one run or one attack, with the seeded chance that decides about them."""

    def __init__(self, rng: Random, truth: str = BENIGN, attack_id: str = "") -> None:
        self.rng = rng
        self.random = rng.random
        self.truth = truth
        self.attack_id = attack_id
        self.messages: list[Message] = []

    def write(self, time: int, host: str, format: str, value: bytes) -> None:
        """Add one message."""
        self.messages.append(Message(time, host, value, self.truth, self.attack_id, format))

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of the choices, all equally likely. Four times as fast as ``Random.choice``."""
        return choices[int(self.random() * len(choices))]

    def integer(self, low: int, high: int) -> int:
        """Return a whole number from ``low`` up to but not including ``high``."""
        return low + int(self.random() * (high - low))

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self.random() < probability

    def letters(self, length: int, alphabet: str = "abcdefghijklmnopqrstuvwxyz0123456789") -> str:
        """Return random text of the given length. Nearly evenly spread over the alphabet, which is ASCII."""
        return self.rng.randbytes(length).translate(_table(alphabet)).decode("ascii")

    def size(self, median: float, spread: float = 1.0, limit: float = 5e6) -> int:
        """Return a size in bytes, log-normal about ``median``: mostly small, seldom large, never above ``limit``."""
        return int(min(self.rng.lognormvariate(0.0, spread) * median, limit))
