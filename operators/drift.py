"""Watch whether the calibration still holds, in this process, and tell the operator when it does not."""

from __future__ import annotations

import logging

from analyzers.router.drift import DriftWatch
from analyzers.router.router import Router, Said
from operators import metrics

log = logging.getLogger(__name__)

#: Texts that are told apart, so that each is counted once; then all are forgotten.
MAX_SEEN = 200_000


class Drifting:
    """A drift watch that counts each text once, logs what it finds, and shows it to Prometheus.

    One a process: what other workers see is in their own. It begins anew with the process.

    Args:
        router: says what a probability means; its calibration is what is watched.
    """

    def __init__(self, router: Router) -> None:
        self._router = router
        self._watch = DriftWatch()
        self._seen: set[int] = set()
        self._told: set[str] = set()

    def text(self, text: str, source: str, malicious: float, alerts_from: float, model: str) -> None:
        """Count a text with the probability of its most probable label."""
        key = hash((text, source))
        if key in self._seen:
            return
        if len(self._seen) >= MAX_SEEN:
            self._seen.clear()
        self._seen.add(key)
        band = self._router.band(source, alerts_from, model)
        said: Said = "unsettled"
        if malicious < band.low:
            said = "benign"
        elif malicious >= band.high:
            said = "malicious"
        self._watch.count(said, malicious)
        self._tell()

    def audited(self, said: Said, agrees: bool) -> None:
        """Count an event that two judges were asked about."""
        metrics.AUDITS.labels(said=said, agrees="yes" if agrees else "no").inc()
        self._watch.audited(said, agrees)
        self._tell()

    def _tell(self) -> None:
        drifts = self._watch.drifts()
        now = {drift.what for drift in drifts}
        if now == self._told:
            return
        for kind in ("mix", "certainty", "agreement"):
            metrics.DRIFT.labels(kind=kind).set(sum(drift.kind == kind for drift in drifts))
        for drift in drifts:
            if drift.what not in self._told:
                log.warning("router: the calibration (%s) may no longer hold: %s", self._router.version, drift)
        self._told = now
