"""How far reading a partition is behind its end, in seconds, and whether ever more waits there."""

from __future__ import annotations

#: Over how long the rate of reading is measured, seconds.
RATE = 5.0
#: So many times in a row more must be unread: a heap that was sent at once is read off without more ado.
GROWING = 3


class Lag:
    """The lag of one partition, from its own reading.

    Not the age of messages: producers stamp them, and one that sends what is old would look like a flow that lags.
    """

    def __init__(self) -> None:
        #: Messages read a second, over the last ``RATE`` seconds of reading; 0 while unknown.
        self._rate = 0.0
        #: How many times in a row more was unread than the time before.
        self._growing = 0
        #: The end of the partition as last heard of.
        self._end = -1
        self._since, self._offset, self._waited = 0.0, -1, 0

    def pause(self) -> None:
        """Measure anew from the next time on: who waits, or has nothing to read, is slow for other reasons."""
        self._since, self._offset, self._waited = 0.0, -1, 0

    def measure(self, now: float, offset: int, end: int) -> tuple[float, bool]:
        """Return how long what waits takes at the rate of late, seconds, and whether ever more waits.

        ``now`` is a monotonic clock, ``offset`` the next message to read, ``end`` the partition's as last heard of. 0
        and no while that is unknown.
        """
        waiting = max(0, end - offset)
        if self._offset < 0 or offset < self._offset:
            self._since, self._offset, self._waited, self._growing = now, offset, waiting, 0
        elif now - self._since >= RATE:
            self._rate = (offset - self._offset) / (now - self._since)
            self._since, self._offset = now, offset
            # The end is news only with a fetch, and one fetch may be read for half a minute.
            if end != self._end:
                self._growing = self._growing + 1 if waiting > self._waited else 0
                self._end, self._waited = end, waiting
        return waiting / self._rate if self._rate > 0 else 0.0, self._growing >= GROWING
