"""The router: one lane an event, for a reason that a person can read, and the same one each time."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from analyzers.bert.encoder import Encoder
from analyzers.bert.judge import TextJudge, Verdict
from analyzers.bert.manifest import BUILTIN_MODEL
from analyzers.bert.meanings import Bar
from analyzers.bert.settings import BertSettings
from analyzers.router.calibration import Calibration, Fitted
from analyzers.router.candidate import Candidate, Context, Reading
from analyzers.router.router import SHED_ALL, SHED_LLM, Router
from analyzers.router.settings import RouterSettings
from flows.traffic import Traffic
from flows.traffic.settings import TrafficSettings
from operators.formats import Decoder
from operators.formats.settings import FormatSettings
from operators.texts import texts_of
from state.alerts import Level, Signal
from state.events import Event, Kind

KIND = Kind("windows.sysmon", "process", "process-created")
TIME = 1_700_000_000_000_000
START = 1_704_700_800_000_000


def event(offset: int = 0, text: str = "whoami", host: str = "ws-1") -> Event:
    return Event("t-0", offset, TIME, host, KIND, b"raw", "json", text=text, text_kind="shell" if text else "")


def rule(level: Level, name: str = "r1") -> Signal:
    return Signal("rule", name, "A rule", level, "ws-1", TIME, "why")


def reading(malicious: float, source: str = "shell", bar: float = 0.98, **more: Any) -> Reading:
    return Reading("malicious-shell", malicious, bar, source, "process.command_line", "whoami", 6, **more)


def candidate(read: Reading | None = None, *levels: Level, of: Event | None = None, known: str = "r") -> Candidate:
    signals = tuple(rule(level, f"{known}{place}") for place, level in enumerate(levels))
    return Candidate(of or event(), signals, TIME, reading=read)


def calibration(low: float, high: float | None = None, source: str = "shell", model: str = "m1") -> Calibration:
    fitted = Fitted(
        benign_below=low,
        malicious_from=high,
        malicious=500,
        benign=500,
        missed=1,
        p_value=0.04,
        unsettled_benign=0.1,
        unsettled_malicious=0.1,
    )
    return Calibration(model=model, max_miss_rate=0.01, confidence=0.95, sources={source: fitted})


shares = st.floats(0, 1)
readings = st.builds(
    Reading,
    st.just("sqli"),
    shares,
    st.sampled_from([0.0, 0.5, 0.98, 0.999, 1.1]),
    st.sampled_from(["http", "shell", "dns", "of nobody"]),
    st.just("url.original"),
    st.just("a=1"),
    st.integers(0, 2_000_000),
    st.integers(0, 9),
    st.sampled_from(["", "m1", "m2"]),
)
candidates = st.builds(
    lambda offset, levels, read: candidate(read, *levels, of=event(offset)),
    st.integers(0, 10**9),
    st.lists(st.sampled_from(list(Level)), max_size=4),
    st.none() | readings,
)
contexts = st.builds(
    Context,
    st.dictionaries(st.sampled_from(["r0", "r1"]), st.floats(0, 1e6)),
    st.floats(0, 1e6),
    shares,
    st.floats(0, 1e6),
    st.floats(0, 100),
)
calibrations = st.none() | st.builds(calibration, shares, st.none() | shares, st.sampled_from(["shell", "*"]))


@given(candidates, contexts, calibrations, st.booleans(), st.sampled_from([0, 1, 2]))
def test_each_candidate_has_one_lane_and_a_reason_and_an_llm_is_asked_only_where_there_is_one(
    one: Candidate, context: Context, fitted: Calibration | None, asks: bool, shed: int
) -> None:
    settings = RouterSettings(audit_one_in=3, criticality={"ws-*": 4.0})
    decision = Router(settings, fitted, asks).decide(one, context, shed)
    assert decision == Router(settings, fitted, asks).decide(one, context, shed), "read again, it is decided the same"
    assert decision.lane in ("rule", "bert", "llm") and decision.reason.isprintable() and len(decision.reason) < 250
    assert 0 <= decision.stakes <= 1 and 0 <= decision.complexity <= 1
    worst = max((signal.level for signal in one.signals), default=None)
    if worst is not None and worst >= Level.high:
        assert decision.lane == "rule" and not decision.wanted, "nobody overrules it"
    if decision.lane == "llm":
        assert asks and shed == 0 and decision.cost > 0 and not decision.wanted
    if decision.wanted:
        assert decision.reason.endswith("llm: not asked, the flow is behind" if asks else "llm: not configured")
        assert Router(settings, fitted, True).decide(one, context).lane == "llm"


@given(readings, calibrations)
def test_what_is_settled_before_the_exchange_would_be_decided_benign_after_it(
    read: Reading, fitted: Calibration | None
) -> None:
    router = Router(calibration=fitted, asks=True)
    settled = router.settled(read.malicious, read.alerts_from, read.source, read.model)
    assert settled == (router.decide(candidate(read)).said == "benign")
    if read.malicious >= read.alerts_from:
        assert not settled, "it alerts, so its host is to hear of it"


@given(candidates, contexts, st.floats(0, 1e6))
def test_stakes_rise_with_what_the_host_is_worth_and_with_what_happens_on_it(
    one: Candidate, context: Context, more: float
) -> None:
    def at(**changes: float) -> float:
        values = {"criticality": context.criticality, "risk": context.risk, "anomaly": context.anomaly, **changes}
        return Router().decide(one, Context(noise=context.noise, seen=context.seen, **values)).stakes

    assert at(criticality=context.criticality + more) >= at()
    assert at(risk=context.risk + more) >= at()
    assert at(anomaly=1.0) >= at()


def test_between_benign_and_malicious_an_llm_is_asked_and_nowhere_else() -> None:
    router = Router(RouterSettings(audit_one_in=0), calibration(0.2, 0.9), asks=True)
    found = [router.decide(candidate(reading(p, model="m1"))) for p in (0.19, 0.2, 0.89, 0.9)]
    assert [(each.lane, each.said) for each in found] == [
        ("bert", "benign"),
        ("llm", "unsettled"),
        ("llm", "unsettled"),
        ("bert", "malicious"),
    ]
    assert "between 0.200 and 0.900, new on this host" in found[1].reason
    assert "uncalibrated" not in found[1].reason


def test_a_calibration_says_nothing_of_another_model_or_source() -> None:
    router = Router(calibration=calibration(0.2), asks=True)
    assert router.settled(0.15, 0.98, "shell", "m1") and not router.settled(0.5, 0.98, "shell", "m1")
    for source, model in (("shell", "m2"), ("http", "m1")):
        assert router.settled(0.5, 0.98, source, model) and not router.calibrated(source, model)
    assert "uncalibrated" in router.decide(candidate(reading(0.979, model="m2"))).reason
    assert Router().version == "uncalibrated" and router.version == router.calibration.version  # type: ignore[union-attr]


def test_of_several_texts_the_one_that_is_not_settled_decides_though_another_is_more_probable() -> None:
    router = Router(calibration=calibration(0.2))
    agent, url = router.gravity(0.3, 0.98, "shell", "m1"), router.gravity(0.8, 0.98, "http", "m1")
    assert router.settled(0.8, 0.98, "http", "m1") and not router.settled(0.3, 0.98, "shell", "m1")
    assert url < agent < router.gravity(0.98, 0.98, "http", "m1")


def test_a_rule_of_level_medium_is_asked_about_while_it_is_news_and_something_is_at_stake() -> None:
    router = Router(RouterSettings(ask_stakes=0.4), asks=True)
    one = candidate(None, Level.medium)
    risky = Context(risk=20.0)
    assert router.decide(one, risky).lane == "llm"
    assert router.decide(one).lane == "rule", "a calm host's is not worth the money"
    usual = router.decide(one, Context(risk=20.0, noise={"r0": 10.0}))
    assert usual.lane == "rule" and "no news" in usual.reason
    assert router.decide(candidate(reading(0.01), Level.medium), risky).lane == "llm", "text and rule disagree"
    assert router.decide(candidate(reading(0.01), Level.low), risky).lane == "bert"


def test_each_new_text_of_what_a_rule_tells_again_and_again_costs_no_call() -> None:
    router = Router(asks=True)
    again = Context(noise={"r0": 10.0})
    tunnel = candidate(reading(0.977), Level.medium)
    assert router.decide(tunnel).lane == "llm"
    decided = router.decide(tunnel, again)
    assert (decided.lane, decided.wanted, decided.said) == ("bert", False, "unsettled")
    assert "tells of it again" in decided.reason
    assert router.decide(candidate(reading(0.977), Level.low), again).lane == "llm", "a low rule alerts nobody"


def test_where_most_is_at_stake_an_llm_is_asked_though_the_text_judge_is_sure() -> None:
    settings = RouterSettings(criticality={"*": 0.5, "dc-*": 8.0, "dc-test": 0.1})
    router = Router(settings, asks=True)
    lanes = {
        host: router.decide(candidate(reading(0.99), of=event(host=host))).lane for host in ("ws-1", "dc-1", "dc-test")
    }
    assert lanes == {"ws-1": "bert", "dc-1": "llm", "dc-test": "bert"}
    assert router.criticality("dc-test") == 0.1 and router.criticality("ws-1") == 0.5
    assert Router().criticality("ws-1") is None


def test_a_flow_that_is_behind_reads_what_matters_most_and_then_nothing() -> None:
    router = Router(RouterSettings(criticality={"dc-*": 5.0}, audit_one_in=1), asks=True)
    plain, critical = event(), event(host="dc-1")
    assert router.reads(plain) and not router.reads(event(text=""))
    assert not router.reads(plain, shed=SHED_LLM) and router.reads(critical, shed=SHED_LLM)
    assert router.reads(plain, [rule(Level.medium)], SHED_LLM)
    assert not router.reads(critical, [rule(Level.medium)], SHED_ALL)
    assert router.reads(plain, [rule(Level.high)]), "it is audited"
    assert not router.reads(plain, [rule(Level.high)], SHED_LLM)
    assert not Router(RouterSettings(audit_one_in=0)).reads(plain, [rule(Level.high)])


def test_the_audit_sample_is_as_large_as_asked_and_another_by_another_seed() -> None:
    chosen = [
        {n for n in range(20_000) if router.audits(f"t-0-{n}")}
        for router in (Router(RouterSettings(audit_one_in=20, audit_seed=seed)) for seed in (0, 1))
    ]
    assert all(850 < len(found) < 1_150 for found in chosen) and len(chosen[0] & chosen[1]) < 120
    assert not any(Router(RouterSettings(audit_one_in=0)).audits(f"t-0-{n}") for n in range(1_000))
    every = Router(RouterSettings(audit_one_in=1), asks=True)
    assert every.decide(candidate(reading(0.01))).audit
    assert not every.decide(candidate(reading(0.979))).audit, "an LLM is asked in any case"


@pytest.mark.parametrize(
    "values",
    [
        {"grey_odds": 0.5},
        {"max_miss_rate": 0},
        {"criticality": {"*": 0}},
        {"return_seconds": 90},
        {"shed_seconds": 500},
        {"gray_odds": 2},
    ],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RouterSettings(**values)


def test_of_ordinary_traffic_far_less_than_one_text_in_a_hundred_crosses_the_exchange() -> None:
    judge = TextJudge(Encoder.load(BUILTIN_MODEL))
    asked = Bar(BertSettings().alert_from).asked(judge)
    traffic = Traffic(1, START, TrafficSettings(rate=100.0, hosts=50, attacks_per_hour=0))
    messages = [message.value for message in islice(traffic.messages(START + 3_600_000_000), 8_000)]
    events = Decoder("t-0", FormatSettings(), "auto", default_host="h").decode_batch(messages, range(8_000), START)
    texts = [(text.text, text.source) for one in events.events for text in texts_of(one)]
    router = Router()
    crossing = []
    for (text, source), verdict in zip(texts, judge.judge(texts), strict=True):
        assert isinstance(verdict, Verdict)
        score, label = max(zip(verdict.scores, judge.labels, strict=True))
        if not router.settled(score, asked[label], source, judge.version):
            crossing.append(text)
    assert len(texts) > 2_000 and len(crossing) < 0.001 * len(texts), set(crossing)
