"""The versions of the rules that a worker holds, and those that were activated and are to come into force."""

from __future__ import annotations

import contextlib
import gc
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from analyzers.rules import RuleSet
from analyzers.rules.registry import Registry
from operators import metrics
from operators.formats import UNDECODED, fields
from operators.liveness import liveness
from state.control import Activation
from state.events import Event

log = logging.getLogger(__name__)

#: Activations that are remembered, so that none comes into force twice; further ones are not heard.
MAX_ACTIVATIONS = 10_000
#: Sets kept of those that no partition uses any more, for batches may be on their way to the rules, and of those that
#: wait for their time; one that is not kept is loaded again when it is needed.
SPARE = 2
#: Batches of events on which a new version is tried.
RECENT = 2
#: How often they are judged on trial.
TRIALS = 3
#: How often a version that could not be loaded is tried again, seconds.
AGAIN = 10.0
#: While a set is read beside the flow: for so long it works, then so long it rests, seconds. The interpreter lets one
#: thread run at a time, so what is worked here is taken from the flow.
_WORK, _REST = 0.002, 0.006


class Activated(msgspec.Struct, frozen=True):
    """A version that was activated, from an event time on, µs. The id is the message's."""

    id: str
    version: str
    from_time: int
    written_at: int

    @classmethod
    def of(cls, message: Activation) -> Activated:
        """Return what a message says."""
        return cls(message.id, message.artifact, message.from_time, message.written_at)

    @property
    def order(self) -> tuple[int, int, str]:
        """Return the order in which activations come into force, where that of several has come."""
        return (max(self.from_time, self.written_at), self.written_at, self.id)


class Versions:
    """Holds rule sets by version. One a process; partitions and the rules step ask, a thread of its own loads.

    A version that cannot be loaded never comes into force: the one before stays, which is logged, counted and part of
    ``/health``, and it is tried again.

    Args:
        registry: where the sets lie.
        base: version that a partition begins with, of which nothing is known yet.
        past: ids of the activations that the base comes of, or overtook.

    Raises:
        OSError, ValueError: the base version cannot be loaded.
    """

    def __init__(self, registry: Registry, base: str, past: Sequence[str] = ()) -> None:
        self.base = base
        self.past = list(past)
        #: What was activated and is loaded, in the order it was heard; replaced as a whole by the loading thread.
        self.ready: tuple[Activated, ...] = ()
        #: Events that were judged last: a new version is tried on them first, so that its caches are warm.
        self.recent: deque[Sequence[Event]] = deque(maxlen=RECENT)
        self._registry = registry
        self._sets: dict[str, RuleSet] = {base: self._read(base)}
        self._heard: dict[str, Activated] = {}
        self._used: dict[str, frozenset[str]] = {}
        self._spare: list[str] = []
        self._wishes: queue.SimpleQueue[Activated] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def hear(self, message: Activation) -> None:
        """Take in an activation, unless it is known; its set is loaded beside the flow."""
        if message.what != "rules" or message.id in self._heard:
            return
        if len(self._heard) >= MAX_ACTIVATIONS:
            log.error("rules: more than %d activations; %s is not heard", MAX_ACTIVATIONS, message.id)
            return
        activated = Activated.of(message)
        self._heard[message.id] = activated
        self._wishes.put(activated)
        if self._thread is None:
            self._thread = threading.Thread(target=self._load_all, name="rules", daemon=True)
            self._thread.start()

    def of(self, version: str) -> RuleSet:
        """Return a set that is in force. Raises KeyError for one that no partition has asked for."""
        return self._sets[version]

    def need(self, version: str) -> bool:
        """Load a set now, if it is not there; say whether it is."""
        if version in self._sets:
            return True
        try:
            loaded = self._read(version)
        except (OSError, ValueError) as error:
            self._failed(version, error)
            return False
        self._sets[version] = loaded
        return True

    def use(self, partition: str, version: str, coming: Iterable[str] = ()) -> None:
        """Say which version judges a partition now, and which are to; sets that nobody uses are forgotten."""
        with self._lock:
            before = self._used.get(partition, frozenset())
            self._used[partition] = frozenset((version, *coming))
            self._spare += [gone for gone in before - self._used[partition] if gone not in self._spare]
            coming_up = [each.version for each in self.ready[-SPARE:]]
            needed = {self.base, *self._spare[-SPARE:], *coming_up}.union(*self._used.values())
            for gone in [held for held in self._sets if held not in needed]:
                self._sets.pop(gone).close()
            del self._spare[: -SPARE - 1]
        self._tell()

    def _tell(self) -> None:
        now = {version for versions in self._used.values() for version in versions}
        for version in set(liveness.rules) - now:
            with contextlib.suppress(KeyError):
                metrics.RULES.remove(version)
        liveness.rules = sorted(now)
        for version in now:
            metrics.RULES.labels(version=version).set(len(self._sets[version].rules) if version in self._sets else 0)

    def _load_all(self) -> None:
        later: list[Activated] = []
        while True:
            try:
                wish = self._wishes.get(timeout=AGAIN if later else None)
            except queue.Empty:
                for each in later:
                    self._wishes.put(each)
                later.clear()
                continue
            try:
                if wish.version not in self._sets:
                    rules = self._read(wish.version, aside=True)
                    with self._lock:
                        self._sets[wish.version] = rules
                        self.ready = (*self.ready, wish)
                else:
                    with self._lock:
                        self.ready = (*self.ready, wish)
            except Exception as error:  # whatever a set is: the flow goes on under the one it has
                self._failed(wish.version, error)
                later.append(wish)
            else:
                liveness.rules_failed.pop(wish.version, None)

    def _read(self, version: str, aside: bool = False) -> RuleSet:
        until = time.monotonic() + _WORK

        def rest() -> None:
            nonlocal until
            if aside and time.monotonic() >= until:
                time.sleep(_REST)
                until = time.monotonic() + _WORK

        # A collection of garbage walks over every object there is, and a set has hundreds of thousands that stay: the
        # flow would stand still for half a second. So none runs while a set comes to be, nor sees it later (``close``).
        collecting = gc.isenabled()
        gc.disable()
        try:
            loaded = self._registry.get(version, rest)
            rules = RuleSet.of(loaded.compiled, loaded.problems, loaded.version, loaded.correlations)
            if aside:
                with self._lock:
                    current = self._sets[self.ready[-1].version if self.ready else self.base]
                rules.prepare(current)
                # What the first events of each kind, and of each value, cost is spent here and not in the flow; the
                # same events more than once, for a kind is not screened before it was met often.
                for events in tuple(self.recent) * TRIALS:
                    for event in events:
                        rules.match_batch((event,), fields, UNDECODED)
                        rest()
                rules.failures = 0
            gc.freeze()
        finally:
            if collecting:
                gc.enable()
        return rules

    def _failed(self, version: str, error: Exception) -> None:
        why = f"{type(error).__name__}: {error}"
        if version not in liveness.rules_failed:
            log.error("rules: version %s cannot be loaded, the version before stays in force: %s", version, why)
        liveness.rules_failed[version] = why
        metrics.RULES_FAILED.inc()
