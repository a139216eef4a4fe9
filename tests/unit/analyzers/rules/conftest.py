from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from analyzers.rules import RuleSet
from state.events import Event, Kind

SYSMON = "Microsoft-Windows-Sysmon/Operational"
#: A kind that rules of ``product: windows`` without category or service concern.
ANY = Kind("windows.test", "host", "test", channel="Test")


def event(kind: Kind = ANY, offset: int = 0) -> Event:
    return Event("test-0", offset, 0, "host-1", kind, b"{}", "test")


def rule(detection: Mapping[str, Any], logsource: Mapping[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "title": "A rule of the tests",
        "status": "test",
        "level": "high",
        "logsource": logsource or {"product": "windows"},
        "detection": dict(detection),
        **more,
    }


@pytest.fixture
def rule_set(tmp_path: Path) -> Callable[..., RuleSet]:
    """Write rules (dicts, or YAML texts as they are) to files and load them."""

    def load(*rules: dict[str, Any] | str, placeholders: Mapping[str, Sequence[str]] | None = None) -> RuleSet:
        for i, each in enumerate(rules):
            text = each if isinstance(each, str) else yaml.safe_dump(each, sort_keys=False, allow_unicode=True)
            (tmp_path / f"rule{i:03}.yml").write_text(text, encoding="utf-8")
        return RuleSet.load(tmp_path, placeholders=placeholders)

    return load


@pytest.fixture
def matches(rule_set: Callable[..., RuleSet]) -> Callable[..., bool]:
    """Say whether an event of the given fields meets a detection."""

    def match(
        detection: Mapping[str, Any],
        fields: dict[str, Any],
        *,
        kind: Kind = ANY,
        logsource: Mapping[str, str] | None = None,
        placeholders: Mapping[str, Sequence[str]] | None = None,
    ) -> bool:
        whole = detection if "condition" in detection else {"sel": dict(detection), "condition": "sel"}
        rules = rule_set(rule(whole, logsource), placeholders=placeholders)
        assert not rules.problems, rules.problems
        found = rules.match_batch([event(kind)], lambda _: fields)
        assert not rules.failures
        return bool(found)

    return match


@pytest.fixture
def make_rule() -> Callable[..., dict[str, Any]]:
    return rule


@pytest.fixture
def make_event() -> Callable[..., Event]:
    return event
