"""The versions of the rules that a worker holds."""

from __future__ import annotations

import contextlib
import gc
import time
from collections import deque
from collections.abc import Sequence
from typing import ClassVar

from analyzers.rules import RuleSet
from analyzers.rules.registry import Registry
from operators import metrics
from operators.formats import UNDECODED, fields
from operators.held import Held, What
from operators.liveness import liveness
from state.events import Event

#: Batches of events on which a new version is tried.
RECENT = 2
#: How often they are judged on trial.
TRIALS = 3
#: While a set is read beside the flow: for so long it works, then so long it rests, seconds. The interpreter lets one
#: thread run at a time, so what is worked here is taken from the flow.
_WORK, _REST = 0.002, 0.006


class Versions(Held[RuleSet]):
    """Holds rule sets by version, see ``Held``.

    Args:
        registry: where the sets lie.
        base: version that a partition begins with, of which nothing is known yet.
        past: ids of the activations that the base comes of, or overtook.

    Raises:
        OSError, ValueError: the base version cannot be loaded.
    """

    what: ClassVar[What] = "rules"

    def __init__(self, registry: Registry, base: str, past: Sequence[str] = ()) -> None:
        self._registry = registry
        #: Events that were judged last: a new version is tried on them first, so that its caches are warm.
        self.recent: deque[Sequence[Event]] = deque(maxlen=RECENT)
        super().__init__(base, past)

    def swapped(self, seconds: float) -> None:
        """Count that a partition took another version into force, which held it up for so long."""
        metrics.RULES_SWAPS.inc()
        metrics.RULES_SWAP_SECONDS.set(seconds)

    def lost(self) -> None:
        """Count that a version is gone that judged before."""
        metrics.RULES_FAILED.inc()

    def _close(self, thing: RuleSet) -> None:
        thing.close()

    def _tell(self, versions: set[str]) -> None:
        for version in set(liveness.rules) - versions:
            with contextlib.suppress(KeyError):
                metrics.RULES.remove(version)
        liveness.rules = sorted(versions)
        for version in versions:
            rules = self._things.get(version)
            metrics.RULES.labels(version=version).set(len(rules.rules) if rules is not None else 0)

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
                rules.prepare(self._latest())
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

    def _failed(self, version: str, why: str | None) -> bool:
        if why is None:
            liveness.rules_failed.pop(version, None)
            return False
        new = version not in liveness.rules_failed
        liveness.rules_failed[version] = why
        metrics.RULES_FAILED.inc()
        return new
