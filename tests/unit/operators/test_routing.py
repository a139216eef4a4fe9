"""Lanes in the flow: what an LLM is asked, what its verdict adds, and that neither costs or loses anything twice."""

from __future__ import annotations

import msgspec
import pytest

from analyzers.anomaly.settings import AnomalySettings
from analyzers.bert.encoder import Encoder
from analyzers.bert.judge import TextJudge
from analyzers.bert.manifest import BUILTIN_MODEL
from analyzers.bert.meanings import Bar
from analyzers.host import HostEvents
from analyzers.incidents.sightings import Heard
from analyzers.metrics import MetricSet
from analyzers.router.candidate import Candidate, Reading
from analyzers.router.router import Router
from analyzers.router.settings import RouterSettings
from operators.batch import Batch, Judged
from operators.bert import TextStep
from operators.escalate import MAX_TOTAL
from operators.host import Decided, HostIn, HostLogic, HostOut
from state.alerts import Level, Signal
from state.audits import Audited
from state.escalations import MAX_BYTES, Escalated, LlmVerdict, decode_escalation, escalation_id
from state.events import Event, Kind

METRICS = MetricSet.load()
KIND = Kind("zeek.http", "web", "http-request")
NOW = 1_704_700_800_000_000
RAW = b'{"_path":"http","ts":1704700800.0,"uid":"C1","uri":"/a?q=1","host":"shop.example"}'


def event(offset: int = 7, raw: bytes = RAW, text: str = "/a?q=1") -> Event:
    return Event("t-0", offset, NOW + offset, "web-1", KIND, raw, "zeek_json", text=text, text_kind="http")


def unsettled(offset: int = 7, signals: tuple[Signal, ...] = (), raw: bytes = RAW) -> Candidate:
    reading = Reading("sqli", 0.97, 0.98, "http", "url.original", "/a?q=1", 6, 0, "m1")
    return Candidate(event(offset, raw), signals, NOW + offset, window=NOW, reading=reading)


def match(level: Level) -> Signal:
    return Signal("rule", "r1", "A rule", level, "web-1", NOW + 7, "why", event_id="t-0-7", versions=(("rules", "v1"),))


def verdict(says: str = "malicious", of: str = "t-0-7") -> LlmVerdict:
    return LlmVerdict(
        id=escalation_id(of), event_id=of, host="web-1", time=NOW + 7, status="answered", verdict=says,  # type: ignore[arg-type]
        severity="high", confidence=0.8, techniques=("T1190",), explanation="it injects\nSQL", answered_at=NOW,
    )  # fmt: skip


def logic(asks: bool, state: bytes | None = None) -> HostLogic:
    return HostLogic(METRICS, AnomalySettings(), Router(asks=asks), Level.low, state)


def run(step: HostLogic, *values: HostIn) -> list[HostOut]:
    return list(step.on_batch(list(values))[0])


def escalated(out: list[HostOut]) -> list[Escalated]:
    return [each for each in out if isinstance(each, Escalated)]


def signals(out: list[HostOut]) -> list[Signal]:
    return [each for each in out if isinstance(each, Signal)]


def lanes(out: list[HostOut]) -> list[str]:
    return [each.lane for each in out if isinstance(each, Decided)]


def test_what_the_text_judge_cannot_settle_is_asked_with_all_that_is_known() -> None:
    out = run(logic(asks=True), unsettled(signals=(match(Level.medium),)))
    assert lanes(out) == ["llm"]
    (found,) = escalated(out)
    said = found.escalation
    assert found.asked and decode_escalation(said.encode()) == said
    assert (said.event_id, said.host, said.source, said.label) == ("t-0-7", "web-1", "zeek.http", "sqli")
    assert said.fields["uri"] == "/a?q=1" and said.versions == {"rules": "v1", "model": "m1"}
    assert [(raised.rule, raised.level) for raised in said.raised] == [("r1", "medium")]
    assert said.context.seen == 0 and 0 < said.stakes <= 1 and said.reason.isprintable()


def test_without_an_llm_the_text_judge_decides_and_it_is_marked() -> None:
    text = msgspec.structs.replace(match(Level.medium), kind="text", rule="sqli")
    out = run(logic(asks=False), unsettled(signals=(text,)))
    assert lanes(out) == ["bert"]
    (found,) = escalated(out)
    assert not found.asked and found.escalation.reason.endswith("llm: not configured")
    assert [signal.reason for signal in signals(out)] == ["why (llm: not configured)"]


def test_a_repeat_of_a_text_is_told_as_one() -> None:
    step = logic(asks=True)
    out = run(step, unsettled(7), unsettled(8))
    assert [round(each.escalation.context.seen, 3) for each in escalated(out)] == [0, 1]
    out = run(logic(asks=True, state=step.snapshot()), unsettled(9))
    assert [round(each.escalation.context.seen, 3) for each in escalated(out)] == [2]


@pytest.mark.parametrize("restart", [False, True])
def test_a_verdict_adds_an_alert_and_a_sighting_once(restart: bool) -> None:
    step = logic(asks=True)
    run(step, unsettled())
    step = logic(True, step.snapshot()) if restart else step
    (signal,) = signals(run(step, verdict()))
    assert (signal.kind, signal.rule, signal.level, signal.time) == ("llm", "malicious", Level.high, NOW + 7)
    assert (signal.raw, signal.event_id, signal.techniques) == (RAW, "t-0-7", ("T1190",))
    assert signal.reason == "confidence 0.80: it injects SQL"
    step = logic(True, step.snapshot()) if restart else step
    assert run(step, verdict()) == [], "triage publishes it again after a crash"
    out = run(step, HostEvents("web-1", NOW + 60_000_000, None))
    heard = [sighting for each in out if isinstance(each, Heard) for sighting in each.sightings]
    # Its place is the minute that closes next: what was told of earlier minutes stays as it was.
    assert [(each.kind, each.minute, each.time) for each in heard] == [("llm", NOW + 60_000_000, NOW + 7)]


def test_a_benign_verdict_and_a_refusal_raise_nothing_and_lower_nothing() -> None:
    step = logic(asks=True)
    run(step, unsettled(), unsettled(8))
    assert run(step, verdict("benign")) == []
    refused = msgspec.structs.replace(verdict(of="t-0-8"), status="refused", verdict="", reason="no valid answer")
    assert run(step, refused) == []


def test_a_verdict_on_a_host_that_is_forgotten_still_alerts() -> None:
    assert [signal.kind for signal in signals(run(logic(asks=True), verdict()))] == ["llm"]


def test_hostile_fields_fit_a_message() -> None:
    hostile = msgspec.json.encode({"_path": "http", **{f"{n:04}" * 99: '\x01\u202e"\\' * 9_000 for n in range(300)}})
    many = tuple(
        msgspec.structs.replace(match(Level.medium), reason="\x01" * 100_000, name="n" * 9_999) for _ in range(99)
    )
    (found,) = escalated(run(logic(asks=True), unsettled(signals=many, raw=hostile)))
    raw = found.escalation.encode()
    assert len(raw) <= MAX_BYTES and decode_escalation(raw) == found.escalation
    assert sum(map(len, found.escalation.fields.values())) <= MAX_TOTAL


def test_what_cannot_be_read_again_is_asked_as_it_came() -> None:
    (found,) = escalated(run(logic(asks=True), unsettled(raw=b'{"_path":')))
    assert found.escalation.fields == {"event.original": '{"_path":'}


def test_a_flow_that_is_behind_reads_fewer_texts_then_none_and_returns() -> None:
    judge = TextJudge(Encoder.load(BUILTIN_MODEL))
    settings = RouterSettings(shed_seconds=60, shed_all_seconds=300, return_seconds=10, calm_seconds=0)
    step = TextStep(lambda _: judge, Bar(0.98), Router(settings))

    def read(behind: float, level: Level | None, growing: bool = True) -> tuple[int, int]:
        batch = Batch("t-0", 0, NOW, NOW, [event()], consumed=1, behind=behind, growing=growing)
        judged = step.read(Judged(batch, {} if level is None else {0: [match(level)]}, "v1"))
        return judged.shed, len(judged.texts)

    assert read(5, None) == (0, 1)
    assert read(3_600, None, growing=False) == (0, 1), "a backlog that is read off, as after a start, is no overload"
    assert read(61, None) == (1, 0)
    assert read(61, Level.medium) == (1, 1), "what a rule found is of the highest stakes"
    assert read(301, Level.medium) == (2, 0)
    assert [read(0, None)[0] for _ in range(3)] == [1, 0, 0]


def test_one_in_so_many_is_kept_for_analysts_whatever_was_decided_and_without_an_llm() -> None:
    judge = TextJudge(Encoder.load(BUILTIN_MODEL))
    router = Router(RouterSettings(audit_one_in=2))
    step = TextStep(lambda _: judge, Bar(0.98), router)
    events = [event(offset, text=f"/index.html?page={offset}") for offset in range(40)]
    judged = step.read(Judged(Batch("t-0", 0, NOW, NOW, events, consumed=40), {3: [match(Level.high)]}, "v1"))
    candidates = [
        Candidate(events[index], tuple(judged.signals.get(index, ())), NOW + index, reading=reading)
        for index, reading in judged.readings.items()
    ]
    host = HostLogic(METRICS, AnomalySettings(), router, Level.low, None, windows=16, screen=True)
    kept = [each for each in run(host, *candidates) if isinstance(each, Audited)]
    assert {each.event_id for each in kept} == {each.id for each in events[4:] + events[:3] if router.audits(each.id)}
    assert 10 < len(kept) < 30, "rules settled number 3, so it says nothing of the text model"
    (one,) = [each for each in kept if each.event_id == kept[0].event_id]
    assert (one.said, one.source, one.model, one.one_in, one.windows, one.screen) == (
        "benign", "http", judge.version, 2, 16, True,
    )  # fmt: skip
