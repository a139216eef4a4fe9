"""A rule's condition with its words kept: selections by name, quantifiers, and/or/not. For explaining, not matching.

The compiled condition (``condition.compile_rule``) has forgotten the names of selections; here each selection is
compiled alone, by the same functions, and stands where the condition names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from sigma.conditions import ConditionAND, ConditionIdentifier, ConditionNOT, ConditionOR, ConditionSelector
from sigma.rule import SigmaDetections

from analyzers.rules.bounds import check_conditions
from analyzers.rules.condition import compile_part
from analyzers.rules.nodes import Node
from analyzers.rules.rule import Placeholders, Unsupported


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


def condition_of(
    detections: SigmaDetections, filters: Sequence[SigmaDetections], placeholders: Placeholders
) -> Condition:
    """Return a rule's condition by selections, with the filters that narrow it. Raises as compiling does."""
    texts, whole = _whole(detections, placeholders, "")
    narrowing = [_whole(each, placeholders, "filter ") for each in filters]
    if not narrowing:
        return Condition(texts, whole)
    said = tuple(f"and, by a filter: {text}" for more, _ in narrowing for text in more)
    return Condition((*texts, *said), Branch("and", "and", (whole, *(tree for _, tree in narrowing))))


def _whole(detections: SigmaDetections, placeholders: Placeholders, prefix: str) -> tuple[tuple[str, ...], Branch]:
    check_conditions(detections)
    texts: list[str] = []
    trees: list[Branch] = []
    for condition in detections.parsed_condition:
        tree = _branch(condition.parse(False), detections, placeholders, prefix)
        if tree is None:
            raise Unsupported("condition is empty")
        texts.append(condition.condition)
        trees.append(tree)
    return tuple(texts), trees[0] if len(trees) == 1 else Branch("or", "any condition", tuple(trees))


def _branch(parsed: Any, detections: SigmaDetections, placeholders: Placeholders, prefix: str) -> Branch | None:
    if isinstance(parsed, ConditionIdentifier):
        resolved = parsed.postprocess(detections)
        # pySigma leaves selections without any test out of the condition.
        node = None if resolved is None else compile_part(resolved, placeholders)
        return None if node is None else Branch("selection", f"{prefix}{parsed.identifier}", node=node)
    if isinstance(parsed, ConditionSelector):
        return _join(
            "or" if parsed.cond_class is ConditionOR else "and",
            f"{parsed.args[0]} of {prefix}{parsed.pattern}",
            parsed.resolve_referenced_detections(detections),
            detections,
            placeholders,
            prefix,
        )
    if isinstance(parsed, ConditionNOT):
        return _join("not", "not", parsed.args, detections, placeholders, prefix)
    if isinstance(parsed, ConditionAND):
        return _join("and", "and", parsed.args, detections, placeholders, prefix)
    if isinstance(parsed, ConditionOR):
        return _join("or", "or", parsed.args, detections, placeholders, prefix)
    raise Unsupported(f"unknown condition {type(parsed).__name__}")


def _join(
    kind: Literal["and", "or", "not"],
    text: str,
    args: list[Any],
    detections: SigmaDetections,
    placeholders: Placeholders,
    prefix: str,
) -> Branch | None:
    parts = [part for arg in args if (part := _branch(arg, detections, placeholders, prefix)) is not None]
    return Branch(kind, text, tuple(parts)) if parts else None
