"""Calibrations come into force between batches, hold at every worker, and one that is refused changes nothing."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from analyzers.anomaly.settings import AnomalySettings
from analyzers.bert.encoder import Encoder
from analyzers.bert.judge import TextJudge
from analyzers.bert.manifest import BUILTIN_MODEL
from analyzers.bert.meanings import Bar
from analyzers.metrics import MetricSet
from analyzers.router.calibration import ANY, Calibration, CalibrationError, Fitted, suits
from analyzers.router.candidate import Candidate
from analyzers.router.registry import CalibrationRegistry
from analyzers.router.router import UNCALIBRATED, Router
from operators.batch import Batch, Judged
from operators.bert import TextStep
from operators.calibrations import Calibrations
from operators.drift import Drifting
from operators.host import HostLogic
from operators.liveness import liveness
from operators.succession import Judges, Judging, Succession
from state.alerts import Level
from state.control import CONTROL_VERSION, Activation, new_id
from state.escalations import Escalated
from state.events import Event, Kind

T0 = 1_700_000_000_000_000
KIND = Kind("zeek.http", "web", "http-request")


def calibration(model: str, benign_below: float = 0.001, malicious_from: float | None = None) -> Calibration:
    fitted = Fitted(
        benign_below=benign_below, malicious_from=malicious_from, malicious=400, benign=400, missed=0, p_value=0.01,
        unsettled_benign=0.1, unsettled_malicious=0.1,
    )  # fmt: skip
    return Calibration(model=model, max_miss_rate=0.01, confidence=0.95, sources={ANY: fitted}).sealed()


def activation(version: str) -> Activation:
    return Activation(
        version=CONTROL_VERSION, id=new_id(), author="ann", reason="test", written_at=T0, from_time=T0,
        what="calibration", artifact=version,
    )  # fmt: skip


def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def registry(tmp_path: Path) -> CalibrationRegistry:
    liveness.calibrations_failed.clear()
    return CalibrationRegistry(tmp_path / "registry")


def held(registry: CalibrationRegistry, base: str = UNCALIBRATED, models: tuple[str, ...] = ("m1",)) -> Calibrations:
    def read(version: str) -> Router:
        return Router(None, None if version == UNCALIBRATED else suits(registry.get(version), None, 16), asks=True)

    return Calibrations(read, base, (), models.__contains__)


def test_it_holds_from_its_time_on_and_after_a_crash_for_the_same_offsets(
    registry: CalibrationRegistry, tmp_path: Path
) -> None:
    version = registry.put(calibration("m1")).version
    calibrations = held(registry)
    judges = Judges(calibration=Succession(calibrations, "t-0", tmp_path / "of"))
    assert judges.versions(0, T0) == Judging(calibration=UNCALIBRATED)
    judges.judged(100)
    calibrations.hear(activation(version))
    until(lambda: len(calibrations.ready) == 1)
    assert judges.versions(100, T0 - 1).calibration == UNCALIBRATED
    judges.judged(200)
    assert judges.versions(200, T0).calibration == version
    judges.judged(300)
    assert calibrations.of(version).version == version and liveness.calibrations == [version]
    back = activation(UNCALIBRATED)
    calibrations.hear(back)
    until(lambda: len(calibrations.ready) == 2)
    assert judges.versions(300, T0).calibration == UNCALIBRATED, "an operator can take it back"
    again = Judges(calibration=Succession(held(registry), "t-0", tmp_path / "of"))
    assert [again.versions(offset, T0).calibration for offset in (150, 250, 300)] == [
        UNCALIBRATED, version, UNCALIBRATED,
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", ["0" * 12, "../../etc/passwd", "changed", "of another model", "read otherwise"])
def test_one_that_does_not_check_leaves_the_one_before_in_force(
    registry: CalibrationRegistry, tmp_path: Path, wrong: str
) -> None:
    good = registry.put(calibration("m1")).version
    told = wrong
    if wrong == "changed":
        told = registry.put(calibration("m1", 0.5)).version
        path = registry.path(told)
        path.write_bytes(path.read_bytes().replace(b"0.5", b"0.9", 1))
    elif wrong == "of another model":
        told = registry.put(calibration("m2")).version
    elif wrong == "read otherwise":
        told = registry.put(msgspec.structs.replace(calibration("m1"), windows=4)).version
    calibrations = held(registry, good)
    judges = Judges(calibration=Succession(calibrations, "t-0", tmp_path / "of"))
    calibrations.hear(activation(told))
    until(lambda: told in liveness.calibrations_failed)
    assert "CalibrationError" in liveness.calibrations_failed[told]
    assert judges.versions(0, T0 + 1).calibration == good
    assert calibrations.of(good).version == good


def test_the_store_holds_what_was_put_and_leads_nowhere_else(registry: CalibrationRegistry) -> None:
    first, second = registry.put(calibration("m1")), registry.put(calibration("m1", 0.2))
    assert set(registry.versions()) == {first.version, second.version} and registry.get(first.version) == first
    assert first.version in registry and "../secret" not in registry
    with pytest.raises(CalibrationError, match="12 hexadecimal digits"):
        registry.get("../../etc/passwd")
    registry.path(first.version).write_bytes(second.encode())
    with pytest.raises(CalibrationError, match=second.version):
        registry.get(first.version)


def test_an_event_is_decided_by_what_was_in_force_at_its_offset_whatever_worker_its_host_is_at() -> None:
    judge = TextJudge(Encoder.load(BUILTIN_MODEL))
    text = "id=1' or '1'='1"
    # Under the one nothing is benign, under the other everything.
    wary, blind = calibration(judge.version, 0.0, 1.0), calibration(judge.version, 1.0, 1.0)
    routers = {each.version: Router(None, each, asks=True) for each in (wary, blind)}
    step = TextStep(lambda _: judge, Bar(1.0), Router(asks=True), drifting=Drifting(Router()), routers=routers.get)  # type: ignore[arg-type]
    metrics = MetricSet.load()
    for version, unsettled in ((wary.version, True), (blind.version, False)):
        event = Event("t-0", 7, T0, "web-1", KIND, b"{}", "zeek_json", text=text, text_kind="http")
        batch = Batch("t-0", 0, T0, T0, [event], consumed=1, calibration=version)
        judged = step.read(Judged(batch, {}, "v1"))
        assert judged.calibration == version and bool(judged.readings) == unsettled
        if not unsettled:
            continue
        reading = pickle.loads(pickle.dumps(judged.readings[0]))  # as it crosses to another worker
        assert reading.calibration == version and reading.band == (0.0, 1.0)
        host = HostLogic(metrics, AnomalySettings(), Router(asks=True), Level.low, None)
        out = list(host.on_batch([Candidate(event, (), T0, window=T0, reading=reading)])[0])
        (asked,) = [each for each in out if isinstance(each, Escalated)]
        assert asked.asked and asked.escalation.versions["calibration"] == version
        assert "uncalibrated" not in asked.escalation.reason


def test_of_another_model_nothing_is_settled_and_the_ledger_says_so() -> None:
    judge = TextJudge(Encoder.load(BUILTIN_MODEL))
    other = Router(None, calibration("0" * 12, 1.0), asks=True)
    step = TextStep(lambda _: judge, Bar(0.98), other)
    event = Event("t-0", 7, T0, "web-1", KIND, b"{}", "zeek_json", text="ls", text_kind="shell")
    assert step.read(Judged(Batch("t-0", 0, T0, T0, [event], consumed=1), {}, "v1")).calibration == UNCALIBRATED


def test_each_calibration_is_watched_by_itself() -> None:
    first, second = (Router(None, calibration("m1", low)) for low in (0.001, 0.002))
    drifting = Drifting(first)
    for number in range(25_000):
        drifting.text(first, f"a{number}", "shell", 0.0005, 0.98, "m1")
    for number in range(25_000):  # what came under the first is no measure of what comes under the second
        drifting.text(second, f"b{number}", "shell", 0.5 if number % 2 else 0.0005, 0.98, "m1")
    watch = drifting._watched[second.version].watch
    assert watch.drifts() == [] and not watch.learning
