"""Events a second from the ledger's totals, as seen between readings."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

#: A flow that has not written to the ledger for so long is taken to read nothing.
IDLE = timedelta(seconds=30)


class RateMeter:
    """Remembers readings of a growing total and tells how fast it grew lately.

    >>> from datetime import UTC
    >>> meter, start = RateMeter(), datetime(2026, 2, 3, tzinfo=UTC)
    >>> for second in range(5):
    ...     meter.add(second * 1_000, start + timedelta(seconds=second))
    >>> meter.per_second(start + timedelta(seconds=5))
    1000.0
    """

    def __init__(self, span: timedelta = timedelta(seconds=30)) -> None:
        self._span = span
        self._readings: deque[tuple[datetime, int]] = deque()

    def add(self, total: int, written_at: datetime) -> None:
        """Take a reading: the total, and when it was last written. A total that shrank starts anew."""
        if self._readings:
            last_written, last_total = self._readings[-1]
            if total < last_total or written_at < last_written:
                self._readings.clear()
            elif written_at == last_written:
                return
        self._readings.append((written_at, total))
        # One reading from before the span stays, so that slow writers still have two to compare.
        while len(self._readings) > 2 and self._readings[1][0] < written_at - self._span:
            self._readings.popleft()

    def per_second(self, now: datetime) -> float | None:
        """Return the rate over the span; 0 when nothing was written for 30 s, None before there are two readings."""
        if not self._readings:
            return None
        (first, before), (last, after) = self._readings[0], self._readings[-1]
        if now - last > IDLE:
            return 0.0
        seconds = (last - first).total_seconds()
        return (after - before) / seconds if seconds > 0 else None
