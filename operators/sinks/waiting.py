"""Say how long a sink has been waiting for its server, also while it is stuck in one call."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from operators import metrics

#: Seconds that a write may take before it counts as waiting.
PATIENCE = 1.0


class Waiting:
    """The gauge ``winnow_sink_waiting`` of one sink: seconds since a write began that is not done; 0 while all is well.

    >>> waiting = Waiting("postgres")
    >>> with waiting.write(): waiting.seconds()
    0.0
    """

    def __init__(self, sink: str) -> None:
        self._since: float | None = None
        metrics.SINK_WAITING.labels(sink=sink).set_function(self.seconds)

    def seconds(self) -> float:
        """Return for how long the sink has been waiting, seconds."""
        since = self._since
        waited = 0.0 if since is None else time.monotonic() - since
        return waited if waited > PATIENCE else 0.0

    @contextmanager
    def write(self) -> Iterator[None]:
        """Mark a write."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None
