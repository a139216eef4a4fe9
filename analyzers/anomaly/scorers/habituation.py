"""After an alarm: silence, then getting used to it. An alarmed metric must do something worse to alarm again soon."""

from __future__ import annotations

from analyzers.anomaly.scorers.packing import Packer, Unpacker


class Habituation:
    """Decide which surprises are alarms. Counts values, not time: what is missing passes unnoticed.

    A surprise of ``alarm`` or more is an alarm unless the last was less than ``silence`` values ago. An alarm raises
    what the next must exceed: to its own surprise, which halves every ``memory`` values, and by ``step`` (of
    ``alarm``) for each alarm, which halves every ``patience`` values. What is ``ESCALATION`` times as surprising as the
    last alarm breaks the silence: a false alarm must not cover an attack.
    """

    ESCALATION = 2.2

    def __init__(
        self, alarm: float, silence: int = 100, memory: float = 1_000.0, step: float = 0.05, patience: float = 8_000.0
    ) -> None:
        self._alarm, self._silence, self._step = alarm, silence, step
        self._fade: float = 0.5 ** (1.0 / memory)
        self._ease: float = 0.5 ** (1.0 / patience)
        self._n = 0
        self._last = -1
        self._worst = 0.0
        self._raised = 0.0

    def alarms(self, surprise: float) -> bool:
        """Return whether a surprise would be an alarm now."""
        if surprise < self._alarm:
            return False
        if self._last < 0:
            return True
        since = self._n - self._last
        worst: float = self._worst * self._fade**since
        if since < self._silence:
            return surprise >= self.ESCALATION * worst
        least: float = self._alarm * (1.0 + self._raised * self._ease**since)
        return surprise >= max(worst, least)

    def learn_one(self, surprise: float) -> None:
        """Take note of a surprise."""
        if self.alarms(surprise):
            since = self._n - self._last if self._last >= 0 else 0
            self._raised = self._raised * self._ease**since + self._step
            self._worst = max(self._worst * self._fade**since, surprise)
            self._last = self._n
        self._n += 1

    def pack(self, packer: Packer) -> None:
        """Add the state."""
        packer.doubles([self._n, self._last, self._worst, self._raised])

    def unpack(self, state: Unpacker) -> None:
        """Take the state back."""
        n, last, self._worst, self._raised = state.doubles(4)
        self._n, self._last = int(n), int(last)
