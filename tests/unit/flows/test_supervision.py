"""What the supervisor decides, and what makes a recovery store fit."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterator

import pytest

from flows import beats
from flows.recovery import Identity, difference, grown
from flows.settings import SupervisorSettings
from flows.supervisor import Judge
from flows.workers import Standstill, Worker
from operators.kafka.topics import TopicIdentity
from operators.liveness import PATIENCE, Beat, Liveness


def judge(**settings: float) -> Judge:
    return Judge(SupervisorSettings.model_validate(settings), random.Random(5))


class TestJudge:
    def test_pauses_double_up_to_the_longest_and_vary_by_half(self) -> None:
        one = judge(backoff_seconds=1, backoff_max_seconds=4, max_failures=100)
        for expected in (1, 2, 4, 4, 4):
            pause = one.pause(lived=1, progressed=False)
            assert pause is not None
            assert 0.5 * expected <= pause <= 1.5 * expected

    def test_a_healthy_minute_begins_the_pauses_anew(self) -> None:
        one = judge(backoff_seconds=1, backoff_max_seconds=600, max_failures=100)
        for _ in range(6):
            one.pause(lived=1, progressed=True)
        pause = one.pause(lived=61, progressed=True)
        assert pause is not None
        assert pause <= 1.5

    def test_failures_without_progress_end_it_and_progress_begins_the_count_anew(self) -> None:
        one = judge(max_failures=3)
        assert [one.pause(1, p) is None for p in (False, False, True, False, False, False)] == [False] * 5 + [True]

    def test_progress_never_ends_it(self) -> None:
        one = judge(max_failures=1)
        assert all(one.pause(1, True) is not None for _ in range(1_000))


TOPICS = {"t": TopicIdentity("id-1", [0, 1])}
KNOWN = Identity("cluster", TOPICS, {"host": 1})


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (KNOWN, ""),
        (Identity("", {"t": TopicIdentity("", [0, 1])}, {"host": 1}), ""),
        (Identity("cluster", {"t": TopicIdentity("id-1", [0, 1, 2])}, {"host": 1}), ""),
        (Identity("cluster", {**TOPICS, "u": TopicIdentity("id-2", [0])}, {"host": 1}), ""),
        (Identity("other", TOPICS, {"host": 1}), "Kafka cluster cluster, and this is other"),
        (Identity("cluster", {"t": TopicIdentity("id-2", [0, 1])}, {"host": 1}), "made anew"),
        (Identity("cluster", {"t": TopicIdentity("id-1", [0])}, {"host": 1}), "lost partitions 1"),
        (Identity("cluster", {"u": TopicIdentity("id-1", [0, 1])}, {"host": 1}), "topic t too"),
        (Identity("cluster", TOPICS, {"host": 2}), "host 1, this Winnow reads 2"),
        (Identity("cluster", TOPICS, {"host": 1, "control": 1}), "control none, this Winnow reads 1"),
    ],
)
def test_state_is_gone_on_from_only_where_it_belongs(now: Identity, said: str) -> None:
    found = difference(KNOWN, now)
    assert said in found
    assert bool(said) == bool(found)


def test_only_partitions_of_known_topics_are_grown() -> None:
    now = Identity("cluster", {"t": TopicIdentity("id-1", [0, 1, 2]), "u": TopicIdentity("id-2", [0])}, {"host": 1})
    assert grown(KNOWN, now) == ["t-2"]


def test_a_worker_stands_still_as_long_as_its_slowest_partition() -> None:
    live = Liveness()
    assert live.beat(0.0).standstill() == 0.0
    for name, polled, moved in (("a", 100.0, 100.0), ("b", 98.0, 95.0)):
        part = live.partition(name)
        part.polled, part.moved = polled, moved
    assert live.beat(101.0).standstill() == 6.0
    live.wait("postgres")
    assert live.beat(101.0).waiting == ["postgres"]
    live.resume("postgres")
    assert live.beat(101.0).waiting == []


def test_health_of_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    live = Liveness()
    monkeypatch.setattr(beats, "liveness", live)
    settings = SupervisorSettings(stall_seconds=30)
    assert beats.report(settings)[0] is False
    assert beats.report(settings)[1]["status"] == "starting"
    live.begun = True
    part = live.partition("t-0")
    well, body = beats.report(settings)
    assert (well, body["status"]) == (True, "ok")
    assert body["last_poll_age_seconds"] < 30
    part.polled -= 31
    assert beats.report(settings)[0] is False
    assert beats.report(settings)[1]["status"] == "stalled"
    live.wait("postgres")
    well, body = beats.report(settings)
    assert (well, body["status"], body["waiting"]) == (True, "waiting", ["postgres"])
    # The sink of another worker holds this one back.
    live.resume("postgres")
    live.resumed, live.held = float("-inf"), time.monotonic()
    well, body = beats.report(settings)
    assert (well, body["status"], body["waiting"]) == (True, "waiting", [])
    live.held -= beats.HELD
    part.polled = live.held - 31
    assert beats.report(settings)[1]["status"] == "ok"
    live.held -= 31
    assert beats.report(settings)[1]["status"] == "stalled"


def test_a_write_without_an_answer_counts_as_waiting_and_none_is_blamed_for_what_it_held_back() -> None:
    live = Liveness()
    part = live.partition("t-0")
    live.write("postgres")
    began = live.writing["postgres"]
    assert live.beat(began + 0.9 * PATIENCE).waiting == []
    assert live.beat(began + 90).waiting == ["postgres"]
    assert live.waited("postgres", began + 90) == 90
    # The server thaws: until now no source could get on.
    part.polled = part.moved = began = live.writing["postgres"] = time.monotonic() - 90
    assert live.beat(time.monotonic()).standstill() >= 90
    live.written("postgres")
    beat = live.beat(time.monotonic())
    assert beat.waiting == []
    assert beat.standstill() < 60
    # A write that was answered at once excuses nobody.
    live.resumed = float("-inf")
    live.write("postgres")
    live.written("postgres")
    assert live.beat(time.monotonic()).standstill() >= 90


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that workers can stand for."""
    with subprocess.Popen(["sleep", "60"]) as found:
        yield found
        found.kill()


class TestStandstill:
    """Who is blamed, and when."""

    @pytest.fixture
    def workers(self, process: subprocess.Popen[bytes]) -> list[Worker]:
        return [Worker(index, process, -1, now=0.0) for index in range(2)]

    def say(self, workers: list[Worker], now: float, ages: tuple[float, float], waiting: list[str]) -> None:
        for worker, age in zip(workers, ages, strict=True):
            worker.heard, worker.beat = now, Beat(poll_age=age, move_age=age, begun=True, waiting=waiting)
            waiting = []

    def test_all_follow_a_sink_that_waited_before_any_is_blamed(self, workers: list[Worker]) -> None:
        standstill = Standstill(60)
        for now in range(1, 200):
            self.say(workers, now, (now, now), ["postgres"])
            assert standstill.blame(workers, now) is None
        # The sink went on; the other worker has not yet said that it does too.
        self.say(workers, 200, (0.1, 200), [])
        assert standstill.blame(workers, 200) is None
        self.say(workers, 258, (0.1, 258), [])
        assert standstill.blame(workers, 258) is None
        self.say(workers, 260, (0.1, 260), [])
        assert standstill.blame(workers, 260) is workers[1]

    def test_the_silent_one_is_blamed(self, workers: list[Worker]) -> None:
        self.say(workers, 100, (70, 59), [])
        workers[1].heard = 90
        assert Standstill(60).blame(workers, 100) is workers[1]

    def test_what_a_silent_worker_said_last_does_not_excuse_it_for_ever(self, workers: list[Worker]) -> None:
        standstill = Standstill(60)
        self.say(workers, 10, (5, 5), ["postgres"])
        assert standstill.blame(workers, 10) is None
        assert standstill.blame(workers, 69) is None
        assert standstill.blame(workers, 135) in workers
