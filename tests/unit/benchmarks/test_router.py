"""``winnow bench router``: its arithmetic, and that what it says of splits and drift is so."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from analyzers.bert.encoder import Encoder
from analyzers.bert.judge import TextJudge
from analyzers.bert.manifest import BUILTIN_MODEL
from analyzers.router.learn_then_test import Labelled, calibrate
from benchmarks import router_breaks
from benchmarks.router import draw, goal
from benchmarks.router_breaks import breaks, missed, noticed, splits
from benchmarks.router_policies import Oracle, columns, policies
from benchmarks.router_texts import Sample, family_of
from benchmarks.router_times import Timed, tried

NEVER_WRONG = Oracle(0.0, 0.0)


def texts(count: int, truth: bool, seed: int, exponent: float = 0.1, source: str = "shell") -> list[Labelled]:
    chances = random.Random(seed)
    return [Labelled(source, truth, round(chances.random() ** exponent, 6), 0.98) for _ in range(count)]


def test_a_policy_costs_and_misses_what_its_texts_say() -> None:
    some = [
        Labelled("shell", True, 0.99, 0.98),
        Labelled("shell", True, 0.6, 0.98),
        Labelled("shell", True, 0.2, 0.98),
        Labelled("shell", False, 0.4, 0.98),
        Labelled("shell", False, 0.0, 0.98),
    ]
    found = policies(columns(some), {}, Oracle(0.3, 0.1))
    everything, fixed, alone = found["LLM for everything"], found["fixed .1 to .9"], found["BERT only, from .5"]
    assert everything.missed == pytest.approx(0.3) and everything.accused == pytest.approx(0.1)
    assert everything.calls(0.5) == 1 and alone.calls(0.5) == 0
    assert (alone.missed, alone.accused) == pytest.approx((1 / 3, 0))
    # Two of three malicious and one of two benign texts are asked about.
    assert (fixed.asked_malicious, fixed.asked_benign) == pytest.approx((2 / 3, 1 / 2))
    assert (fixed.missed, fixed.accused) == pytest.approx((0.3 * 2 / 3, 0.1 / 2))
    assert fixed.calls(0.001) == pytest.approx(0.001 * 2 / 3 + 0.999 / 2) and fixed.settled_malicious == 0


def test_on_random_splits_the_claim_holds_about_as_often_as_stated() -> None:
    samples = [Sample("commands", "", text) for text in texts(1_500, True, 1) + texts(500, False, 2, 9)]
    found = splits(samples, "m", 0.05, 0.9, 0.5, 40)
    assert found["exceeded"]["all"] <= 9, "a tenth of 40, and what chance adds"
    assert 0 < found["mean"]["all"] < 0.05 and found["calibrated_on"] == {"shell": 750}


def test_what_was_not_labelled_is_missed_and_the_watch_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_breaks, "REFERENCE", 2_000)
    monkeypatch.setattr(router_breaks, "BLOCK", 1_000)
    known, benign = texts(600, True, 1), texts(600, False, 2, 9)
    hidden = texts(600, True, 3, 1.0)
    calibration = calibrate(known + benign, "m", 0.02, 0.95)
    from analyzers.router.router import Router

    assert missed(Router(calibration=calibration), hidden)["shell"] > 0.2
    assert noticed(calibration, known + benign, known + benign, 0.3, NEVER_WRONG) == []
    assert "certainty" in noticed(calibration, known + benign, hidden + benign, 0.3, NEVER_WRONG)
    samples = [Sample("commands", "known", text) for text in known]
    samples += [Sample("commands", "hidden", text) for text in hidden]
    samples += [Sample("commands", "benign", text) for text in benign]
    rows = {row["case"]: row for row in breaks(samples, "m", 0.02, 0.95, NEVER_WRONG, (0.3,))}
    assert rows["commands without hidden, then hidden"]["missed"] > 0.2
    assert rows["commands, then others of the same"]["missed"] <= 0.04


def test_the_goal_asks_for_both_errors(tmp_path: Path) -> None:
    def row(policy: str, missed: float, accused: float, calls: float) -> dict[str, object]:
        error = (missed + accused) / 2
        return {
            "policy": policy,
            "missed": missed,
            "accused": accused,
            "error": error,
            "calls": calls,
            "calls_rare": calls,
        }

    rows = [
        row("LLM for everything", 0.02, 0.01, 1.0),
        row("calibrated, a", 0.03, 0.0, 0.001),
        row("calibrated, b", 0.02, 0.01, 0.03),
        row("fixed", 0.0, 0.0, 0.0),
    ]
    assert goal(rows)["calls"] == {"policy": "calibrated, b", "share_of_cost": 0.03, "met": False}
    assert goal(rows[:2]) == {}
    pytest.importorskip("matplotlib")
    draw(rows, tmp_path / "cost.png")
    assert (tmp_path / "cost.png").read_bytes().startswith(b"\x89PNG")


def test_commands_are_of_the_family_of_their_tool() -> None:
    assert family_of("python3 -c 'import socket'") == "python" and family_of("sh -i") == "other"
    assert family_of("rsync a b") == "other", "no nc in it"


def test_a_text_counts_once_where_it_first_came_and_what_came_later_calibrates_nothing() -> None:
    judge = TextJudge(Encoder.load(BUILTIN_MODEL))
    bad = [Timed(number, f"id=1' union select {number} from users", "http", True) for number in range(60)]
    good = [Timed(number, f"/page/{number}", "http", False) for number in range(60)]
    again = [each._replace(time=59) for each in bad[:30]]
    found = tried("s", [*again, *bad, *good], judge, 0.2, 0.9)
    assert (found["before"], found["after"]) == ({"http": "29 of 58"}, {"http": "31 of 62"}), "from the middle, 29, on"
    assert found["missed"] == {"http": 0.0} and found["noticed"] == []
    late = tried("s", [*good, *(each._replace(time=40) for each in bad)], judge, 0.2, 0.9)
    assert late["before"] == {"http": "0 of 29"} and "0 malicious texts" in late["refused"]
