"""Conditions combine detections as written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Matches = Callable[..., bool]

DETECTIONS: dict[str, Any] = {"sel_a": {"A": 1}, "sel_b": {"B": 1}, "filter_c": {"C": 1}}


@pytest.mark.parametrize(
    ("condition", "met", "not_met"),
    [
        ("sel_a and sel_b", {"A": 1, "B": 1}, {"A": 1}),
        ("sel_a or sel_b", {"B": 1}, {"C": 1}),
        ("1 of sel_*", {"B": 1}, {"C": 1}),
        ("any of sel_*", {"A": 1}, {"C": 1}),
        ("all of sel_*", {"A": 1, "B": 1}, {"A": 1, "C": 1}),
        ("1 of them", {"C": 1}, {"D": 1}),
        ("all of them", {"A": 1, "B": 1, "C": 1}, {"A": 1, "B": 1}),
        ("sel_a and not filter_c", {"A": 1, "C": 2}, {"A": 1, "C": 1}),
        ("sel_a and not filter_c", {"A": 1}, {}),
        ("not sel_a", {}, {"A": 1}),
        ("not (sel_a or sel_b)", {"C": 1}, {"B": 1}),
        ("sel_a and (sel_b or not filter_c)", {"A": 1, "B": 1, "C": 1}, {"A": 1, "C": 1}),
        ("not not sel_a", {"A": 1}, {"B": 1}),
        ("sel_a and not 1 of filter_*", {"A": 1}, {"A": 1, "C": 1}),
        (["sel_a and sel_b", "filter_c"], {"C": 1}, {"A": 1}),
    ],
)
def test_condition(matches: Matches, condition: Any, met: dict[str, Any], not_met: dict[str, Any]) -> None:
    assert matches({**DETECTIONS, "condition": condition}, met)
    assert not matches({**DETECTIONS, "condition": condition}, not_met)


def test_fields_of_a_mapping_are_all_needed_and_mappings_of_a_list_are_alternatives(matches: Matches) -> None:
    both = {"sel": {"A": 1, "B": 2}, "condition": "sel"}
    assert matches(both, {"A": 1, "B": 2})
    assert not matches(both, {"A": 1})
    either = {"sel": [{"A": 1}, {"B": 2, "C": 3}], "condition": "sel"}
    assert matches(either, {"B": 2, "C": 3})
    assert not matches(either, {"B": 2})


def test_keywords_are_sought_in_every_value_but_not_in_names(matches: Matches) -> None:
    keywords = {"kw": ["mimikatz", "sekurlsa::*pass"], "condition": "kw"}
    assert matches(keywords, {"x": {"y": ["a", "run MIMIKATZ now"]}})
    assert matches(keywords, {"x": "sekurlsa::logonpasswords"})
    assert not matches(keywords, {"mimikatz": "other"})
    assert not matches({"kw": {"|all": ["alpha", "beta"]}, "condition": "kw"}, {"x": "alpha"})
    assert matches({"kw": {"|all": ["alpha", "beta"]}, "condition": "kw"}, {"x": "alpha", "y": "beta"})
    assert matches({"kw": {"|re": "^al.ha$"}, "condition": "kw"}, {"x": "alpha"})
    assert matches({"kw": [4625], "condition": "kw"}, {"x": 4625})
