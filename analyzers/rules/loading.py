"""Reads rule files, within limits, and has their rules compiled. A file is input like any other: it may be hostile."""

from __future__ import annotations

import hashlib
import logging
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
from sigma.rule.base import SigmaYAMLLoader

from analyzers.rules.condition import Placeholders, compile_rule, fields_of
from analyzers.rules.nodes import Clause, Node
from analyzers.rules.regexes import POLICY
from analyzers.rules.rule import LogSource, Problem, Rule, Unsupported
from state.alerts import Level

#: Largest rule file, bytes.
MAX_FILE = 1_000_000
#: Deepest nesting of YAML. The C parser overruns its stack at some thousands.
MAX_YAML_DEPTH = 64
#: Longest reason of a problem, characters.
MAX_PROBLEM = 400
#: How the name of a file ends that holds a rule's tests (``analyzers.rules.cases``).
TESTS = ".test.yaml"
#: Part of every version: rises when the meaning of compiled rules changes.
_ENGINE = b"winnow-rules-1"

_log = logging.getLogger(__name__)

_TECHNIQUE = re.compile(r"t\d{4}(\.\d{3})?")
_TACTIC = re.compile(r"[a-z]+([-_][a-z]+)*")
#: An anchor, an indentation or a run of compact markers that can nest deeply: such a file's structure is checked first.
_SUSPECT = re.compile(r"(?m)(?:^|[\s\[{,:\-])&\S|^[ \-?:]{60}")


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


class Parsed(msgspec.Struct, frozen=True, eq=False):
    """A rule as pySigma has it, not compiled yet."""

    #: The rule's UUID; for a rule without one, a hash of its content.
    id: str
    rule: SigmaRule
    path: str
    text: str


def load(paths: Sequence[Path | str], placeholders: Placeholders) -> Loaded:
    """Read, parse and compile every rule under the paths. Raises FileNotFoundError for a missing path."""
    parsed: list[Parsed] = []
    filters: list[tuple[str, SigmaFilter]] = []
    problems: list[Problem] = []
    digests: list[bytes] = []
    for path in rule_files(paths):
        name = str(path)
        try:
            raw = read_rule_file(path)
            digests.append(hashlib.blake2b(raw, digest_size=16).digest())
            _parse(name, raw.decode("utf-8-sig"), parsed, filters, problems)
        except UnicodeDecodeError:
            problems.append(Problem(name, "file is not UTF-8"))
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 0
            problems.append(Problem(name, _said(f"not valid YAML: {error.problem}"), line=line))
        except (Unsupported, yaml.YAMLError, OSError, ValueError, RecursionError) as error:
            problems.append(Problem(name, _said(error)))
    compiled = _compile_all(parsed, filters, placeholders, problems)
    return Loaded(compiled, problems, _version(digests, placeholders))


def sigma_rules(paths: Sequence[Path | str]) -> list[Parsed]:
    """Return the rules under the paths as pySigma has them, filters applied.

    What cannot be read is left out: ``load`` says why. Raises FileNotFoundError for a missing path.
    """
    parsed: list[Parsed] = []
    filters: list[tuple[str, SigmaFilter]] = []
    for path in rule_files(paths):
        try:
            _parse(str(path), read_rule_file(path).decode("utf-8-sig"), parsed, filters, [])
        except (Unsupported, yaml.YAMLError, OSError, ValueError, RecursionError):
            continue
    found: list[Parsed] = []
    for each in parsed:
        try:
            found.append(msgspec.structs.replace(each, rule=_filtered(each.rule, filters)))
        except Exception:  # pySigma meets malformed rules with all sorts of exceptions; load reports them
            _log.debug("%s: a filter cannot be applied", each.path)
    return found


def read_rule_file(path: Path) -> bytes:
    """Return a rule file's bytes. Raises Unsupported if it is no regular file of at most MAX_FILE bytes, OSError."""
    if path.stat().st_size > MAX_FILE or not path.is_file():
        raise Unsupported(f"not a regular file of at most {MAX_FILE} bytes")
    with path.open("rb") as file:
        raw = file.read(MAX_FILE + 1)
    if len(raw) > MAX_FILE:
        raise Unsupported(f"file is larger than {MAX_FILE} bytes")
    return raw


def rule_files(paths: Sequence[Path | str]) -> Iterator[Path]:
    """Yield the rule files of files and folders, sorted by path; links to folders are not followed.

    Tests of rules (``*.test.yaml``) are no rule files. Other Sigma tools leave them alone too: they read ``*.yml``.
    """
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
                if name.endswith((".yml", ".yaml")) and not name.startswith(".") and not name.endswith(TESTS):
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
    parsed: list[Parsed],
    filters: list[tuple[str, SigmaFilter]],
    problems: list[Problem],
) -> None:
    check_structure(text)
    documents = [document for document in yaml.load_all(text, Loader=SigmaYAMLLoader) if document is not None]
    if not documents:
        raise Unsupported("file holds no rule")
    plain: list[Any] = []
    for document in documents:
        if not isinstance(document, dict):
            problems.append(Problem(path, f"a rule is a mapping, not a {type(document).__name__}"))
        elif "correlation" in document:
            problems.append(_problem(path, text, document, "correlation rules come with a later issue"))
        elif "filter" in document:
            try:
                filters.append((path, SigmaFilter.from_dict(document)))
            except (SigmaError, AttributeError, TypeError, KeyError, ValueError) as error:
                problems.append(_problem(path, text, document, f"filter: {_said(error)}"))
        else:
            plain.append(document)
    # Documents with an action (global, repeat, reset) concern their neighbours; all others stand for themselves.
    together = any("action" in document for document in plain)
    for batch in [plain] if together else [[document] for document in plain]:
        try:
            collection = SigmaCollection.from_dicts(batch, collect_errors=True, policy=POLICY)
        except Exception as error:  # pySigma meets malformed rules with all sorts of exceptions
            kind = "" if isinstance(error, SigmaError | RecursionError) else f"{type(error).__name__}: "
            problems.append(_problem(path, text, batch[0], kind + _said(error)))
            continue
        of_rules = {id(error) for rule in collection.rules for error in rule.errors}
        whole = [error for error in collection.errors if id(error) not in of_rules]
        problems.extend(_problem(path, text, batch[0], _said(error)) for error in whole)
        for rule in collection.rules:
            if isinstance(rule, SigmaRule) and rule.errors:
                reasons = dict.fromkeys(_said(error) for error in rule.errors)
                problems.append(_problem_of(rule, path, text, "; ".join(reasons)))
            elif isinstance(rule, SigmaRule):
                parsed.append(Parsed(str(rule.id) if rule.id else _content_id(rule, text), rule, path, text))


def check_structure(text: str) -> None:
    """Refuse what would harm the YAML loader: deep nesting, and merge keys, whose aliases multiply."""
    if text.count("[") + text.count("{") <= MAX_YAML_DEPTH and not _SUSPECT.search(text):
        return
    depth = 0
    merging = False
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_YAML_DEPTH:
                raise Unsupported(f"YAML is nested deeper than {MAX_YAML_DEPTH}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent) and event.value == "<<" and not event.style:
            merging = True
        if merging and isinstance(event, yaml.AliasEvent):
            raise Unsupported("YAML merge keys (<<) are not accepted")


def _problem(path: str, text: str, document: dict[Any, Any], why: str) -> Problem:
    known, title = str(document.get("id") or "")[:64], str(document.get("title") or "")[:200]
    return Problem(path, why, known, title, _line(text, known, title))


def _problem_of(rule: SigmaRule, path: str, text: str, why: str) -> Problem:
    known, title = str(rule.id or ""), str(rule.title or "")[:200]
    return Problem(path, why if len(why) <= MAX_PROBLEM else why[: MAX_PROBLEM - 1] + "…", known, title,
                   _line(text, known, title))  # fmt: skip


def _line(text: str, *marks: str) -> int:
    """Return the line, from 1, where a rule's id or title stands; 0 if neither is found."""
    for mark in marks:
        at = text.find(mark) if mark else -1
        if at >= 0:
            return text.count("\n", 0, at) + 1
    return 0


# ---------------------------------------------------------------------------------------------------------- Compiling


def _compile_all(
    parsed: list[Parsed], filters: list[tuple[str, SigmaFilter]], placeholders: Placeholders, problems: list[Problem]
) -> list[Compiled]:
    compiled: list[Compiled] = []
    owners: dict[str, str] = {}
    for each in parsed:
        rule = each.rule
        try:
            rule = _filtered(rule, filters)
            node = compile_rule(rule, placeholders)
            described = _describe(rule, each)
            if described.id in owners:
                raise Unsupported(f"has the id of a rule in {owners[described.id]}")
            compiled.append(Compiled(described, node, tuple(node.clauses())))
            owners[described.id] = each.path
        except (Unsupported, SigmaError, RecursionError) as error:
            problems.append(_problem_of(rule, each.path, each.text, _said(error)))
        except Exception as error:  # pySigma meets malformed rules with all sorts of exceptions
            problems.append(_problem_of(rule, each.path, each.text, f"{type(error).__name__}: {_said(error)}"))
    return compiled


def _filtered(rule: SigmaRule, filters: list[tuple[str, SigmaFilter]]) -> SigmaRule:
    for _, applied in filters:
        filtered = applied.apply_on_rule(rule)
        if isinstance(filtered, SigmaRule):
            rule = filtered
    return rule


def _describe(rule: SigmaRule, parsed: Parsed) -> Rule:
    names = [tag.name.lower() for tag in rule.tags if tag.namespace == "attack"]
    return Rule(
        id=parsed.id,
        title=rule.title,
        level=Level[rule.level.name.lower()] if rule.level else Level.medium,
        status=rule.status.name.lower() if rule.status else "",
        logsource=LogSource(rule.logsource.product or "", rule.logsource.category or "", rule.logsource.service or ""),
        techniques=tuple(dict.fromkeys(name.upper() for name in names if _TECHNIQUE.fullmatch(name))),
        tactics=tuple(dict.fromkeys(name.replace("_", "-") for name in names if _TACTIC.fullmatch(name))),
        path=parsed.path,
        description=rule.description or "",
        falsepositives=tuple(str(each) for each in rule.falsepositives),
        fields=fields_of(rule),
    )


def _content_id(rule: SigmaRule, text: str) -> str:
    # What the author wrote, before filters and parsing: pySigma's objects have no text that stays the same.
    try:
        written = [rule.title, rule.logsource.to_dict(), rule.detection.to_dict()]
        content = msgspec.json.encode(written, order="sorted")
    except Exception:  # pySigma meets malformed rules with all sorts of exceptions
        content = text.encode("utf-8", "replace")
    return "sha-" + hashlib.blake2b(content, digest_size=10).hexdigest()
