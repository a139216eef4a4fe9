"""Rules: what the Sigma engine says of a batch, one signal a match."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from analyzers.correlations.hits import MAX_COPY, Hit, Hits, Matched
from analyzers.router.times import LaneTimes
from analyzers.rules import RuleSet
from analyzers.rules.correlation import Correlation
from operators import metrics
from operators.batch import Batch, Collected, Judged
from operators.formats import UNDECODED, fields
from state.alerts import Signal
from state.events import Event


class Judge:
    """Match rules over batches, each by the version that its partition has for it.

    Args:
        of: the rule set of a version.
        seen: told the events of each batch.
    """

    def __init__(
        self, of: Callable[[str], RuleSet], seen: Callable[[Sequence[Event]], object] = lambda events: None
    ) -> None:
        self._of = of
        self._seen = seen

    def judge(self, batch: Batch) -> Judged:
        """Return the batch with the signals of each event that a rule matched."""
        signals: dict[int, list[Signal]] = {}
        if not batch.consumed:
            return Judged(batch, signals, batch.rules, hits=Hits(batch.origin, batch.watermark))
        began = time.perf_counter()
        rules = self._of(batch.rules)
        versions = (("rules", rules.version),)
        feeds = rules.feeds
        fed: dict[int, list[Matched]] = {}
        concerned: dict[int, dict[str, Correlation]] = {}
        if rules.rules and batch.events:
            self._seen(batch.events)
            for match in rules.match_batch(batch.events, fields, UNDECODED):
                event, rule = batch.events[match.index], match.rule
                metrics.MATCHES.labels(level=rule.level.name).inc()
                feeding = feeds.get(rule.id)
                if feeding is not None:
                    values = feeds.read(feeding, rule, event, fields(event))
                    fed.setdefault(match.index, []).append(Matched(rule.id, values))
                    concerned.setdefault(match.index, {}).update((c.digest, c) for c in feeding.correlations)
                    if feeding.silent:
                        continue
                signal = Signal(
                    kind="rule",
                    rule=rule.id,
                    name=rule.title,
                    level=rule.level,
                    entity=event.host,
                    time=event.time,
                    reason=match.reason,
                    techniques=rule.techniques,
                    tactics=rule.tactics,
                    event_id=event.id,
                    versions=versions,
                )
                signals.setdefault(match.index, []).append(signal)
        hits = _hits(batch, fed, concerned, rules.version)
        return Judged(batch, signals, rules.version, hits=hits, rule_seconds=time.perf_counter() - began)


def _hits(
    batch: Batch, fed: dict[int, list[Matched]], concerned: dict[int, dict[str, Correlation]], version: str
) -> Hits:
    """Return what a batch has for correlations."""
    hits = []
    named: dict[str, Correlation] = {}
    for index, matches in fed.items():
        event = batch.events[index]
        concerns = concerned[index]
        named.update(concerns)
        ordered = sorted(concerns.values(), key=lambda each: (each.depth, each.rule.id, each.digest))
        hits.append(
            Hit(
                batch.place(index),
                event.origin,
                event.offset,
                event.time,
                event.host,
                event.raw[:MAX_COPY],
                tuple(matches),
                tuple(each.digest for each in ordered),
                version,
            )
        )
    return Hits(batch.origin, batch.watermark, hits, tuple(named.values()))


def count(step_id: str, collected: Collected, times: LaneTimes | None = None) -> None:
    """Tell Prometheus of a batch, and ``times`` what judging it took."""
    batch = collected.batch
    if times is not None:
        wait = collected.rule_seconds + collected.text_seconds
        times.add("rule", len(batch.events), collected.rule_seconds, collected.rule_seconds)
        times.add("bert", collected.texts, collected.text_seconds, wait)
    formats: dict[str, int] = {}
    for event in batch.events:
        formats[event.format] = formats.get(event.format, 0) + 1
    for name, number in formats.items():
        metrics.EVENTS.labels(format=name).inc(number)
    for rejected in batch.rejected:
        metrics.REJECTED.labels(format=rejected.format, reason=rejected.reason).inc()
    metrics.BYTES.inc(batch.size)
    if collected.ledger is not None:
        metrics.DECIDED.labels(lane="rule").inc(collected.ledger.rule)
        metrics.DECIDED.labels(lane="bert").inc(collected.ledger.bert)
        metrics.LATE.labels(why="late").inc(collected.ledger.late)
        metrics.LATE.labels(why="future").inc(collected.ledger.future)
    if batch.read_at:
        metrics.BATCH_SECONDS.observe(time.time() - batch.read_at)
