"""The engine and the reference agree about random rules and events, through real decoding.

The long form: ``python -m pytest tests/unit/analyzers/rules/test_differential.py --sigma-cases 100000 --sigma-seed 7``.
A case is one rule asked about one event, beside others. A failure prints a rule and an event that show the difference.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from analyzers.rules import RuleSet, screen, shortcut
from operators.formats import UNDECODED, Decoder, FormatSettings, fields
from tests.unit.analyzers.rules import sigma_cases, sigma_reference, sigma_values
from tests.unit.analyzers.rules.sigma_items import PLACEHOLDERS

#: At most so many rules and events an example, and what that comes to.
RULES, EVENTS = 6, 16
CASES_AN_EXAMPLE = 30
#: Modifiers that are counted as one: other names of the same, and what differs in a detail.
ALIKE = {
    **dict.fromkeys(sigma_values.PARTS, "time part"),
    **dict.fromkeys(sigma_values.COMPARISONS, "comparison"),
    **dict.fromkeys(sigma_values.ENCODINGS, "utf16"),
    **{name: f"regex {flag}" for name, flag in sigma_values.FLAGS.items()},
}
#: What pySigma says of one field asked twice in a map of a list, by two spellings of its modifiers.
UNMERGED = "Can't merge value lists"
#: Event ids of Windows events.
CODES = (1, 4624, 4688, 7)
#: Log sources whose every event each rule is asked about, and how a line of theirs begins.
SOURCES: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "windows_nxlog": (
        {"product": "windows"},
        {"Channel": "Security", "Hostname": "pc1", "@timestamp": "2020-10-18T10:56:18Z"},
    ),
    "windows_winlogbeat6": (
        {"product": "windows"},
        {"log_name": "Security", "computer_name": "pc1", "@timestamp": "2020-10-18T10:56:18Z", "source_name": "Some"},
    ),
    "zeek_json": ({"product": "zeek", "service": "weird"}, {"_path": "weird", "ts": 1603018578.5}),
}


def engine_pairs(
    detections: Sequence[dict[str, Any]], lines: Sequence[bytes], format: str, logsource: dict[str, str]
) -> set[tuple[int, int]]:
    """Return which events (by place) meet which rules (by place), as the engine says."""
    documents = [
        {"title": str(place), "logsource": logsource, "detection": each} for place, each in enumerate(detections)
    ]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "rules.yml").write_text(
            yaml.safe_dump_all(documents, allow_unicode=True, sort_keys=False), encoding="utf-8"
        )
        rules = RuleSet.load(folder, placeholders=PLACEHOLDERS)
    if any(problem.reason.startswith(UNMERGED) for problem in rules.problems):
        raise Unreadable
    assert not rules.problems, [str(problem) for problem in rules.problems]
    decoded = Decoder("test-0", FormatSettings(), format, "host").decode_batch(lines, range(len(lines)), 0)
    assert not decoded.rejected, decoded.rejected
    first, again = (
        {(match.index, int(match.rule.title)) for match in batch}
        for batch in (
            rules.match_batch(decoded.events, fields, UNDECODED),
            rules.match_batch(decoded.events[::-1], fields, UNDECODED),
        )
    )
    assert not rules.failures
    last = len(lines) - 1
    assert {(last - index, place) for index, place in again} == first, "what was met before changed the answer"
    return first


def framed(format: str, event: dict[str, Any]) -> dict[str, Any]:
    """Return an event's fields as a message of the format has them."""
    header = SOURCES[format][1]
    if format != "windows_winlogbeat6":
        return {**event, **header}
    event = {name: value for name, value in event.items() if name != "EventID"} | {"EventID": 0}
    above = {name: value for name, value in event.items() if len(name) % 4 == 0}  # fields also stand beside event_data
    below = {name: value for name, value in event.items() if len(name) % 4}
    return {**above, "event_data": below, **header, "event_id": CODES[len(event) % len(CODES)]}


def as_decoded(raw: bytes, format: str) -> dict[str, Any]:
    """Return a line's fields, with the names that the format adds for Sigma."""
    whole: dict[str, Any] = json.loads(raw)
    if format == "zeek_json":
        return flat(whole, "")
    if format == "windows_winlogbeat6":
        below = whole.pop("event_data")
        return {
            **flat(whole, ""),
            **below,
            "EventID": whole["event_id"],
            "Channel": whole["log_name"],
            "Computer": whole["computer_name"],
            "Hostname": whole["computer_name"],
            "Provider_Name": whole["source_name"],
            "Message": whole.get("message"),
            "Level": whole.get("level"),
        }
    return {"Computer": whole["Hostname"], "Provider_Name": whole.get("SourceName"), **whole}


def flat(value: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return nested objects as dotted names, as Sigma writes them; an empty object stays."""
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= flat(inner, f"{prefix}{key}.") if isinstance(inner, dict) and inner else {prefix + key: inner}
    return found


class Unreadable(Exception):
    """A random rule is one that pySigma cannot read."""


class Difference(AssertionError):
    """The engine and the reference say differently whether an event meets a rule."""


def check(rng: random.Random, tally: Counter[tuple[str, bool]]) -> None:
    """Compare what the two say about one set of rules and one batch of events."""
    format = rng.choice(list(SOURCES))
    logsource, _ = SOURCES[format]
    cases = [sigma_cases.case(rng) for _ in range(rng.randint(1, RULES))]
    events = [sigma_cases.event(rng, cases) for _ in range(rng.randint(1, EVENTS))]
    if format == "windows_nxlog":
        events = [{**each, "EventID": rng.choice(CODES)} for each in events]
    lines = [sigma_cases.line(rng, framed(format, each)) for each in events]
    try:
        found = engine_pairs([each.detection for each in cases], lines, format, logsource)
    except Unreadable:
        return
    for index, raw in enumerate(lines):
        decoded = as_decoded(raw, format)
        for place, each in enumerate(cases):
            expected = sigma_reference.rule_met(each.detection, decoded, PLACEHOLDERS)
            tally.update((name, expected) for name in {"cases"} | {ALIKE.get(name, name) for name in each.modifiers})
            if expected is not ((index, place) in found):
                detection, event = smallest(each.detection, events[index], format)
                raise Difference(
                    f"in {format}, with or without the other rules\nrule {each.detection!r}\nevent {raw!r}\n"
                    f"smaller: rule {detection!r}\nevent {event!r}\nthe reference says {expected}"
                )


def smallest(detection: dict[str, Any], event: dict[str, Any], format: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a rule and an event without the parts that a difference does not need."""
    logsource, _ = SOURCES[format]

    def differ(detection: dict[str, Any], event: dict[str, Any]) -> bool:
        raw = json.dumps(framed(format, event)).encode()
        expected = sigma_reference.rule_met(detection, as_decoded(raw, format), PLACEHOLDERS)
        try:
            return expected is not bool(engine_pairs([detection], [raw], format, logsource))
        except Unreadable:
            return False

    for name in [name for name in event if name != "EventID"]:
        fewer = {key: value for key, value in event.items() if key != name}
        event = fewer if differ(detection, fewer) else event
    for name, search in detection.items():
        for key in list(search) if isinstance(search, dict) else ():
            fewer = {**detection, name: {k: v for k, v in detection[name].items() if k != key}}
            detection = fewer if fewer[name] and differ(fewer, event) else detection
    return detection, event


def compare(cases: int, number: int, tally: Counter[tuple[str, bool]]) -> None:
    """Compare until about so many cases have been seen."""

    @seed(number)
    @settings(
        max_examples=cases // CASES_AN_EXAMPLE + 1,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    # A true Random: choices drawn by Hypothesis itself are so often the simplest that few rules are ever met.
    @given(st.randoms(note_method_calls=False, use_true_random=True))
    def agree(rng: random.Random) -> None:
        check(rng, tally)

    agree()


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have kinds of event screened after two events, and what the screen learned doubted at once."""
    for name, value in {"RARE": 0, "SAMPLE": 2, "DOUBT": 2, "MAX_DOUBT": 4, "COMMON": 0.5, "FOUND_BESIDE": 0.5}.items():
        monkeypatch.setattr(screen, name, value)
    monkeypatch.setattr(shortcut, "MISSES", 3)
    monkeypatch.setattr(shortcut, "REST", 2)


def test_engine_and_reference_agree_once_messages_are_screened(pytestconfig: pytest.Config, eager: None) -> None:
    compare(pytestconfig.getoption("--sigma-cases"), pytestconfig.getoption("--sigma-seed") + 1, Counter())


def test_engine_and_reference_agree(pytestconfig: pytest.Config) -> None:
    tally: Counter[tuple[str, bool]] = Counter()
    compare(pytestconfig.getoption("--sigma-cases"), pytestconfig.getoption("--sigma-seed"), tally)
    names = sorted({name for name, _ in tally})
    print("\n".join(f"{name}: {tally[name, True]} met, {tally[name, False]} not" for name in names))
    # What is never met, or always, compares nothing.
    assert set(names) >= {"keyword", "plain", *(ALIKE.get(name, name) for name in sigma_values.MODIFIERS)}
    assert all(tally[name, answer] for name in names for answer in (True, False)), tally
