"""From a rule file's bytes to compiled rules: what needs pySigma. A file is input like any other: it may be hostile."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import yaml
from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError
from sigma.filters import SigmaFilter
from sigma.rule import SigmaRule

from analyzers.rules.bounds import documents, size
from analyzers.rules.compiled import Compiled, File
from analyzers.rules.condition import compile_detections, fields_of
from analyzers.rules.correlation import Drawn
from analyzers.rules.correlation_parsing import draw, hash_of
from analyzers.rules.nodes import And, AnyNode
from analyzers.rules.policy import Policy
from analyzers.rules.rule import LogSource, Placeholders, Problem, Rule, Unsupported
from state.alerts import Level

#: Values of a file in which some documents have an action, times its documents: what ``global`` says is in each.
MAX_TOGETHER = 200_000
#: Longest reason of a problem, characters.
MAX_PROBLEM = 400

_TECHNIQUE = re.compile(r"t\d{4}(\.\d{3})?")
_TACTIC = re.compile(r"[a-z]+([-_][a-z]+)*")


class Place(msgspec.Struct, frozen=True):
    """Where a document stands."""

    path: str
    line: int = 0

    def problem(self, rule_id: object, title: object, error: object, what: str = "") -> Problem:
        """Return what is wrong with the rule that stands here."""
        words = [text[:200] if isinstance(text, str) else "" for text in (str(rule_id) if rule_id else "", title)]
        # Only our own refusals and pySigma's are for people as they are.
        kind = "" if isinstance(error, SigmaError | Unsupported | RecursionError | str) else f"{type(error).__name__}: "
        return Problem(self.path, _said(f"{what}{kind}{_said(error)}"), words[0][:64], words[1], self.line)


class Filter(msgspec.Struct, frozen=True, eq=False):
    """A Sigma filter: what else must hold of an event that meets one of the rules that it names."""

    filter: SigmaFilter
    node: AnyNode
    fields: tuple[str, ...]
    #: What is wrong with it if it names no rule.
    idle: Problem

    def concerns(self, rule: SigmaRule) -> bool:
        """Return whether the filter names the rule, by id or name, or all of its log source."""
        if rule.logsource not in self.filter.logsource:
            return False
        rules = self.filter.filter.rules
        return isinstance(rules, str) or any(each.reference in (str(rule.id), rule.name) for each in rules)


class Parsed(msgspec.Struct, eq=False):
    """What pySigma made of one file."""

    path: str
    rules: list[tuple[Place, SigmaRule]] = []
    filters: list[Filter] = []
    drawn: list[Drawn] = []
    problems: list[Problem] = []


def parse(path: str, raw: bytes, placeholders: Placeholders) -> Parsed:
    """Parse the documents of a file; what is wrong with it is in ``problems``."""
    parsed = Parsed(path)
    try:
        _parse(parsed, raw.decode("utf-8-sig"), placeholders)
    except UnicodeDecodeError:
        parsed.problems.append(Problem(path, "file is not UTF-8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        parsed.problems.append(Problem(path, _said(f"not valid YAML: {error.problem}"), line=line))
    except (Unsupported, yaml.YAMLError, RecursionError) as error:
        parsed.problems.append(Problem(path, _said(error)))
    except Exception as error:  # PyYAML meets hostile input with all sorts of exceptions
        parsed.problems.append(Place(path).problem("", "", error))
    return parsed


def compile_file(parsed: Parsed, filters: Sequence[Filter], placeholders: Placeholders) -> File:
    """Compile the rules of a file, with the filters of all files applied to them."""
    compiled: list[Compiled] = []
    problems = list(parsed.problems)
    narrowed: dict[Problem, None] = {}
    for place, rule in parsed.rules:
        try:
            node = compile_detections(rule.detection, placeholders)
            narrowing = [applied for applied in filters if applied.concerns(rule)]
            narrowed.update(dict.fromkeys(applied.idle for applied in narrowing))
            if narrowing:
                node = And((node, *(applied.node for applied in narrowing)))
            fields = (*fields_of(rule.detection), *(name for applied in narrowing for name in applied.fields))
            one = Compiled(_describe(rule, place, fields), node, tuple(node.branches()))
            # What cannot be written, such as half a surrogate pair of a placeholder, must not spoil what is beside it.
            msgspec.msgpack.encode(one)
            compiled.append(one)
        except Exception as error:  # pySigma meets malformed rules with all sorts of exceptions
            problems.append(place.problem(rule.id, rule.title, error))
    idle = tuple(each.idle for each in parsed.filters)
    return File(compiled, problems, idle, tuple(narrowed), tuple(parsed.drawn))


def _said(error: object) -> str:
    """Return an error as one bounded line, without the file that pySigma puts at its end."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    text = str(error.args[0]) if isinstance(error, SigmaError) and error.args else str(error)
    text = " ".join(text.split())
    text = text or type(error).__name__
    return text if len(text) <= MAX_PROBLEM else text[: MAX_PROBLEM - 1] + "…"


def _parse(parsed: Parsed, text: str, placeholders: Placeholders) -> None:
    path, problems = parsed.path, parsed.problems
    found = list(documents(text))
    if not found:
        raise Unsupported("file holds no rule")
    policy = Policy(placeholders=placeholders)
    plain: list[tuple[Place, dict[Any, Any]]] = []
    for line, document in found:
        place = Place(path, line)
        if isinstance(document, Unsupported):
            problems.append(place.problem("", "", document))
        elif not isinstance(document, dict):
            problems.append(place.problem("", "", f"a rule is a mapping, not a {type(document).__name__}"))
        elif "correlation" in document:
            try:
                parsed.drawn.append(_draw(place, document))
            except Exception as error:  # pySigma meets malformed rules with all sorts of exceptions
                problems.append(_refused(place, document, error))
        elif "filter" in document:
            try:
                parsed.filters.append(_filter(place, document, policy))
            except Exception as error:  # as below
                problems.append(_refused(place, document, error, "filter: "))
        else:
            plain.append((place, document))
    # Documents with an action (global, repeat, reset) concern their neighbours; all others stand for themselves.
    together = any("action" in document for _, document in plain)
    if together and len(plain) * sum(size(document) for _, document in plain) > MAX_TOGETHER:
        raise Unsupported(f"documents with an action, written out, may hold more than {MAX_TOGETHER} values")
    for batch in [plain] if together else [[each] for each in plain]:
        place, document = batch[0]
        # Of several documents, those without an action or with ``repeat`` are rules, in order.
        places = [place for place, document in batch if document.get("action") in (None, "repeat")]
        try:
            collection = SigmaCollection.from_dicts(
                [document for _, document in batch], collect_errors=True, policy=policy
            )
        except Exception as error:  # pySigma meets malformed rules with all sorts of exceptions
            problems.append(_refused(place, document, error))
            continue
        of_rules = {id(error) for rule in collection.rules for error in rule.errors}
        problems.extend(_refused(place, document, error) for error in collection.errors if id(error) not in of_rules)
        exact = len(places) == len(collection.rules)
        for i, rule in enumerate(collection.rules):
            at = places[i] if exact else place
            if isinstance(rule, SigmaRule) and rule.errors:
                reasons = dict.fromkeys(_said(error) for error in rule.errors)
                problems.append(at.problem(rule.id, rule.title, "; ".join(reasons)))
            elif isinstance(rule, SigmaRule):
                parsed.rules.append((at, rule))


def _refused(place: Place, document: dict[Any, Any], error: object, what: str = "") -> Problem:
    # What should be a text may be anything, and writing it out may take for ever.
    rule_id, title = (value if isinstance(value := document.get(name), str) else "" for name in ("id", "title"))
    return place.problem(rule_id, title, error, what)


def _filter(place: Place, document: dict[Any, Any], policy: Policy) -> Filter:
    found = SigmaFilter.from_dict(document, policy=policy)
    node, idle = compile_detections(found.filter, policy.placeholders), "filter: names no rule of its log source"
    return Filter(found, node, fields_of(found.filter), place.problem(found.id, found.title, idle))


def _draw(place: Place, document: dict[Any, Any]) -> Drawn:
    drawn = draw(document, lambda rule: _describe(rule, place, rule.group_by or ()))
    if not drawn.rule.id:
        named = "sha-" + hashlib.blake2b(hash_of(document), digest_size=10).hexdigest()
        drawn = msgspec.structs.replace(drawn, rule=msgspec.structs.replace(drawn.rule, id=named))
    msgspec.msgpack.encode(drawn)  # as with plain rules: what cannot be written must not spoil what is beside it
    return drawn


def _describe(rule: SigmaRule | SigmaCorrelationRule, place: Place, fields: Sequence[str]) -> Rule:
    names = [tag.name.lower() for tag in rule.tags if tag.namespace == "attack"]
    return Rule(
        id=rule_id(rule) if isinstance(rule, SigmaRule) else str(rule.id or ""),
        title=rule.title,
        level=Level[rule.level.name.lower()] if rule.level else Level.medium,
        status=rule.status.name.lower() if rule.status else "",
        logsource=_logsource(rule),
        techniques=tuple(dict.fromkeys(name.upper() for name in names if _TECHNIQUE.fullmatch(name))),
        tactics=tuple(dict.fromkeys(name.replace("_", "-") for name in names if _TACTIC.fullmatch(name))),
        path=place.path,
        description=rule.description or "",
        falsepositives=tuple(str(each) for each in rule.falsepositives),
        fields=tuple(dict.fromkeys(fields)),
        line=place.line,
        name=rule.name or "",
    )


def _logsource(rule: SigmaRule | SigmaCorrelationRule) -> LogSource:
    if isinstance(rule, SigmaCorrelationRule):
        return LogSource()
    return LogSource(rule.logsource.product or "", rule.logsource.category or "", rule.logsource.service or "")


def rule_id(rule: SigmaRule) -> str:
    """Return a rule's UUID; of one without, a hash of what its author wrote: pySigma's objects have no stable text."""
    if rule.id:
        return str(rule.id)
    written = [rule.title, rule.logsource.to_dict(), rule.detection.to_dict()]
    content = msgspec.json.encode(written, order="sorted", enc_hook=str)
    return "sha-" + hashlib.blake2b(content, digest_size=10).hexdigest()
