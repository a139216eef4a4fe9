"""What of an answer is believed: a verdict without evidence is none, and what is benign lowers nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from analyzers.llm.answer import Fault, check, decode_judgement, read_answer
from analyzers.llm.techniques import known_techniques

EVENTS = {"e1-0": (0, frozenset({"CommandLine", "user"})), "e1-1": (1, frozenset({"rule", "level"}))}


def given(**changes: Any) -> str:
    told = {
        "verdict": "malicious",
        "severity": "high",
        "confidence": 0.8,
        "techniques": ["T1059.001", "T1086", "T9999"],
        "claims": [{"text": "It hides.", "event": "e1-0", "field": "CommandLine"}],
        "action": "Isolate it.",
    }
    return json.dumps(told | changes)


def test_a_sound_answer_is_believed_without_the_techniques_that_there_are_not() -> None:
    found = check(read_answer(given()), EVENTS)
    assert (found.verdict, found.severity, found.techniques, found.unknown) == ("malicious", "high", ("T1059.001",), 2)
    assert decode_judgement(found.encode()) == found


def test_techniques_are_those_of_attack() -> None:
    assert len(known_techniques()) > 650 and {"T1003.001", "T1595"} <= known_techniques()


def test_a_benign_answer_informs_only() -> None:
    found = check(read_answer(given(verdict="benign", severity="critical")), EVENTS)
    assert (found.severity, found.techniques) == ("informational", ())


@pytest.mark.parametrize("around", ["{}", "```json\n{}\n```", "Sure! Here it is: {} Anything else?", "{{broken {}"])
def test_an_answer_is_found_in_what_stands_around_it(around: str) -> None:
    assert read_answer(around.replace("{{", "{ ").replace("{}", given())).verdict == "malicious"


@pytest.mark.parametrize(
    ("text", "finish", "kind"),
    [
        (None, "stop", "empty"), ("  ", "stop", "empty"), ("I cannot say.", "stop", "malformed"),
        (given(), "length", "cut"), (given()[:90], "stop", "malformed"), ("{" * 40_000, "stop", "malformed"),
        ("[" * 60_000 + "{}", "stop", "schema"), ("x" * 70_000, "stop", "malformed"),
        (given(verdict="certainly"), "stop", "schema"), (given(severity="severe"), "stop", "schema"),
        (given(confidence=1.5), "stop", "schema"), (given(confidence="NaN"), "stop", "schema"),
        (given(claims=[]), "stop", "schema"), (given(claims="none"), "stop", "schema"),
        (given(claims=[{"text": "x"}]), "stop", "schema"), (given(action=None), "stop", "schema"),
        (given(action="x" * 601), "stop", "schema"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_a_fault_of_one_line(text: str | None, finish: str, kind: str) -> None:
    with pytest.raises(Fault) as caught:
        read_answer(text, finish)
    assert caught.value.kind == kind
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "claim",
    [
        {"text": "x", "event": "e1-2", "field": "CommandLine"},
        {"text": "x", "event": "e0-0", "field": "CommandLine"},
        {"text": "x", "event": "", "field": "CommandLine"},
        {"text": "x", "event": "e1-0", "field": "ParentImage"},
        {"text": "x", "event": "e1-1", "field": "CommandLine"},
        {"text": "x", "event": "e1-0", "field": "commandline"},
        {"text": " ", "event": "e1-0", "field": "CommandLine"},
    ],
)
def test_one_citation_that_does_not_resolve_fails_the_whole_answer(claim: dict[str, str]) -> None:
    sound = {"text": "It hides.", "event": "e1-0", "field": "CommandLine"}
    with pytest.raises(Fault) as caught:
        check(read_answer(given(claims=[sound, claim])), EVENTS)
    assert caught.value.kind == "citation" and str(caught.value).startswith("claim 2 ")


def test_nothing_unseen_gets_into_what_people_read() -> None:
    claim = {"text": "a\u202eb\x1b[31m\nc", "event": "e1-0", "field": "user"}
    found = check(read_answer(given(claims=[claim])), EVENTS)
    assert found.claims[0].text == "a\\u202eb\\u001b[31m c"
