"""Coverage that counts wrongly hides a gap: by tactic and technique, of rules in force and of what fired."""

from __future__ import annotations

from typing import Any

from analyzers.rules.attack import FIRED, MAX_TITLES, UNFED, Fired, coverage, layer
from analyzers.rules.rule import LogSource, Rule
from state.alerts import Level


def rule(name: str, techniques: tuple[str, ...], tactics: tuple[str, ...]) -> Rule:
    return Rule(name, f"Rule {name}", Level.high, "test", LogSource(), techniques, tactics, "x.yml", "", (), ())


RULES = [
    rule("a", ("T1059.001", "T1105"), ("execution",)),
    rule("b", ("T1059.001",), ("execution", "stealth")),
    rule("c", (), ("impact",)),
    rule("d", ("T1530",), ("collection",)),
]
FOREIGN = Fired("z", "Gone", ("T1486",), ("impact",), 1, 5)
WHAT_FIRED = [Fired("b", "Rule b", ("T1059.001",), ("execution", "stealth"), 2, 7), FOREIGN]


def test_rules_are_counted_where_a_format_feeds_them() -> None:
    found = coverage(RULES, {"d"})
    assert {row.name: (len(row.rules), row.unfed) for row in found.techniques} == {
        "T1059.001": (2, 0),
        "T1105": (1, 0),
        "T1530": (0, 1),
    }
    assert [(row.name, len(row.rules)) for row in found.tactics] == [
        ("execution", 2),
        ("stealth", 1),
        ("collection", 0),
        ("impact", 1),
    ]
    assert (found.rules, found.unfed, found.untagged) == (4, 1, 1)


def test_what_fired_is_counted_by_its_own_tags_and_foreign_rules_are_named() -> None:
    found = coverage(RULES, (), WHAT_FIRED)
    fired = {row.name: (row.fired, row.alerts, row.signals) for row in found.techniques if row.fired}
    assert fired == {"T1059.001": (1, 2, 7), "T1486": (1, 1, 5)}
    assert found.foreign == (FOREIGN,)


#: Layer file format 4.5: property, its type, whether it is required. Of the objects that we write.
LAYER = {
    "name": (str, True), "versions": (dict, False), "domain": (str, True), "description": (str, False),
    "sorting": (int, False), "layout": (dict, False), "hideDisabled": (bool, False), "techniques": (list, False),
    "gradient": (dict, False), "legendItems": (list, False), "metadata": (list, False),
}  # fmt: skip
TECHNIQUE = {
    "techniqueID": (str, True), "tactic": (str, False), "comment": (str, False), "enabled": (bool, False),
    "score": (int, False), "color": (str, False), "metadata": (list, False), "showSubtechniques": (bool, False),
}  # fmt: skip
LAYOUT = {
    "layout": (str, False), "showID": (bool, False), "showName": (bool, False), "showAggregateScores": (bool, False),
    "countUnscored": (bool, False), "aggregateFunction": (str, False), "expandedSubtechniques": (str, False),
}  # fmt: skip
PAIR = {"name": (str, True), "value": (str, True)}


def conforms(value: dict[str, Any], properties: dict[str, tuple[type, bool]]) -> None:
    assert value.keys() <= properties.keys()
    for name, (kind, required) in properties.items():
        assert not required or name in value
        assert name not in value or isinstance(value[name], kind)


def test_the_layer_is_one_of_the_published_format() -> None:
    for made in (layer(coverage(RULES, {"d"}, WHAT_FIRED), "x"), layer(coverage([], ()), "none")):
        conforms(made, LAYER)
        conforms(made["layout"], LAYOUT)
        assert made["versions"]["layer"] == "4.5" and made["versions"]["navigator"] >= "4.9.0"
        assert made["domain"] == "enterprise-attack" and made["sorting"] in (0, 1, 2, 3)
        assert made["layout"]["layout"] in ("side", "flat", "mini")
        assert made["layout"]["expandedSubtechniques"] in ("none", "all", "annotated")
        gradient = made["gradient"]
        assert len(gradient["colors"]) >= 2 and gradient["maxValue"] > gradient["minValue"]
        for technique in made["techniques"]:
            conforms(technique, TECHNIQUE)
            for pair in technique.get("metadata", ()):
                conforms(pair, PAIR)
        for pair in made["metadata"]:
            conforms(pair, PAIR)
        for item in made["legendItems"]:
            conforms(item, {"label": (str, True), "color": (str, True)})
        ids = [technique["techniqueID"] for technique in made["techniques"]]
        assert len(ids) == len(set(ids))


def test_the_layer_scores_by_rules_and_colours_what_fired() -> None:
    made = {t["techniqueID"]: t for t in layer(coverage(RULES, {"d"}, WHAT_FIRED), "x")["techniques"]}
    assert {name: (t["score"], t.get("color")) for name, t in made.items()} == {
        "T1059.001": (2, FIRED),
        "T1105": (1, None),
        "T1486": (0, FIRED),
        "T1530": (0, UNFED),
    }
    assert "Rule a" in made["T1059.001"]["comment"] and "2 alerts of 7 events" in made["T1059.001"]["comment"]


def test_comments_are_bounded_and_hold_nothing_that_disturbs_a_screen() -> None:
    many = [rule(f"\x1b[2J{i}", ("T1105",), ()) for i in range(200)]
    (technique,) = layer(coverage(many, ()), "x")["techniques"]
    assert technique["score"] == 200 and "\x1b" not in technique["comment"]
    assert technique["comment"].count("\n") == MAX_TITLES + 1 and "188 more" in technique["comment"]
