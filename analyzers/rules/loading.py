"""Reads rule files, within limits, and has their rules compiled. A file is input like any other: it may be hostile."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml
from sigma.collection import SigmaCollection
from sigma.exceptions import SigmaError
from sigma.filters import SigmaFilter
from sigma.rule import SigmaRule

from analyzers.rules.bounds import documents
from analyzers.rules.condition import compile_detections, fields_of
from analyzers.rules.modifiers import Placeholders, Policy
from analyzers.rules.nodes import And, Clause, Node
from analyzers.rules.rule import LogSource, Problem, Rule, Unsupported
from state.alerts import Level

#: Largest rule file, bytes.
MAX_FILE = 1_000_000
#: Documents of a file in which some have an action: what ``global`` says is copied into each.
MAX_TOGETHER = 500
#: Longest reason of a problem, characters.
MAX_PROBLEM = 400
#: Part of every version: rises when the meaning of compiled rules changes.
_ENGINE = b"winnow-rules-2"

_TECHNIQUE = re.compile(r"t\d{4}(\.\d{3})?")
_TACTIC = re.compile(r"[a-z]+([-_][a-z]+)*")


class Compiled(msgspec.Struct, frozen=True, eq=False):
    """A rule with its compiled condition."""

    rule: Rule
    node: Node
    #: Necessary clauses of the condition.
    clauses: tuple[Clause, ...]


class Loaded(msgspec.Struct, frozen=True, eq=False):
    """What came of reading rules."""

    compiled: list[Compiled]
    problems: list[Problem]
    version: str


class _Place(msgspec.Struct, frozen=True):
    """Where a document stands."""

    path: str
    line: int = 0

    def problem(self, rule_id: object, title: object, error: object, what: str = "") -> Problem:
        """Return what is wrong with the rule that stands here."""
        words = [text[:200] if isinstance(text, str) else "" for text in (str(rule_id) if rule_id else "", title)]
        # Only our own refusals and pySigma's are for people as they are.
        kind = "" if isinstance(error, SigmaError | Unsupported | RecursionError | str) else f"{type(error).__name__}: "
        return Problem(self.path, _said(f"{what}{kind}{_said(error)}"), words[0][:64], words[1], self.line)


class _Parsed(msgspec.Struct, frozen=True, eq=False):
    rule: SigmaRule
    place: _Place


class _Filter(msgspec.Struct, frozen=True, eq=False):
    """A Sigma filter: what else must hold of an event that meets one of the rules that it names."""

    filter: SigmaFilter
    node: Node
    fields: tuple[str, ...]
    place: _Place

    def concerns(self, rule: SigmaRule) -> bool:
        """Return whether the filter names the rule, by id or name, or all of its log source."""
        if rule.logsource not in self.filter.logsource:
            return False
        rules = self.filter.filter.rules
        return isinstance(rules, str) or any(each.reference in (str(rule.id), rule.name) for each in rules)


def load(paths: Sequence[Path | str], placeholders: Placeholders) -> Loaded:
    """Read, parse and compile every rule under the paths. Raises FileNotFoundError for a missing path."""
    parsed: list[_Parsed] = []
    filters: list[_Filter] = []
    problems: list[Problem] = []
    digests: list[bytes] = []
    for path in rule_files(paths):
        name = str(path)
        try:
            if path.stat().st_size > MAX_FILE or not path.is_file():
                raise Unsupported(f"not a regular file of at most {MAX_FILE} bytes")
            with path.open("rb") as file:
                raw = file.read(MAX_FILE + 1)
            if len(raw) > MAX_FILE:
                raise Unsupported(f"file is larger than {MAX_FILE} bytes")
            digests.append(hashlib.blake2b(raw, digest_size=16).digest())
            _parse(name, raw.decode("utf-8-sig"), placeholders, parsed, filters, problems)
        except UnicodeDecodeError:
            problems.append(Problem(name, "file is not UTF-8"))
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 0
            problems.append(Problem(name, _said(f"not valid YAML: {error.problem}"), line=line))
        except (Unsupported, yaml.YAMLError, OSError, RecursionError) as error:
            problems.append(Problem(name, _said(error)))
        except Exception as error:  # PyYAML meets hostile input with all sorts of exceptions
            problems.append(_Place(name).problem("", "", error))
    compiled = _compile_all(parsed, filters, placeholders, problems)
    return Loaded(compiled, problems, _version(digests, placeholders))


def rule_files(paths: Sequence[Path | str]) -> Iterator[Path]:
    """Yield the rule files of files and folders, sorted by path; links to folders are not followed."""
    for each in paths:
        path = Path(each)
        if not path.exists():
            raise FileNotFoundError(f"no such file or folder: {path}")
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders.sort()
            for name in sorted(names):
                if name.endswith((".yml", ".yaml")) and not name.startswith("."):
                    yield Path(folder) / name


def _version(digests: list[bytes], placeholders: Placeholders) -> str:
    whole = hashlib.blake2b(_ENGINE, digest_size=8)
    for digest in sorted(digests):
        whole.update(digest)
    whole.update(repr(sorted((name, tuple(values)) for name, values in placeholders.items())).encode())
    return whole.hexdigest()


def _said(error: object) -> str:
    """Return an error as one bounded line, without the file that pySigma puts at its end."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    text = str(error.args[0]) if isinstance(error, SigmaError) and error.args else str(error)
    text = " ".join(text.split())
    text = text or type(error).__name__
    return text if len(text) <= MAX_PROBLEM else text[: MAX_PROBLEM - 1] + "…"


# ------------------------------------------------------------------------------------------------------------ Parsing


def _parse(
    path: str,
    text: str,
    placeholders: Placeholders,
    parsed: list[_Parsed],
    filters: list[_Filter],
    problems: list[Problem],
) -> None:
    found = list(documents(text))
    if not found:
        raise Unsupported("file holds no rule")
    policy = Policy(placeholders=placeholders)
    plain: list[tuple[_Place, dict[Any, Any]]] = []
    for line, document in found:
        place = _Place(path, line)
        if isinstance(document, Unsupported):
            problems.append(place.problem("", "", document))
        elif not isinstance(document, dict):
            problems.append(place.problem("", "", f"a rule is a mapping, not a {type(document).__name__}"))
        elif "correlation" in document:
            problems.append(_refused(place, document, "correlation rules come with a later issue"))
        elif "filter" in document:
            try:
                filters.append(_filter(place, document, policy))
            except Exception as error:  # as below
                problems.append(_refused(place, document, error, "filter: "))
        else:
            plain.append((place, document))
    # Documents with an action (global, repeat, reset) concern their neighbours; all others stand for themselves.
    together = any("action" in document for _, document in plain)
    if together and len(plain) > MAX_TOGETHER:
        raise Unsupported(f"file with action documents holds more than {MAX_TOGETHER} of them")
    for batch in [plain] if together else [[each] for each in plain]:
        place, document = batch[0]
        try:
            collection = SigmaCollection.from_dicts(
                [document for _, document in batch], collect_errors=True, policy=policy
            )
        except Exception as error:  # pySigma meets malformed rules with all sorts of exceptions
            problems.append(_refused(place, document, error))
            continue
        of_rules = {id(error) for rule in collection.rules for error in rule.errors}
        problems.extend(_refused(place, document, error) for error in collection.errors if id(error) not in of_rules)
        # Of several documents, those without an action or with ``repeat`` are rules, in order.
        places = [place for place, document in batch if document.get("action") in (None, "repeat")]
        exact = len(places) == len(collection.rules)
        for i, rule in enumerate(collection.rules):
            at = places[i] if exact else place
            if isinstance(rule, SigmaRule) and rule.errors:
                reasons = dict.fromkeys(_said(error) for error in rule.errors)
                problems.append(at.problem(rule.id, rule.title, "; ".join(reasons)))
            elif isinstance(rule, SigmaRule):
                parsed.append(_Parsed(rule, at))


def _refused(place: _Place, document: dict[Any, Any], error: object, what: str = "") -> Problem:
    # What should be a text may be anything, and writing it out may take for ever.
    rule_id, title = (value if isinstance(value := document.get(name), str) else "" for name in ("id", "title"))
    return place.problem(rule_id, title, error, what)


def _filter(place: _Place, document: dict[Any, Any], policy: Policy) -> _Filter:
    found = SigmaFilter.from_dict(document, policy=policy)
    return _Filter(found, compile_detections(found.filter, policy.placeholders), fields_of(found.filter), place)


# ---------------------------------------------------------------------------------------------------------- Compiling


def _compile_all(
    parsed: list[_Parsed], filters: list[_Filter], placeholders: Placeholders, problems: list[Problem]
) -> list[Compiled]:
    compiled: list[Compiled] = []
    owners: dict[str, str] = {}
    idle = dict.fromkeys(range(len(filters)))
    for each in parsed:
        rule = each.rule
        try:
            node = compile_detections(rule.detection, placeholders)
            narrowing = [i for i, applied in enumerate(filters) if applied.concerns(rule)]
            for i in narrowing:
                idle.pop(i, None)
            if narrowing:
                node = And([node, *(filters[i].node for i in narrowing)])
            more = [name for i in narrowing for name in filters[i].fields]
            described = _describe(rule, each.place.path, more)
            if described.id in owners:
                raise Unsupported(f"has the id of a rule in {owners[described.id]}")
            compiled.append(Compiled(described, node, tuple(node.clauses())))
            owners[described.id] = each.place.path
        except Exception as error:  # pySigma meets malformed rules with all sorts of exceptions
            problems.append(each.place.problem(rule.id, rule.title, error))
    for i in idle:
        applied = filters[i]
        problems.append(
            applied.place.problem(applied.filter.id, applied.filter.title, "filter: names no rule of its log source")
        )
    return compiled


def _describe(rule: SigmaRule, path: str, more_fields: Sequence[str]) -> Rule:
    names = [tag.name.lower() for tag in rule.tags if tag.namespace == "attack"]
    return Rule(
        id=str(rule.id) if rule.id else _content_id(rule),
        title=rule.title,
        level=Level[rule.level.name.lower()] if rule.level else Level.medium,
        status=rule.status.name.lower() if rule.status else "",
        logsource=LogSource(rule.logsource.product or "", rule.logsource.category or "", rule.logsource.service or ""),
        techniques=tuple(dict.fromkeys(name.upper() for name in names if _TECHNIQUE.fullmatch(name))),
        tactics=tuple(dict.fromkeys(name.replace("_", "-") for name in names if _TACTIC.fullmatch(name))),
        path=path,
        description=rule.description or "",
        falsepositives=tuple(str(each) for each in rule.falsepositives),
        fields=tuple(dict.fromkeys((*fields_of(rule.detection), *more_fields))),
    )


def _content_id(rule: SigmaRule) -> str:
    content = repr((rule.title, rule.logsource, rule.detection.condition, rule.detection.detections))
    return "sha-" + hashlib.blake2b(content.encode("utf-8", "replace"), digest_size=10).hexdigest()
