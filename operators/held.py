"""What a worker holds of something that has versions: those in force, and those that were activated and are to come."""

from __future__ import annotations

import logging
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar, Generic, Literal, TypeVar

import msgspec

from state.control import Activation

log = logging.getLogger(__name__)

#: Activations that are remembered, so that none comes into force twice; further ones are not heard.
MAX_ACTIVATIONS = 10_000
#: Versions kept of those that no partition uses any more, for batches may be on their way, and of those that wait for
#: their time; one that is not kept is loaded again when it is needed.
SPARE = 2
#: How often a version that could not be loaded is tried again, seconds.
AGAIN = 10.0

Thing = TypeVar("Thing")
#: What can be activated and held.
What = Literal["rules", "model", "calibration"]


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


class Held(ABC, Generic[Thing]):
    """Holds things by version. One a process; partitions and a step ask, a thread of its own loads.

    A version that cannot be loaded never comes into force: the one before stays, which is logged, counted and part of
    ``/health``, and it is tried again.

    Args:
        base: version that a partition begins with, of which nothing is known yet.
        past: ids of the activations that the base comes of, or overtook.

    Raises:
        OSError, ValueError: the base version cannot be loaded.
    """

    #: Activations of what it hears, and its name in the log.
    what: ClassVar[What]

    def __init__(self, base: str, past: Sequence[str] = ()) -> None:
        self.base = base
        self.past = list(past)
        #: What was activated and is loaded, in the order it was heard; replaced as a whole by the loading thread.
        self.ready: tuple[Activated, ...] = ()
        self._things: dict[str, Thing] = {base: self._read(base)}
        self._heard: dict[str, Activated] = {}
        self._used: dict[str, frozenset[str]] = {}
        self._spare: list[str] = []
        self._wishes: queue.SimpleQueue[Activated] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def first(self) -> Thing:
        """Return the version that a partition begins with, of which nothing is known yet."""
        return self._things[self.base]

    def hear(self, message: Activation) -> None:
        """Take in an activation, unless it is known or of something else; its version is loaded beside the flow."""
        if message.what != self.what or message.id in self._heard:
            return
        if len(self._heard) >= MAX_ACTIVATIONS:
            log.error("%s: more than %d activations; %s is not heard", self.what, MAX_ACTIVATIONS, message.id)
            return
        activated = Activated.of(message)
        self._heard[message.id] = activated
        self._wishes.put(activated)
        if self._thread is None:
            self._thread = threading.Thread(target=self._load_all, name=self.what, daemon=True)
            self._thread.start()

    def of(self, version: str) -> Thing:
        """Return what is in force under a version. Raises KeyError for one that no partition has asked for."""
        return self._things[version]

    def holds(self, version: str) -> bool:
        """Say whether a version is here, in force or to come."""
        return version in self._things

    def need(self, version: str) -> bool:
        """Load a version now, if it is not there; say whether it is."""
        if version in self._things:
            return True
        try:
            loaded = self._read(version)
        except (OSError, ValueError) as error:
            self._fail(version, error)
            return False
        self._things[version] = loaded
        return True

    def use(self, partition: str, version: str, coming: Iterable[str] = ()) -> None:
        """Say which version judges a partition now, and which are to; what nobody uses is forgotten."""
        with self._lock:
            before = self._used.get(partition, frozenset())
            self._used[partition] = frozenset((version, *coming))
            self._spare += [gone for gone in before - self._used[partition] if gone not in self._spare]
            coming_up = [each.version for each in self.ready[-SPARE:]]
            needed = {self.base, *self._spare[-SPARE:], *coming_up}.union(*self._used.values())
            for gone in [held for held in self._things if held not in needed]:
                self._close(self._things.pop(gone))
            del self._spare[: -SPARE - 1]
        self._tell({version for versions in self._used.values() for version in versions})

    @abstractmethod
    def swapped(self, seconds: float) -> None:
        """Count that a partition took another version into force, which held it up for so long."""

    @abstractmethod
    def _read(self, version: str, aside: bool = False) -> Thing:
        """Load a version; ``aside``: by the thread of its own, while the flow works. Raises OSError, ValueError."""

    @abstractmethod
    def _tell(self, versions: set[str]) -> None:
        """Say outside which versions are in force."""

    @abstractmethod
    def _failed(self, version: str, why: str | None) -> bool:
        """Say outside why a version cannot be loaded, or with None that it can; return whether that is new."""

    def _close(self, thing: Thing) -> None:
        """Let go of what is not needed any more."""

    def lost(self) -> None:
        """Count that a version is gone that judged before."""

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
                if wish.version not in self._things:
                    loaded = self._read(wish.version, aside=True)
                    with self._lock:
                        self._things[wish.version] = loaded
                        self.ready = (*self.ready, wish)
                else:
                    with self._lock:
                        self.ready = (*self.ready, wish)
            except Exception as error:  # whatever it is: the flow goes on under the version it has
                self._fail(wish.version, error)
                later.append(wish)
            else:
                self._failed(wish.version, None)

    def _latest(self) -> Thing:
        """Return what was loaded last."""
        with self._lock:
            return self._things[self.ready[-1].version if self.ready else self.base]

    def _fail(self, version: str, error: Exception) -> None:
        why = f"{type(error).__name__}: {error}"
        if self._failed(version, why):
            log.error("%s: version %s cannot be loaded, the version before stays in force: %s", self.what, version, why)
