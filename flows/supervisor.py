"""The supervisor of ``winnow run``: one process that starts the workers, watches them, and starts all of them again.

Bytewax cannot go on without one of its processes, so a worker that died or stands still ends the whole cluster, which
begins again from recovery. Each worker says twice a second, over a pipe, how it is; one that is hung says nothing.
"""

from __future__ import annotations

import logging
import os
import random
import select
import signal
import subprocess
import sys
import time
from typing import Any

import msgspec
from confluent_kafka import KafkaException
from prometheus_client import CollectorRegistry, Counter, Gauge

from flows.activation import Base, Watch
from flows.beats import EVERY
from flows.cluster import end_all, free_addresses, worker_environment
from flows.health import serve
from flows.recovery import check_store
from flows.settings import Settings, SupervisorSettings
from flows.usage import UsageError
from flows.workers import Standstill, Worker
from operators.kafka import list_partitions
from operators.pace import make_board

log = logging.getLogger(__name__)

#: How long the workers of a failed cluster get to end by themselves, seconds: without the one that failed they cannot
#: drain, and nothing of theirs is lost.
GRACE = 1.0


class Failure(msgspec.Struct, frozen=True):
    """Why a cluster was ended."""

    #: Label of the metric: ``exited``, ``killed``, ``stalled``, ``slow_start``, ``kafka_away``.
    reason: str
    #: One line for the log.
    detail: str
    #: Exit status of the worker that ended by itself.
    status: int | None = None


class Judge:
    """Decides what a failure leads to: how long a pause, or the end. Pure; the clock is an argument.

    >>> judge = Judge(SupervisorSettings(backoff_seconds=1, max_failures=2), random.Random(1))
    >>> judge.pause(lived=5, progressed=False) is not None, judge.pause(lived=5, progressed=False)
    (True, None)
    """

    def __init__(self, settings: SupervisorSettings, chance: random.Random) -> None:
        self._settings = settings
        self._random = chance
        self._failures = 0
        self._fruitless = 0

    def pause(self, lived: float, progressed: bool) -> float | None:
        """Return the seconds to wait after a cluster that ``lived`` for so long, or None to give up.

        Pauses double with each failure, and vary by half, so that supervisors that failed together do not return
        together. A cluster that was healthy for long enough begins the pauses anew; one that got as far as a snapshot
        begins the count of failures in a row anew.
        """
        if lived >= self._settings.healthy_seconds:
            self._failures = 0
        self._fruitless = 0 if progressed else self._fruitless + 1
        if self._fruitless >= self._settings.max_failures:
            return None
        base = self._settings.backoff_seconds * 2.0 ** min(self._failures, 30)
        self._failures += 1
        return min(base, self._settings.backoff_max_seconds) * self._random.uniform(0.5, 1.5)


class Supervisor:
    """Runs the workers until told to end.

    Args:
        settings: all of them; the workers get them too.
        workers: how many processes.
        lock: descriptor of the recovery store's lock, which every worker holds too; None without a store.
        rules: what the rules are of partitions of which nothing is known; None: each worker loads the settings'.
        model: the same of the text model.
        calibration: the same of the calibration.
    """

    def __init__(
        self,
        settings: Settings,
        workers: int,
        lock: int | None,
        rules: Base | None = None,
        model: Base | None = None,
        calibration: Base | None = None,
    ) -> None:
        self._settings = settings
        self._rules = rules
        self._model = model
        self._calibration = calibration
        self._count = workers
        self._lock = lock
        self._workers: list[Worker] = []
        self._standstill = Standstill(settings.supervisor.stall_seconds)
        self._partitions: list[str] = []
        self._ready = False
        self._stop = 0
        self._restarts = 0
        self._ever_ready = False
        self._registry = CollectorRegistry()
        self._restarted = Counter(
            "winnow_restarts", "Restarts of the whole cluster, by reason.", ["reason"], registry=self._registry
        )
        self._running = Gauge("winnow_workers", "Worker processes that run.", registry=self._registry)

    def run(self) -> int:
        """Run until SIGTERM or Ctrl-C, then drain; return the exit status: 0, 1 given up or not drained, 2 refused."""

        def stop(number: int, _: object) -> None:
            self._stop += 1

        numbers = (signal.SIGTERM, signal.SIGINT)
        previous = {number: signal.signal(number, stop) for number in numbers}
        try:
            self._serve()
            if self._settings.rules.watch_seconds and self._rules is not None:
                Watch(self._settings).start()
            return self._supervise()
        finally:
            end_all([worker.process for worker in self._workers], GRACE)
            for number, handler in previous.items():
                signal.signal(number, handler)

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Return whether all workers run and read, and how each is."""
        now = time.monotonic()
        workers = list(self._workers)
        status = "ok" if self._ready else "starting" if workers else "restarting"
        if self._stop:
            status = "stopping"
        elif self._ready and self._standstill.blame(workers, now):
            status = "stalled"
        elif self._ready and any(worker.beat.waiting for worker in workers):
            status = "waiting"
        return status in ("ok", "waiting"), {
            "status": status,
            "restarts": self._restarts,
            "partitions": len(self._partitions),
            "workers": [
                {
                    "index": worker.index,
                    "pid": worker.process.pid,
                    "last_heard_age_seconds": now - worker.heard,
                    "last_poll_age_seconds": worker.beat.poll_age,
                    "watermark_delay_seconds": worker.beat.watermark_delay,
                    "messages_read": worker.beat.read,
                    "partitions_paused": worker.beat.paused,
                    "waiting": worker.beat.waiting,
                    "rules": worker.beat.rules,
                    "rules_failed": worker.beat.rules_failed,
                    "models": worker.beat.models,
                    "models_failed": worker.beat.models_failed,
                    "calibrations": worker.beat.calibrations,
                    "calibrations_failed": worker.beat.calibrations_failed,
                }
                for worker in workers
            ],
        }

    def _serve(self) -> None:
        metrics = self._settings.metrics
        port = self._settings.supervisor.port
        if port is None:
            port = max(0, metrics.port - 1)
        if port:
            try:
                serve(port, metrics.address, self.health, self._registry)
            except OSError as error:
                raise UsageError(f"setting supervisor.port: {metrics.address}:{port}: {error.strerror}") from error

    def _supervise(self) -> int:
        judge = Judge(self._settings.supervisor, random.Random())  # noqa: S311 - jitter, not a secret
        first = True
        while True:
            began = time.monotonic()
            failure = self._start(first)
            if failure is None:
                failure = self._watch()
            if failure is None:
                return self._drain()
            first = False
            progressed = failure.reason == "kafka_away" or self._progressed()
            lived = time.monotonic() - began if self._ready else 0.0
            refused = failure.status == 2 and not self._ever_ready
            self._end()
            if refused:
                return 2
            pause = judge.pause(lived, progressed)
            if pause is None:
                log.error("%s; it failed too often without progress, given up", failure.detail)
                return 1
            self._restarts += 1
            self._restarted.labels(reason=failure.reason).inc()
            log.warning("%s; the cluster starts again in %.1f s", failure.detail, pause)
            if self._sleep(pause):
                return 0

    def _start(self, first: bool) -> Failure | None:
        """Start all workers, on the partitions that there are now.

        Raises:
            UsageError: the recovery store is of other topics by now.
        """
        try:
            if not first:
                check_store(self._settings)
            self._partitions = list_partitions(self._settings.kafka)
        except (KafkaException, ValueError) as error:
            return Failure("kafka_away", f"the telemetry topics cannot be looked up: {error}")
        addresses = free_addresses(self._count) if self._count > 1 else []
        workers: list[Worker] = []
        self._workers = workers
        board = make_board(len(self._partitions))
        for index in range(self._count):
            ours, theirs = os.pipe()
            held = (theirs, board) if self._lock is None else (theirs, board, self._lock)
            env = worker_environment(
                index,
                addresses,
                self._settings,
                self._partitions,
                os.getpid(),
                theirs,
                board,
                self._rules,
                self._model,
                self._calibration,
            )
            # A group of their own: Ctrl-C reaches them through us, once, and not twice.
            process = subprocess.Popen(
                [sys.executable, "-m", "flows.live"],
                env=env,
                process_group=0,
                pass_fds=held,
                stdin=subprocess.PIPE,
                bufsize=0,
            )
            os.close(theirs)
            assert process.stdin is not None
            os.set_blocking(process.stdin.fileno(), False)
            workers.append(Worker(index, process, ours, time.monotonic()))
        os.close(board)
        self._running.set(len(workers))
        return None

    def _watch(self) -> Failure | None:
        """Watch the workers; return why the cluster failed, or None when told to end."""
        settings = self._settings.supervisor
        told = began = time.monotonic()
        open_pipes = {worker.pipe: worker for worker in self._workers}
        while not self._stop:
            for pipe in select.select(list(open_pipes), [], [], 0.1)[0]:
                if not open_pipes[pipe].listen(time.monotonic()):
                    del open_pipes[pipe]
            for worker in self._workers:
                status = worker.process.poll()
                if status is not None and not self._stop:
                    return _ended(worker, status)
            now = time.monotonic()
            if now - told >= EVERY and self._standstill.waits(self._workers, now):
                told = now
                for worker in self._workers:
                    worker.hold()
            if not self._ready:
                owned = sum(worker.beat.partitions for worker in self._workers)
                self._ready = owned >= len(self._partitions) and all(worker.beat.begun for worker in self._workers)
                self._ever_ready = self._ever_ready or self._ready
                if not self._ready and now - began >= settings.start_seconds:
                    return Failure(
                        "slow_start", f"not all partitions are read {settings.start_seconds:.0f} s after start"
                    )
            elif stalled := self._standstill.blame(self._workers, now):
                age = stalled.standstill(now)
                return Failure("stalled", f"worker {stalled.index} stands still for {age:.1f} s")
        return None

    def _progressed(self) -> bool:
        """Return whether the cluster got as far as a snapshot that a restart goes on from."""
        # The second is taken when the first is whole.
        owners = [worker.beat.snapshots for worker in self._workers if worker.beat.partitions]
        return self._ready and min(owners, default=0) >= 2

    def _drain(self) -> int:
        """Tell all workers to end, wait; kill what has not when time is up or a second signal comes."""
        asked = self._stop
        settings = self._settings.supervisor
        children = [worker.process for worker in self._workers]
        for child in children:
            if child.poll() is None:
                child.terminate()
        deadline = time.monotonic() + settings.drain_seconds
        while any(child.poll() is None for child in children):
            # One that was ended before it began leaves the others waiting for it; nothing was read yet.
            lost = not self._ready and any(child.poll() not in (None, 0) for child in children)
            if time.monotonic() >= deadline or self._stop > asked or lost:
                break
            time.sleep(0.05)
        late = [worker.index for worker in self._workers if worker.process.poll() is None]
        bad = [worker.index for worker in self._workers if worker.process.poll() not in (None, 0)]
        ready = self._ready
        self._end(0.0)
        if (late or bad) and ready:
            log.warning("workers %s did not drain; what they had read comes again from recovery", sorted(late + bad))
            return 1
        return 0

    def _end(self, patience: float = GRACE) -> None:
        end_all([worker.process for worker in self._workers], patience)
        for worker in self._workers:
            worker.close()
        self._workers = []
        self._ready = False
        self._running.set(0)

    def _sleep(self, seconds: float) -> bool:
        """Wait; return whether told to end meanwhile."""
        deadline = time.monotonic() + seconds
        while not self._stop and time.monotonic() < deadline:
            time.sleep(0.05)
        return bool(self._stop)


def _ended(worker: Worker, status: int) -> Failure:
    if status < 0:
        name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
        return Failure("killed", f"worker {worker.index} was ended by {name}")
    return Failure("exited", f"worker {worker.index} ended with status {status}", status)
