"""What is shed when the flow falls behind, and when it is taken back. Pure: lag and clock are arguments."""

from __future__ import annotations

import math

from analyzers.router.router import NORMAL, SHED_ALL, SHED_LLM
from analyzers.router.settings import RouterSettings


class Overload:
    """Say how much cost is shed. No event is: each is decided, by what can be afforded.

    It sheds at once and takes back slowly, a step at a time: what is taken back costs, and might throw it back.

    >>> overload = Overload(RouterSettings(shed_seconds=60, return_seconds=10, calm_seconds=30))
    >>> [overload.observe(lag, now) for now, lag in enumerate((5, 61, 30, 9))]
    [0, 1, 1, 1]
    >>> [overload.observe(5, now) for now in (20, 32, 34)]
    [1, 1, 0]
    """

    def __init__(self, settings: RouterSettings) -> None:
        self._settings = settings
        self._calm = math.inf
        #: ``NORMAL``, ``SHED_LLM`` (texts of the highest stakes only, no LLM) or ``SHED_ALL`` (rules only).
        self.level = NORMAL

    def observe(self, lag: float, now: float) -> int:
        """Take in by how many seconds the flow is behind, at monotonic seconds ``now``; return the level.

        A lag that is not known (NaN) changes nothing, but is no sign that all is well.
        """
        settings = self._settings
        if not lag <= settings.return_seconds:
            self._calm = math.inf
            if lag >= settings.shed_all_seconds:
                self.level = SHED_ALL
            elif lag >= settings.shed_seconds:
                self.level = max(self.level, SHED_LLM)
        elif self.level > NORMAL:
            if now < self._calm:
                self._calm = now  # calm since now; also after a clock that went back
            if now - self._calm >= settings.calm_seconds:
                self.level -= 1
                self._calm = now
        return self.level
