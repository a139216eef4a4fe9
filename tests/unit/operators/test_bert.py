"""Texts in the flow: which are read, what is said of them, and that each event ends in one lane."""

from __future__ import annotations

import msgspec
import pytest

from analyzers.bert.encoder import Encoder
from analyzers.bert.judge import MAX_CHARACTERS, TextJudge
from analyzers.bert.manifest import BUILTIN_MODEL
from analyzers.bert.meanings import MEANINGS, Bar
from analyzers.metrics import MetricSet
from analyzers.router.router import Router
from operators.batch import Batch, Collected, Judged
from operators.bert import TextStep
from operators.collect import Collector
from state.alerts import Level, Signal
from state.events import Event, Kind

KIND = Kind("zeek.http", "web", "http-request")
ATTACK = "/index.php?id=1%27+UNION+SELECT+username,password+FROM+users--+-"


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load(BUILTIN_MODEL)


def event(offset: int, text: str = "", kind: str = "http") -> Event:
    return Event("t-0", offset, 10**15, "web-1", KIND, b"raw", "json", text=text, text_kind=kind if text else "")


def match(of: Event, level: Level) -> Signal:
    return Signal("rule", "r1", "A rule", level, of.host, of.time, "why", event_id=of.id)


def step(encoder: Encoder, bar: float = 0.0, judged: Judged | None = None, *events: Event) -> Judged:
    batch = Batch("t-0", 0, 10**15, 10**15, list(events), consumed=len(events))
    judge = TextJudge(encoder)
    thresholds = Bar(bar, dict.fromkeys(judge.labels, bar))
    return TextStep(lambda _: judge, thresholds, Router()).read(judged or Judged(batch, {}, "r"))


def collected(judged: Judged) -> Collected:
    return Collector(MetricSet.load()).collect(judged)


def test_every_event_has_one_lane_and_only_what_alerts_becomes_a_candidate(encoder: Encoder) -> None:
    events = [
        event(0, "/index.html"),
        event(1),
        event(2, "a" * (MAX_CHARACTERS + 1)),
        event(3, "www.example.com", "dns"),
    ]
    judged = step(encoder, 1.1, None, *events)
    assert (judged.texts, judged.signals, judged.model) == ({0, 3}, {}, encoder.manifest.version)
    ledger = collected(judged).ledger
    assert ledger is not None
    assert (ledger.consumed, ledger.bert, ledger.rule) == (4, 2, 2), "what is refused is left to the rules"
    assert ledger.versions["model"] == encoder.manifest.version


def test_a_malicious_text_says_what_where_how_sure_and_by_which_model(encoder: Encoder) -> None:
    judged = step(encoder, 0.0, None, event(7, ATTACK))
    (signal,) = judged.signals[0]
    assert (signal.kind, signal.entity, signal.event_id, signal.time) == ("text", "web-1", "t-0-7", 10**15)
    assert signal.rule in MEANINGS and signal.level <= Level.medium
    assert signal.name == MEANINGS[signal.rule].name and signal.techniques == MEANINGS[signal.rule].techniques
    assert "url.original" in signal.reason and encoder.manifest.version in signal.reason
    assert ATTACK in signal.reason and dict(signal.versions) == {"rules": "r", "model": encoder.manifest.version}
    result = collected(judged)
    (candidate,) = [candidate for item in result.shards for candidate in item.candidates]
    assert result.ledger is not None and (result.ledger.bert, result.ledger.rule) == (0, 0), "the host step counts it"
    assert Router().decide(candidate).lane == "bert"


def test_the_reason_of_a_hostile_text_is_one_bounded_line(encoder: Encoder) -> None:
    judged = step(encoder, 0.0, None, event(0, "a\n\x1b[31m\u202e' or 1=1" + "\x00" * 10_000))
    (signal,) = judged.signals[0]
    assert signal.reason.isprintable() and len(signal.reason) < 300


@pytest.mark.parametrize(
    ("rule", "level", "lane"),
    [(Level.low, Level.medium, "bert"), (Level.medium, Level.high, "bert"), (Level.high, None, "rule")],
)
def test_with_a_rule_that_agrees_it_is_worth_more_and_an_alert_at_once_needs_no_second_opinion(
    encoder: Encoder, rule: Level, level: Level | None, lane: str
) -> None:
    one = event(0, ATTACK)
    batch = Batch("t-0", 0, 10**15, 10**15, [one], consumed=1)
    judged = step(encoder, 0.0, Judged(batch, {0: [match(one, rule)]}, "r"))
    said = [signal.level for signal in judged.signals[0] if signal.kind == "text"]
    if judged.signals[0][-1].rule == "suspicious-domain":
        pytest.fail("a URL is no domain name")
    assert said == ([] if level is None else [level])
    result = collected(judged)
    (candidate,) = [candidate for item in result.shards for candidate in item.candidates]
    assert Router().decide(candidate).lane == lane
    assert [signal.kind for signal in result.at_once] == {Level.low: [], Level.medium: ["text"], Level.high: ["rule"]}[
        rule
    ]


def test_a_label_of_its_own_threshold_alerts_by_that(encoder: Encoder) -> None:
    judge = TextJudge(encoder)
    verdict = judge.verdict([0.6] + [0.0] * (len(judge.labels) - 1))
    first = judge.labels[0]
    assert Bar(0.99).passed(verdict, judge) is None
    assert Bar(0.99, {first: 0.5}).passed(verdict, judge) == (first, 0.6)
    assert Bar(0.5, {first: 0.7}).passed(verdict, judge) is None
    for own, passed in ((0.7, None), (0.55, (first, 0.6)), (0.1, (first, 0.6))):
        manifest = msgspec.structs.replace(judge.encoder.manifest, alert=(own,) * len(judge.labels))
        judge.encoder.manifest, kept = manifest, judge.encoder.manifest
        try:
            assert Bar(0.5).passed(verdict, judge) == passed, "the model knows best where its benign texts end"
        finally:
            judge.encoder.manifest = kept
