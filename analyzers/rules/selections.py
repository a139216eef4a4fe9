"""A rule's condition with its words kept: selections by name, quantifiers, and/or/not. For explaining, not matching.

The compiled condition (``condition.compile_rule``) has forgotten the names of selections; here each selection is
compiled alone, by the same functions, and stands where the condition names it.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec
from sigma.conditions import ConditionAND, ConditionIdentifier, ConditionNOT, ConditionOR, ConditionSelector
from sigma.rule import SigmaRule

from analyzers.rules.condition import MAX_CONDITION, Placeholders, compile_part
from analyzers.rules.nodes import Node
from analyzers.rules.rule import Unsupported

#: What pySigma puts before the names of a filter's selections.
_FILTER = re.compile(r"_filt_[a-z]{10}_")


class Branch(msgspec.Struct, frozen=True, eq=False):
    """One place in a condition."""

    #: How the parts are joined; a ``selection`` has a node instead of parts.
    kind: Literal["and", "or", "not", "selection"]
    #: The selection's name, or how the rule puts the join: ``1 of selection_*``, ``and``.
    text: str
    parts: tuple[Branch, ...] = ()
    node: Node | None = None


class Condition(msgspec.Struct, frozen=True, eq=False):
    """A rule's conditions, which are alternatives, as texts and as one tree."""

    texts: tuple[str, ...]
    tree: Branch


def condition_of(rule: SigmaRule, placeholders: Placeholders) -> Condition:
    """Return a rule's condition by selections. Raises Unsupported or a SigmaError, as compiling does."""
    texts: list[str] = []
    trees: list[Branch] = []
    for condition in rule.detection.parsed_condition:
        if not isinstance(condition.condition, str) or len(condition.condition) > MAX_CONDITION:
            raise Unsupported("condition is not a text of bounded length")
        tree = _branch(condition.parse(False), rule.detection, placeholders)
        if tree is None:
            raise Unsupported("condition is empty")
        texts.append(_named(condition.condition))
        trees.append(tree)
    whole = trees[0] if len(trees) == 1 else Branch("or", "any condition", tuple(trees))
    return Condition(tuple(texts), whole)


def _branch(parsed: Any, detections: Any, placeholders: Placeholders) -> Branch | None:
    if isinstance(parsed, ConditionIdentifier):
        resolved = parsed.postprocess(detections)
        # pySigma leaves selections without any test out of the condition.
        node = None if resolved is None else compile_part(resolved, placeholders)
        return None if node is None else Branch("selection", _named(parsed.identifier), node=node)
    if isinstance(parsed, ConditionSelector):
        return _join(
            "or" if parsed.cond_class is ConditionOR else "and",
            f"{parsed.args[0]} of {_named(parsed.pattern)}",
            parsed.resolve_referenced_detections(detections),
            detections,
            placeholders,
        )
    if isinstance(parsed, ConditionNOT):
        return _join("not", "not", parsed.args, detections, placeholders)
    if isinstance(parsed, ConditionAND):
        return _join("and", "and", parsed.args, detections, placeholders)
    if isinstance(parsed, ConditionOR):
        return _join("or", "or", parsed.args, detections, placeholders)
    raise Unsupported(f"unknown condition {type(parsed).__name__}")


def _join(
    kind: Literal["and", "or", "not"], text: str, args: list[Any], detections: Any, placeholders: Placeholders
) -> Branch | None:
    parts = [part for arg in args if (part := _branch(arg, detections, placeholders)) is not None]
    return Branch(kind, text, tuple(parts)) if parts else None


def _named(text: str) -> str:
    return _FILTER.sub("filter ", text)
