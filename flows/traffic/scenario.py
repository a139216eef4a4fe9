"""What an attack scenario is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from operator import attrgetter
from random import Random
from typing import ClassVar

from flows.traffic.fleet import Fleet
from flows.traffic.message import Message, Tape

#: Where attackers come from and where stolen data go: addresses that no benign traffic uses.
STRANGE_NETWORKS = ("203.0.113.25", "198.51.100.25", "192.0.2.25")


class Scenario(ABC):
    """One kind of attack. A subclass in a module of ``flows.traffic.scenarios`` is found by discovery."""

    #: Stable name; the truth of its messages, and part of their attack ids.
    name: ClassVar[str]
    #: What a person reads.
    title: ClassVar[str]
    #: ATT&CK technique ids.
    techniques: ClassVar[tuple[str, ...]]
    #: Names of alerts (titles of rules, names of metric thresholds); every occurrence raises at least one of them.
    expects: ClassVar[tuple[str, ...]]

    @abstractmethod
    def act(self, tape: Tape, fleet: Fleet, start: int) -> None:
        """Write the attack's messages; choose the victim by the tape's chance. ``start`` is in µs."""

    def generate(self, rng: Random, fleet: Fleet, start: int, attack_id: str = "") -> list[Message]:
        """Return the messages of one occurrence in order of time, each tagged with the scenario's name."""
        tape = Tape(rng, self.name, attack_id or self.name)
        self.act(tape, fleet, start)
        return sorted(tape.messages, key=attrgetter("time"))


def stranger(tape: Tape) -> str:
    """Return the address of an attacker on the internet."""
    return f"{tape.pick(STRANGE_NETWORKS)}{tape.integer(1, 5)}"
