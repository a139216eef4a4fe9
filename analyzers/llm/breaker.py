"""The circuit breaker: an endpoint that fails again and again is left alone for a while, then tried by one call."""

from __future__ import annotations

from collections.abc import Callable


class Breaker:
    """Says how many calls may be under way. The clock is monotonic seconds.

    >>> now = [0.0]
    >>> breaker = Breaker(failures=2, seconds=30, clock=lambda: now[0])
    >>> breaker.failed(); breaker.failed(); breaker.room(4)
    0
    >>> now[0] = 30.0; breaker.room(4)
    1
    >>> breaker.went_well(); breaker.room(4)
    4
    """

    def __init__(self, failures: int, seconds: float, clock: Callable[[], float]) -> None:
        self._most, self._seconds, self._clock = failures, seconds, clock
        self._failures = 0
        self._until: float | None = None

    @property
    def open(self) -> bool:
        """Return whether no call may begin."""
        return self._until is not None and self._clock() < self._until

    @property
    def wait(self) -> float:
        """Return the seconds until a call may begin."""
        return 0.0 if self._until is None else max(0.0, self._until - self._clock())

    def room(self, most: int) -> int:
        """Return how many calls may be under way at once, of ``most``: none, one to try, or all."""
        return most if self._until is None else 0 if self.open else 1

    def failed(self, at_once: bool = False, after: float = 0.0) -> None:
        """Tell of a call that failed; ``at_once``: as will each other; ``after``: seconds that were asked for."""
        self._failures += 1
        if at_once or self._until is not None or self._failures >= self._most:
            self._until = self._clock() + max(self._seconds, after)

    def went_well(self) -> None:
        """Tell of a call that was answered."""
        self._failures, self._until = 0, None
