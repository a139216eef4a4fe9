"""Say how long a sink has been waiting for its server, also while it is stuck in one call."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from operators import metrics
from operators.liveness import liveness


class Waiting:
    """The gauge ``winnow_sink_waiting`` of one sink: seconds since a write began that is not done; 0 while all is well.

    Health and supervisor are told of the same write, see ``operators.liveness.PATIENCE``.

    >>> waiting = Waiting("postgres")
    >>> with waiting.write(): waiting.seconds()
    0.0
    """

    def __init__(self, sink: str) -> None:
        self._sink = sink
        metrics.SINK_WAITING.labels(sink=sink).set_function(self.seconds)

    def seconds(self) -> float:
        """Return for how long the sink has been waiting, seconds."""
        return liveness.waited(self._sink, time.monotonic())

    @contextmanager
    def write(self) -> Iterator[None]:
        """Mark a write."""
        liveness.write(self._sink)
        try:
            yield
        finally:
            liveness.written(self._sink)
