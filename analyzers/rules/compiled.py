"""Compiled rules as data: what a worker needs, without pySigma and without a rule file."""

from __future__ import annotations

import msgspec

from analyzers.rules.nodes import AnyNode, Clause
from analyzers.rules.rule import Problem, Rule


class Compiled(msgspec.Struct, frozen=True, eq=False):
    """A rule with its compiled condition."""

    rule: Rule
    node: AnyNode
    #: Necessary clauses of the condition.
    clauses: tuple[Clause, ...]


class Loaded(msgspec.Struct, frozen=True, eq=False):
    """What came of reading rules."""

    compiled: list[Compiled]
    problems: list[Problem]
    version: str
