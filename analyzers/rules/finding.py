"""Finds one rule in folders, with its condition as it is written, without compiling all the others."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from analyzers.rules.correlation import Correlation
from analyzers.rules.loading import read_rule_file, rule_files
from analyzers.rules.parsing import parse, rule_id
from analyzers.rules.rule import Placeholders, Problem, Rule, Unsupported
from analyzers.rules.ruleset import RuleSet
from analyzers.rules.selections import Condition, condition_of

#: A file that may hold a Sigma filter, which changes other files' rules.
_FILTER = re.compile(rb"(?m)^[\"']?filter[\"']?\s*:")


class NotFound(LookupError):
    """No rule of that name, several, or one that is not in force; the message is one line that says which."""


class Found(msgspec.Struct, frozen=True, eq=False):
    """A rule in force."""

    rule: Rule
    condition: Condition
    #: A set in which the rule is, though perhaps not with all others.
    rules: RuleSet


def find(name: str, paths: Sequence[Path], placeholders: Placeholders) -> Found:
    """Return the rule with this id or title, in any case, or of this file, among the rules under the paths.

    A rule named by its file need not lie under the paths; their filters apply to it. Raises NotFound, and
    FileNotFoundError for a path that does not exist.
    """
    file = Path(name)
    if file.is_file():
        rules = RuleSet.load(_files([file], paths, None), placeholders=placeholders)
        found = [rule for rule in rules.rules if rule.path == str(file)]
        broken = [problem for problem in rules.problems if problem.path == str(file)]
    else:
        rules = RuleSet.load(_files([], paths, name), placeholders=placeholders)
        found, broken = _named(name, rules)
        if not found and not broken:
            # A title may be written otherwise than it reads: folded, quoted, escaped.
            rules = RuleSet.load(paths, placeholders=placeholders)
            found, broken = _named(name, rules)
    correlation = None if found else _correlation(name, rules)
    if correlation is not None:
        told = "; ".join(source.title for source in correlation.sources)
        raise NotFound(f"{correlation.rule.title} counts events over time, see winnow replay; it refers to: {told}")
    if broken and not found:
        raise NotFound(f"rule is not in force: {broken[0]}")
    if not found:
        titles = {rule.title.casefold(): rule.title for rule in rules.rules}
        near = [titles[title] for title in difflib.get_close_matches(name.casefold(), titles, 3, 0.5)]
        hint = f"; near: {'; '.join(near)}" if near else ""
        raise NotFound(f"no rule in force has the id or title {name!r}, and there is no such file{hint}")
    if len(found) > 1:
        raise NotFound(f"{name}: {len(found)} rules, name one by its id: {', '.join(rule.id for rule in found[:10])}")
    return Found(found[0], condition(found[0], _files([Path(found[0].path)], paths, None), placeholders), rules)


def condition(rule: Rule, files: Sequence[Path], placeholders: Placeholders) -> Condition:
    """Return the condition of a rule in force, read anew from its file; ``files`` also name those with filters."""
    found = conditions([rule], files, placeholders)
    if rule.id not in found:
        raise NotFound(f"{rule.path} no longer holds the rule {rule.id}")
    return found[rule.id]


def conditions(rules: Sequence[Rule], files: Sequence[Path], placeholders: Placeholders) -> dict[str, Condition]:
    """Return the conditions of rules in force, by id, as far as the files still hold them."""
    wanted = {(rule.path, rule.id) for rule in rules}
    parsed = [parse(str(file), read_rule_file(file), placeholders) for file in files]
    filters = [each for one in parsed for each in one.filters]
    found: dict[str, Condition] = {}
    for one in parsed:
        for _, rule in one.rules:
            try:
                known = rule_id(rule)
            except Exception:  # noqa: S112 - a rule that has no id and no sound content is not in force, nor wanted
                continue
            if (one.path, known) in wanted:
                narrowing = [each.filter.filter for each in filters if each.concerns(rule)]
                found[known] = condition_of(rule.detection, narrowing, placeholders)
    return found


def filter_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files under the paths that may hold filters."""
    return _files([], paths, None)


def _files(first: Sequence[Path], paths: Sequence[Path], name: str | None) -> list[Path]:
    """Return the first files, and of those under the paths the ones that hold the name, or may hold filters."""
    wanted = name.encode("utf-8", "replace").lower() if name else None
    known = {file.resolve() for file in first}
    found = list(first)
    for file in rule_files(paths):
        try:
            raw = read_rule_file(file)
        except (Unsupported, OSError):
            continue
        if (_FILTER.search(raw) or (wanted is not None and wanted in raw.lower())) and file.resolve() not in known:
            found.append(file)
    return found


def _correlation(name: str, rules: RuleSet) -> Correlation | None:
    key = name.casefold()
    for each in rules.correlations:
        if key in (each.rule.id.casefold(), each.rule.title.casefold()):
            return each
    return None


def _named(name: str, rules: RuleSet) -> tuple[list[Rule], list[Problem]]:
    key = name.casefold()
    return (
        [rule for rule in rules.rules if key in (rule.id.casefold(), rule.title.casefold())],
        [problem for problem in rules.problems if key in (problem.id.casefold(), problem.title.casefold())],
    )
