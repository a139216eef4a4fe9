"""The wall clock as far as it is believed: a jump is not, until it has lasted."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds by which the clock may be off what has passed since it was last believed, before that is a jump.
TOLERANCE = 5.0
#: Seconds that a jump must last to be believed.
PATIENCE = 600.0
#: Where there is one, a clock that nobody sets and that goes on while the machine sleeps.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _steady() -> float:
    return time.clock_gettime(_STEADY)


class WallClock:
    """Seconds since the epoch. Small corrections are followed at once, a jump after ten minutes.

    Somebody who sets the clock an hour ahead and back again would otherwise make every event of an idle partition late
    for that hour, or too far ahead of the clock.

    >>> at = [1000.0, 0.0]
    >>> clock = WallClock(lambda: at[0], lambda: at[1])
    >>> at[:] = [4610.0, 10.0]
    >>> clock()
    1010.0
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = _steady) -> None:
        self._wall, self._steady = wall, steady
        self._base, self._since = wall(), steady()
        #: Steady time at which the clock was first off.
        self._off: float | None = None

    def __call__(self) -> float:
        """Return the time, seconds."""
        wall, now = self._wall(), self._steady()
        expected = self._base + now - self._since
        if abs(wall - expected) > TOLERANCE:
            self._off = now if self._off is None else self._off
            if now - self._off < PATIENCE:
                return expected
        self._off = None
        self._base, self._since = wall, now
        return wall
