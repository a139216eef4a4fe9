"""Watch whether the calibration still holds, in this process, and tell the operator when it does not."""

from __future__ import annotations

import logging

from analyzers.router.drift import DriftWatch
from analyzers.router.router import Router, Said
from operators import metrics

log = logging.getLogger(__name__)

#: Texts that are told apart, so that each is counted once; then all are forgotten.
MAX_SEEN = 200_000
#: Calibrations that are watched at once: while one takes over from another, partitions may have either.
MAX_WATCHED = 2


class _Watched:
    """What is counted under one calibration."""

    def __init__(self) -> None:
        self.watch = DriftWatch()
        self.seen: set[int] = set()
        self.told: set[str] = set()


class Drifting:
    """A drift watch that counts each text once, logs what it finds, and shows it to Prometheus.

    One a process: what other workers see is in their own. It begins anew with the process, and with each calibration:
    what it compares with is what came first in this process under this calibration.

    Args:
        router: the one to begin with; its calibration is what is watched.
    """

    def __init__(self, router: Router) -> None:
        self._version = router.version
        self._watched = {router.version: _Watched()}

    def text(self, router: Router, text: str, source: str, malicious: float, alerts_from: float, model: str) -> None:
        """Count a text with the probability of its most probable label, under the calibration that settles it."""
        if router.version != self._version:
            self._turn(router.version)
        now = self._watched[self._version]
        key = hash((text, source))
        if key in now.seen:
            return
        if len(now.seen) >= MAX_SEEN:
            now.seen.clear()
        now.seen.add(key)
        band = router.band(source, alerts_from, model)
        said: Said = "unsettled"
        if malicious < band.low:
            said = "benign"
        elif malicious >= band.high:
            said = "malicious"
        now.watch.count(said, malicious)
        self._tell(now)

    def audited(self, said: Said, agrees: bool) -> None:
        """Count an event that two judges were asked about."""
        metrics.AUDITS.labels(said=said, agrees="yes" if agrees else "no").inc()
        now = self._watched[self._version]
        now.watch.audited(said, agrees)
        self._tell(now)

    def _turn(self, version: str) -> None:
        """Count on under another calibration."""
        now = self._watched.pop(version, None) or _Watched()
        self._watched[version] = now
        self._version = version
        while len(self._watched) > MAX_WATCHED:
            del self._watched[next(iter(self._watched))]
        self._show(now)

    def _tell(self, now: _Watched) -> None:
        drifts = now.watch.drifts()
        found = {drift.what for drift in drifts}
        if found == now.told:
            return
        for drift in drifts:
            if drift.what not in now.told:
                log.warning("router: the calibration (%s) may no longer hold: %s", self._version, drift)
        now.told = found
        self._show(now)

    def _show(self, now: _Watched) -> None:
        drifts = now.watch.drifts()
        for kind in ("mix", "certainty", "agreement"):
            metrics.DRIFT.labels(kind=kind).set(sum(drift.kind == kind for drift in drifts))
