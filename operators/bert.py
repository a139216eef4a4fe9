"""Texts: what the text judge says of those that a batch's events carry, one signal a malicious one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence, Set
from typing import NamedTuple

from msgspec import structs

from analyzers.bert.canonical import canonical
from analyzers.bert.judge import Refused, TextJudge, Verdict
from analyzers.bert.meanings import Bar, Finding, signal_of
from analyzers.router.candidate import MAX_SHOWN, Reading
from analyzers.router.overload import Overload
from analyzers.router.router import Router
from operators import metrics
from operators.batch import Batch, Judged
from operators.drift import Drifting
from operators.texts import Carried, texts_of
from state.alerts import Level

#: What the router makes of a text, as the first part of its gravity.
BENIGN, MALICIOUS = 0, 2


class Worst(NamedTuple):
    """The gravest text of an event: how grave, its most probable label, itself."""

    gravity: tuple[int, float]
    label: str
    text: Carried


class TextStep:
    """Judge the texts of batches. Keeps no state but what it remembers, so results are the same on any worker.

    Args:
        of: the judge of a version of the model.
        bar: from which probability on a label alerts.
        router: says which events' texts are read.
        routers: the router of a version of the calibration; None: there is one.
        seen: told the texts of each batch.
        drifting: told what the model says of each text.
    """

    def __init__(
        self,
        of: Callable[[str], TextJudge],
        bar: Bar,
        router: Router,
        seen: Callable[[Sequence[tuple[str, str]]], object] = lambda texts: None,
        drifting: Drifting | None = None,
        routers: Callable[[str], Router] | None = None,
    ) -> None:
        self._of = of
        self._seen = seen
        self._bar = bar
        self._router = router
        self._routers = (lambda _: router) if routers is None else routers
        self._drifting = drifting
        self._overload = Overload(router.settings)
        #: By how much each partition is behind, seconds, and whether ever more.
        self._behind: dict[str, tuple[float, bool]] = {}

    def read(self, judged: Judged) -> Judged:
        """Return the batch with the signals of each event whose text is malicious, and what it does not settle."""
        began = time.perf_counter()
        batch, signals = judged.batch, judged.signals
        reads = self._router.reads
        shed = self._shed(batch)
        places: list[int] = []
        carried: list[Carried] = []
        left = 0
        for index, event in enumerate(batch.events):
            if not event.text:
                continue
            if reads(event, signals.get(index, ()), shed):
                found = texts_of(event)
                carried += found
                places += [index] * len(found)
            else:
                left += 1
        if shed:
            metrics.SHED_TEXTS.inc(left)
            judged = structs.replace(judged, shed=shed)
        if not carried:
            return judged
        judge, router = self._of(batch.model), self._routers(batch.calibration)
        verdicts = self._judge(judge, [(each.text, each.source) for each in carried])
        read: set[int] = set()
        best: dict[int, Finding] = {}
        by: dict[int, str] = {}
        worst: dict[int, Worst] = {}
        asked = self._bar.asked(judge)
        for index, text, verdict in zip(places, carried, verdicts, strict=True):
            if not isinstance(verdict, Verdict):
                continue  # refused: rules decide it, and it is counted
            read.add(index)
            score, label = max(zip(verdict.scores, judge.labels, strict=True))
            gravest = Worst(router.gravity(score, asked[label], text.source, judge.version), label, text)
            if self._drifting is not None:
                self._drifting.text(router, text.text, text.source, score, asked[label], judge.version)
            if index not in worst or gravest.gravity > worst[index].gravity:
                worst[index] = gravest
            passed = self._bar.passed(verdict, judge)
            if passed is None and gravest.gravity[0] == MALICIOUS:  # a calibration may ask less than the bar
                passed = (label, score)
            if passed is not None and (index not in best or passed[1] > best[index].score):
                best[index] = Finding(*passed, verdict.model, text.text, text.field)
                by[index] = _calibration(router, text.source, judge)
        for index, finding in best.items():
            said = signals.setdefault(index, [])
            if any(signal.level >= Level.high for signal in said):
                continue  # alerted by a rule, and read only to see whether the two agree
            signal = signal_of(batch.events[index], finding, judged.rules, said)
            if by[index]:
                signal = structs.replace(signal, versions=(*signal.versions, ("calibration", by[index])))
            said.append(signal)
            metrics.TEXT_ALERTS.labels(label=finding.label).inc()
        readings = self._readings(batch, judge, router, asked, worst, signals.keys())
        return structs.replace(
            judged,
            texts=frozenset(read),
            model=judge.version,
            readings=readings,
            calibration=router.version_for(judge.version),
            text_seconds=time.perf_counter() - began,
        )

    def _shed(self, batch: Batch) -> int:
        """Return what is shed, by the partition of this worker that is furthest behind."""
        self._behind[batch.origin] = (batch.behind, batch.growing)
        behind, _ = max(self._behind.values())
        level = self._overload.observe(behind, time.monotonic(), any(growing for _, growing in self._behind.values()))
        metrics.SHED.set(level)
        return level

    def _readings(
        self,
        batch: Batch,
        judge: TextJudge,
        router: Router,
        asked: Mapping[str, float],
        worst: dict[int, Worst],
        said: Set[int],
    ) -> dict[int, Reading]:
        """Return what is to be decided with the host in sight: what is unsettled, or said something of, or audited."""
        readings: dict[int, Reading] = {}
        for index, ((grave, score), label, text) in worst.items():
            if index in said or grave > BENIGN or router.audits(batch.events[index].id):
                layers = canonical(text.text, text.source).layers
                shown = text.text[:MAX_SHOWN]
                readings[index] = Reading(
                    label,
                    score,
                    asked[label],
                    text.source,
                    text.field,
                    shown,
                    len(text.text),
                    layers,
                    judge.version,
                    router.band(text.source, asked[label], judge.version),
                    _calibration(router, text.source, judge),
                )
        return readings

    def _judge(self, judge: TextJudge, texts: list[tuple[str, str]]) -> list[Verdict | Refused]:
        """Judge texts, and tell Prometheus what answered and how long it took."""
        before = dict(judge.counts)
        started = time.perf_counter()
        self._seen(texts)
        verdicts = judge.judge(texts)
        metrics.TEXT_SECONDS.inc(time.perf_counter() - started)
        for by, count in judge.counts.items():
            if count > before[by]:
                metrics.TEXTS.labels(by=by).inc(count - before[by])
        return verdicts


def _calibration(router: Router, source: str, judge: TextJudge) -> str:
    """Return the version of the calibration that settles texts of a source; empty: none does."""
    return router.version if router.calibrated(source, judge.version) else ""
