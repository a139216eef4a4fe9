"""The workers as their supervisor sees them: what each last said, and whom to blame when they stand still."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from operators.liveness import Beat

#: From when a worker that says nothing is thought to be hung, seconds.
SILENT = 2.5
#: Longest line that a worker may say, bytes.
_LONGEST = 65_536


class Worker:
    """One worker process and what it last said."""

    def __init__(self, index: int, process: subprocess.Popen[bytes], pipe: int, now: float) -> None:
        self.index = index
        self.process = process
        self.pipe = pipe
        #: What it last said, and when; before it said anything, when it was started.
        self.beat = Beat()
        self.heard = now
        self._pending = b""

    def listen(self, now: float) -> bool:
        """Take in what it said; return False when it has closed its end."""
        data = os.read(self.pipe, _LONGEST)
        *lines, self._pending = (self._pending + data)[-_LONGEST:].split(b"\n")
        if lines:
            self.beat = msgspec.json.decode(lines[-1], type=Beat)
            self.heard = now
        return bool(data)

    def hold(self) -> None:
        """Tell it that some worker's sink waits for its server, so that it knows why it stands still."""
        pipe = self.process.stdin
        if pipe is not None:
            with suppress(OSError):  # it has ended, or does not listen; both are seen elsewhere
                os.write(pipe.fileno(), b".")

    def close(self) -> None:
        """Close the pipes."""
        os.close(self.pipe)
        if self.process.stdin is not None:
            self.process.stdin.close()

    def standstill(self, now: float) -> float:
        """Return for how long it stands still, seconds."""
        return now - self.heard + self.beat.standstill()


class Standstill:
    """Tells which worker stands still through a fault of its own. Pure; the clock is an argument.

    Args:
        limit: for how long a worker may stand still, seconds.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._waited = float("-inf")

    def waits(self, workers: Sequence[Worker], now: float) -> bool:
        """Return whether the sink of one waits for its server; what a silent worker said last holds for a while."""
        return any(worker.beat.waiting for worker in workers if now - worker.heard < self._limit)

    def blame(self, workers: Sequence[Worker], now: float) -> Worker | None:
        """Return the worker to blame if one stands still for too long while no sink waits for its server.

        A sink that waits holds back all workers, as it should; when it goes on, they get as long again to follow.
        """
        if self.waits(workers, now):
            self._waited = now
        if now - self._waited < self._limit or all(worker.standstill(now) < self._limit for worker in workers):
            return None
        # One that is hung soon holds back the others: the silent one is to blame, if there is one.
        return max(workers, key=lambda worker: (now - worker.heard >= SILENT, worker.standstill(now)))
