"""Whether a calibration still holds: do verdicts, their certainty and the lanes' agreement stay as they were? Pure."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import msgspec

from analyzers.router.exact import differs, greater
from analyzers.router.router import Said

#: Upper ends of the bins of probability, of which the last is open.
BINS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.7, 0.9, 0.97, 0.99, 0.997)
_SAID: tuple[Said, ...] = ("benign", "unsettled", "malicious")
#: What the others leave, and so says nothing more.
_REST = "texts that are benign"


class Drift(msgspec.Struct, frozen=True):
    """A share that is no longer what it was when the watch began."""

    #: ``mix``, ``certainty`` or ``agreement``.
    kind: Literal["mix", "certainty", "agreement"]
    #: What is counted, for a person.
    what: str
    before: float
    now: float
    p_value: float

    def __str__(self) -> str:
        return f"{self.what}: {self.now:.2%}, and {self.before:.2%} before (p {self.p_value:.1g})"


class _Table(msgspec.Struct):
    """Counts by class: of the reference, and of the block that is being filled."""

    before: list[int]
    now: list[int]
    #: What the last whole block said.
    drifts: list[Drift] = []


class DriftWatch:
    """Compare block after block with the first events, by exact tests (Fisher). Its state is bounded.

    A change is told only if it is certain *and* large, for with enough events any change is certain. The reference is
    what came first under this calibration; a new calibration gets a new watch. Count each text once, not each event:
    events that repeat a text say the same thing many times, and the tests take them for independent.

    Args:
        reference: texts that it compares with.
        block: texts that are compared.
        audits: audited events, of each kind, of reference and block.
        level: probability of a false alarm a block, shared by all comparisons of one kind.
        factor: by how much a share's odds must have changed at least.

    >>> watch = DriftWatch(reference=1_000, block=500)
    >>> for place in range(1_500):
    ...     watch.count("unsettled" if place % 100 == 0 else "benign", 0.5 if place % 100 == 0 else 0.002)
    >>> watch.drifts()
    []
    >>> for place in range(500):
    ...     watch.count("unsettled" if place % 10 == 0 else "benign", 0.5 if place % 10 == 0 else 0.002)
    >>> print(watch.drifts()[0])
    texts that are unsettled: 10.00%, and 1.00% before (p 1e-15)
    """

    def __init__(
        self, reference: int = 20_000, block: int = 5_000, audits: int = 200, level: float = 1e-3, factor: float = 2.0
    ) -> None:
        self._reference, self._block, self._level, self._factor = reference, block, level, factor
        self._audits = audits
        classes = len(_SAID) + len(BINS) + 1
        self._texts = _Table([0] * classes, [0] * classes)
        self._audited: dict[str, _Table] = {}

    def count(self, said: Said, probability: float) -> None:
        """Take in what the text judge says of a text, and the probability of its most probable label."""
        if said not in _SAID:
            return
        texts = self._texts
        table = texts.before if sum(texts.before[: len(_SAID)]) < self._reference else texts.now
        table[_SAID.index(said)] += 1
        table[len(_SAID) + sum(probability >= end for end in BINS)] += 1
        if sum(texts.now[: len(_SAID)]) >= self._block:
            texts.drifts = self._compare(texts)
            texts.now = [0] * len(texts.now)

    def audited(self, said: Said, agrees: bool) -> None:
        """Take in whether the next judge agreed with what was said of an audited event."""
        if said not in _SAID:
            return
        audits = self._audited.setdefault(said, _Table([0, 0], [0, 0]))
        table = audits.before if sum(audits.before) < self._audits else audits.now
        table[not agrees] += 1
        if sum(audits.now) >= self._audits:
            audits.drifts = self._agreement(said, audits)
            audits.now = [0, 0]

    def drifts(self) -> list[Drift]:
        """Return what had changed in the last whole block; empty: the calibration may still hold."""
        audits = self._audited
        return self._texts.drifts + [drift for said in sorted(audits) for drift in audits[said].drifts]

    @property
    def learning(self) -> bool:
        """Say whether the reference is not whole yet, so that nothing can be told of texts."""
        return sum(self._texts.before[: len(_SAID)]) < self._reference

    def _compare(self, table: _Table) -> list[Drift]:
        found = []
        ends = (0.0, *BINS, 1.0)
        names = [("mix", f"texts that are {said}") for said in _SAID]
        names += [("certainty", f"texts of a probability from {a} to {b}") for a, b in pairwise(ends)]
        of_before, of_now = sum(table.before[: len(_SAID)]), sum(table.now[: len(_SAID)])
        for (kind, what), before, now in zip(names, table.before, table.now, strict=True):
            shares = before / of_before, now / of_now
            if what == _REST or not self._large(*shares, least=0.002 if kind == "mix" else 0.02):
                continue
            chance = differs(before, of_before, now, of_now)
            if chance <= self._level / len(names):
                found.append(Drift(kind, what, *shares, chance))  # type: ignore[arg-type]
        return found

    def _agreement(self, said: Said, table: _Table) -> list[Drift]:
        of_before, of_now = sum(table.before), sum(table.now)
        shares = table.before[1] / of_before, table.now[1] / of_now
        chance = greater(table.before[1], of_before, table.now[1], of_now)
        if chance > self._level / len(_SAID) or not self._large(*shares, least=0.002):
            return []
        return [Drift("agreement", f"audited {said} events that the next judge sees otherwise", *shares, chance)]

    def _large(self, before: float, now: float, least: float) -> bool:
        if abs(now - before) < least:
            return False
        odds = [(share + 1e-9) / (1 - share + 1e-9) for share in (before, now)]
        return not 1 / self._factor < odds[1] / odds[0] < self._factor
