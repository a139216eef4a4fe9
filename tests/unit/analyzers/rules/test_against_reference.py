"""Random rules over random events: the engine says what a slow and obvious matcher says."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzers.rules import RuleSet
from state.events import Event, Kind

# ------------------------------------------------------------------------------------------- the slow, obvious matcher


def tokens(value: str) -> list[str]:
    """Split a Sigma value into letters, and ``many`` and ``one`` for its wildcards."""
    found, i = [], 0
    while i < len(value):
        if value[i] == "\\" and value[i + 1 : i + 2] in ("*", "?", "\\") and i + 1 < len(value):
            found.append(value[i + 1])
            i += 2
            continue
        found.append({"*": "many", "?": "one"}.get(value[i], value[i]))
        i += 1
    return found


def like(pattern: list[str], text: str) -> bool:
    """Match letter by letter, trying every way."""
    reach = {0}
    for token in pattern:
        if token == "many":
            reach = {j for i in reach for j in range(i, len(text) + 1)}
        elif token == "one":
            reach = {i + 1 for i in reach if i < len(text)}
        else:
            reach = {i + len(token) for i in reach if text.startswith(token, i)}
    return len(text) in reach


def written(value: Any) -> list[str]:
    if isinstance(value, list):
        return [text for each in value for text in written(each)]
    if value is None:
        return []
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, float) and value == int(value):
        return [str(int(value))]
    return [str(value)]


def value_met(modifiers: list[str], wanted: Any, field: Any) -> bool:
    if wanted is None:
        return field is None
    if not isinstance(wanted, str):
        return written(wanted)[0] in [text.casefold() for text in written(field)]
    pattern = tokens(wanted)
    if "contains" in modifiers or "endswith" in modifiers:
        pattern = ["many", *pattern]
    if "contains" in modifiers or "startswith" in modifiers:
        pattern = [*pattern, "many"]
    cased = "cased" in modifiers
    letters = [t if t in ("many", "one") or cased else t.casefold() for t in pattern]
    return any(like(letters, text if cased else text.casefold()) for text in written(field))


def detection_met(detection: Any, event: Mapping[str, Any]) -> bool:
    if isinstance(detection, list):
        return any(detection_met(each, event) for each in detection)
    for key, wanted in detection.items():
        name, *modifiers = key.split("|")
        values = wanted if isinstance(wanted, list) else [wanted]
        results = [value_met(modifiers, value, event.get(name)) for value in values]
        if not (all(results) if "all" in modifiers else any(results)):
            return False
    return True


def condition_met(condition: Any, detections: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    op, *parts = condition
    if op == "name":
        return detection_met(detections[parts[0]], event)
    if op == "one":
        return any(detection_met(each, event) for each in detections.values())
    if op == "every":
        return all(detection_met(each, event) for each in detections.values())
    results = [condition_met(part, detections, event) for part in parts]
    return {"and": all(results), "or": any(results), "not": not results[0]}[op]


def spelled(condition: Any) -> str:
    op, *parts = condition
    if op == "name":
        return str(parts[0])
    if op in ("one", "every"):
        return "1 of them" if op == "one" else "all of them"
    if op == "not":
        return f"not ({spelled(parts[0])})"
    return "(" + f" {op} ".join(spelled(part) for part in parts) + ")"


# --------------------------------------------------------------------------------------------------- rules and events

NAMES = ["A", "B", "Cc"]
LETTERS = ["a", "A", "b", "B", "ß", "İ", "σ", "ς", "Σ", "é", ".", "\n", "-", "0", "1"]
texts = st.lists(st.sampled_from([*LETTERS, "\\", "*", "?"]), max_size=6).map("".join)
patterns = st.lists(st.sampled_from([*LETTERS, "\\", "*", "?", "\\*", "\\?", "\\\\"]), max_size=5).map("".join)
scalars = st.one_of(st.integers(-1, 11), st.booleans())
event_values = st.one_of(
    texts, scalars, st.none(), st.floats(0, 2).map(lambda x: round(x, 1)), st.lists(texts, max_size=3)
)
events = st.dictionaries(st.sampled_from(NAMES), event_values, max_size=3)
modifiers = st.sampled_from(
    ["", "|contains", "|startswith", "|endswith", "|cased", "|contains|cased", "|contains|all", "|all"]
)
items = st.one_of(
    st.tuples(
        st.tuples(st.sampled_from(NAMES), modifiers).map("".join),
        st.one_of(patterns, st.lists(patterns, min_size=1, max_size=3)),
    ),
    st.tuples(
        st.sampled_from(NAMES),
        st.one_of(scalars, st.none(), st.lists(st.one_of(patterns, scalars), min_size=1, max_size=3)),
    ),
)
mappings = st.lists(items, min_size=1, max_size=3).map(dict)
selections = st.one_of(mappings, st.lists(mappings, min_size=1, max_size=3))
conditions = st.recursive(
    st.one_of(
        st.sampled_from([("name", "s0"), ("name", "s1"), ("name", "s2")]), st.just(("one",)), st.just(("every",))
    ),
    lambda inner: st.one_of(
        inner.map(lambda part: ("not", part)),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: ("and", *parts)),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: ("or", *parts)),
    ),
    max_leaves=5,
)
KIND = Kind("windows.test", "host", "test", channel="Test")


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.lists(selections, min_size=3, max_size=3), conditions), min_size=1, max_size=4),
    st.lists(events, min_size=1, max_size=6),
)
def test_engine_and_reference_agree(drawn: list[tuple[list[Any], Any]], fields: list[dict[str, Any]]) -> None:
    rules = [({f"s{i}": selection for i, selection in enumerate(three)}, condition) for three, condition in drawn]
    documents = [
        {
            "title": str(place),
            "logsource": {"product": "windows"},
            "detection": {**detections, "condition": spelled(condition)},
        }
        for place, (detections, condition) in enumerate(rules)
    ]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "rules.yml").write_text(yaml.safe_dump_all(documents, allow_unicode=True), encoding="utf-8")
        compiled = RuleSet.load(folder)
    assert not compiled.problems
    batch = [Event("t-0", offset, 0, "h", KIND, b"", "test") for offset in range(len(fields))]
    found = {(match.index, int(match.rule.title)) for match in compiled.match_batch(batch, lambda e: fields[e.offset])}
    expected = {
        (index, place)
        for index, event in enumerate(fields)
        for place, (detections, condition) in enumerate(rules)
        if condition_met(condition, detections, event)
    }
    assert found == expected
