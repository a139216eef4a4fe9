"""Texts: what the text judge says of those that a batch's events carry, one signal a malicious one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from msgspec import structs

from analyzers.bert.judge import TextJudge, Verdict
from analyzers.bert.meanings import Bar, signal_of
from analyzers.router import Router
from operators import metrics
from operators.batch import Judged


class TextStep:
    """Judge the texts of batches. Keeps no state but what it remembers, so results are the same on any worker.

    Args:
        of: the judge of a version of the model.
        bar: from which probability on a label alerts.
        router: says which events' texts are read.
        seen: told the texts of each batch.
    """

    def __init__(
        self,
        of: Callable[[str], TextJudge],
        bar: Bar,
        router: Router,
        seen: Callable[[Sequence[tuple[str, str]]], object] = lambda texts: None,
    ) -> None:
        self._of = of
        self._seen = seen
        self._bar = bar
        self._router = router

    def read(self, judged: Judged) -> Judged:
        """Return the batch with the signals of each event whose text is malicious."""
        batch, signals = judged.batch, judged.signals
        reads = self._router.reads
        texts = [index for index, event in enumerate(batch.events) if event.text]
        asked = [index for index in texts if reads(batch.events[index], signals.get(index, ()))]
        if not asked:
            return judged
        judge = self._of(batch.model)
        before = dict(judge.counts)
        started = time.perf_counter()
        events = [batch.events[index] for index in asked]
        read_now = [(event.text, event.text_kind) for event in events]
        self._seen(read_now)
        verdicts = judge.judge(read_now)
        metrics.TEXT_SECONDS.inc(time.perf_counter() - started)
        for by, count in judge.counts.items():
            if count > before[by]:
                metrics.TEXTS.labels(by=by).inc(count - before[by])
        read = set()
        for index, event, verdict in zip(asked, events, verdicts, strict=True):
            if not isinstance(verdict, Verdict):
                continue  # refused: rules decide it, and it is counted
            read.add(index)
            passed = self._bar.passed(verdict, judge.labels)
            if passed is not None:
                label, score = passed
                said = signals.setdefault(index, [])
                said.append(signal_of(event, label, score, verdict.model, judged.rules, said))
                metrics.TEXT_ALERTS.labels(label=label).inc()
        return structs.replace(judged, texts=frozenset(read), model=judge.version)
