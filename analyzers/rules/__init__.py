"""Sigma rules: pySigma parses, this package compiles and decides. Nothing here knows a stream or a format."""

from analyzers.rules.rule import LogSource, Match, Problem, Rule
from analyzers.rules.ruleset import RuleSet

__all__ = ["LogSource", "Match", "Problem", "Rule", "RuleSet"]
