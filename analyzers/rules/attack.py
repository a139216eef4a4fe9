"""MITRE ATT&CK coverage of rules, and of what they raised, by tactic and technique; and its Navigator layer.

Coverage is what rules say of themselves by their tags. A rule counts where its log source is one that a format
yields: the others can raise nothing. Which technique serves which tactic, tags do not tell; the Navigator knows.
Layer: MITRE ATT&CK Navigator's layer file format, version 4.5.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from analyzers.rules.explanation import shown
from analyzers.rules.rule import Rule

#: Tactics in the order of the matrix, old names beside those that took their place.
TACTICS = (
    "reconnaissance",
    "resource-development",
    "initial-access",
    "execution",
    "persistence",
    "privilege-escalation",
    "defense-evasion",
    "stealth",
    "defense-impairment",
    "credential-access",
    "discovery",
    "lateral-movement",
    "collection",
    "command-and-control",
    "exfiltration",
    "impact",
)
#: Titles of rules that one technique's comment names.
MAX_TITLES = 12
#: Colours of the layer: few and many rules, and what fired.
FEW, MANY, FIRED, UNFED = "#dbe9f6", "#2171b5", "#e6550d", "#d9d9d9"


class Fired(msgspec.Struct, frozen=True):
    """What one rule raised."""

    rule: str
    name: str
    techniques: tuple[str, ...]
    tactics: tuple[str, ...]
    alerts: int
    #: Events that met the rule.
    signals: int


class Row(msgspec.Struct):
    """One tactic or technique."""

    name: str
    #: Titles of the rules in force, on log sources that a format yields.
    rules: list[str]
    #: Rules in force whose log source no format yields.
    unfed: int = 0
    #: Rules that raised something, their alerts, and the events that met them.
    fired: int = 0
    alerts: int = 0
    signals: int = 0


class Coverage(msgspec.Struct, frozen=True):
    """Coverage of a set of rules."""

    rules: int
    unfed: int
    #: Rules in force without any tag of a technique.
    untagged: int
    tactics: tuple[Row, ...]
    techniques: tuple[Row, ...]
    #: What rules raised that are not among these.
    foreign: tuple[Fired, ...]
    #: Whether it was asked what fired at all.
    asked: bool


def coverage(rules: Sequence[Rule], unfed: Iterable[str], fired: Sequence[Fired] | None = None) -> Coverage:
    """Return the coverage of the rules in force; ``unfed`` are the ids of those whose log source no format yields."""
    without = set(unfed)
    tactics: dict[str, Row] = {}
    techniques: dict[str, Row] = {}
    for rule in rules:
        for rows, names in ((tactics, rule.tactics), (techniques, rule.techniques)):
            for name in names:
                row = rows.setdefault(name, Row(name, []))
                if rule.id in without:
                    row.unfed += 1
                else:
                    row.rules.append(rule.title)
    for each in fired or ():
        for rows, names in ((tactics, each.tactics), (techniques, each.techniques)):
            for name in names:
                row = rows.setdefault(name, Row(name, []))
                row.fired += 1
                row.alerts += each.alerts
                row.signals += each.signals
    known = {rule.id for rule in rules}
    return Coverage(
        rules=len(rules),
        unfed=sum(rule.id in without for rule in rules),
        untagged=sum(not rule.techniques for rule in rules),
        tactics=tuple(sorted(tactics.values(), key=lambda row: _order(row.name))),
        techniques=tuple(sorted(techniques.values(), key=lambda row: row.name)),
        foreign=tuple(each for each in fired or () if each.rule not in known),
        asked=fired is not None,
    )


def _order(tactic: str) -> tuple[int, str]:
    return (TACTICS.index(tactic) if tactic in TACTICS else len(TACTICS), tactic)


def layer(found: Coverage, name: str) -> dict[str, Any]:
    """Return a Navigator layer: the score is the number of rules, and what fired has a colour of its own."""
    most = max((len(row.rules) for row in found.techniques), default=0)
    legend = [{"label": "few rules", "color": FEW}, {"label": "many rules", "color": MANY}]
    legend.append({"label": "only rules whose log source no format yields", "color": UNFED})
    if found.asked:
        legend.append({"label": "rules that fired", "color": FIRED})
    return {
        "name": name,
        "versions": {"navigator": "4.9.0", "layer": "4.5"},
        "domain": "enterprise-attack",
        "description": f"{found.rules - found.unfed} Sigma rules in force on log sources that a format yields"
        f"{'; coloured: what fired' if found.asked else ''}",
        "sorting": 3,
        "layout": {"layout": "side", "showID": True, "showName": True, "expandedSubtechniques": "annotated"},
        "hideDisabled": False,
        "techniques": [_technique(row) for row in found.techniques],
        "gradient": {"colors": [FEW, MANY], "minValue": 0, "maxValue": max(most, 1)},
        "legendItems": legend,
        "metadata": [
            {"name": "rules in force", "value": str(found.rules)},
            {"name": "rules that no format feeds", "value": str(found.unfed)},
            {"name": "rules without a technique", "value": str(found.untagged)},
        ],
    }


def _technique(row: Row) -> dict[str, Any]:
    titles = [f"- {shown(title)}" for title in row.rules[:MAX_TITLES]]
    if len(row.rules) > MAX_TITLES:
        titles.append(f"… {len(row.rules) - MAX_TITLES} more")
    said = [f"{len(row.rules)} rules", *titles]
    if row.unfed:
        said.append(f"{row.unfed} further rules on log sources that no format yields")
    if row.fired:
        said.append(f"Fired: {row.fired} rules, {row.alerts} alerts of {row.signals} events")
    entry: dict[str, Any] = {
        "techniqueID": row.name,
        "score": len(row.rules),
        "comment": "\n".join(said),
        "enabled": True,
    }
    if row.fired:
        entry["color"] = FIRED
        entry["metadata"] = [
            {"name": "rules that fired", "value": str(row.fired)},
            {"name": "alerts", "value": str(row.alerts)},
            {"name": "events", "value": str(row.signals)},
        ]
    elif not row.rules:
        entry["color"] = UNFED
    return entry
