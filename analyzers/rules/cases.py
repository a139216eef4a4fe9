"""Tests that rules carry: beside ``foo.yml`` a file ``foo.test.yaml`` with events that it must and must not match.

    match:
      - fields: {Image: 'C:\\Windows\\System32\\whoami.exe', User: 'NT AUTHORITY\\SYSTEM'}
    no_match:
      - raw: '<86>Jan  8 10:00:00 web-1 sshd[7]: Accepted publickey for root from 192.0.2.4 port 40112 ssh2'
        format: syslog
        why: a key is no password

``fields`` are named as the rule names them and stand for an event of the rule's log source. ``raw`` is a line as it
is recorded, of a ``format`` or sniffed; it goes the whole way, through decoder and log source. ``why`` is for people.
A file that holds several rules needs ``rule``, an id or title, in each case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from analyzers.rules import finding
from analyzers.rules.bounds import documents
from analyzers.rules.compiled import Compiled
from analyzers.rules.explanation import Explanation, explain, explain_fields, shown
from analyzers.rules.loading import TESTS, read_rule_file, rule_files
from analyzers.rules.rule import Placeholders, Unsupported
from analyzers.rules.ruleset import RuleSet
from analyzers.rules.view import Spellings, View
from state.events import Event, Fields

#: Cases in one file.
MAX_CASES = 10_000
_KEYS = {"fields", "raw", "format", "rule", "why"}


class Case(msgspec.Struct, frozen=True):
    """One event, and whether the rule must match it."""

    path: str
    #: Line in the file, from 1.
    line: int
    expected: bool
    #: Fields as the rule names them; None if the case is a raw line.
    fields: Fields | None = None
    raw: bytes = b""
    format: str = "auto"
    #: Id or title of the rule; empty where its file has only one.
    rule: str = ""
    why: str = ""


class Failure(msgspec.Struct, frozen=True):
    """A case that did not come out as it must, or a file of tests that cannot be run."""

    path: str
    #: 0 for the whole file.
    line: int
    said: str
    why: str = ""
    #: What the rule made of the event, where it made anything of it.
    explanation: Explanation | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What running the tests of a folder came to."""

    #: Cases that were run, the files that they stand in, and the rules that have any.
    cases: int
    files: int
    rules: int
    failures: tuple[Failure, ...]


#: Decodes one raw line by a format: the event, or why there is none.
Decode = Callable[[bytes, str], Event | str]


def run(
    paths: Sequence[Path],
    compiled: Sequence[Compiled],
    placeholders: Placeholders,
    decode: Decode,
    fields: Callable[[Event], Fields],
) -> Outcome:
    """Run the tests beside the rules of these paths; ``compiled`` are the rules in force among them."""
    by_path: dict[str, list[Compiled]] = {}
    for each in compiled:
        by_path.setdefault(each.rule.path, []).append(each)
    failures: list[Failure] = []
    tested: set[str] = set()
    cases = files = 0
    for path in test_files(paths):
        files += 1
        try:
            found = read(path)
        except (Unsupported, OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            mark = getattr(error, "problem_mark", None)
            said = f"cannot be read as tests: {' '.join(str(error).split())[:300]}"
            failures.append(Failure(str(path), mark.line + 1 if mark else 0, said))
            continue
        stem = str(path).removesuffix(TESTS)
        rules = [each for suffix in (".yml", ".yaml") for each in by_path.get(stem + suffix, ())]
        if not rules:
            failures.append(Failure(str(path), 0, f"no rule in force in {Path(stem).name}.yml beside it"))
            continue
        for case in found:
            cases += 1
            chosen = [each for each in rules if case.rule.casefold() in ("", each.rule.id, each.rule.title.casefold())]
            if len(chosen) != 1:
                said = f"`rule` must name one of the {len(rules)} rules in force in the file"
                failures.append(Failure(case.path, case.line, said))
                continue
            tested.add(chosen[0].rule.id)
            failure = _run(case, chosen[0], paths, placeholders, decode, fields)
            if failure is not None:
                failures.append(failure)
    return Outcome(cases, files, len(tested), tuple(failures))


def test_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files of tests beside the rules: all in a folder, of a rule file the one that is its own."""
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found.update(dict.fromkeys(sorted(p for p in path.rglob(f"*{TESTS}") if not p.name.startswith("."))))
        else:
            own = path.with_name(path.stem + TESTS)
            found.update({own: None} if own.is_file() else {})
    return list(found)


def _run(
    case: Case,
    each: Compiled,
    paths: Sequence[Path],
    placeholders: Placeholders,
    decode: Decode,
    fields: Callable[[Event], Fields],
) -> Failure | None:
    rule = each.rule
    if case.fields is not None:
        spellings = Spellings(rule.fields)
        spellings.observe(case.fields)
        matched = each.node.match(View(case.fields, spellings, {}))
        event = None
    else:
        decoded = decode(case.raw, case.format)
        if isinstance(decoded, str):
            return Failure(case.path, case.line, f"the line is no event: {shown(decoded)}", case.why)
        event = decoded
        rules = RuleSet.of([each], [])
        matched = bool(rules.match_batch([event], fields))
        if rules.failures:
            return Failure(case.path, case.line, "the event's fields cannot be read", case.why)
    if matched is case.expected:
        return None
    said = f"{shown(rule.title)} must {'' if case.expected else 'not '}match, and {'does' if matched else 'does not'}"
    try:
        files = list(dict.fromkeys([Path(rule.path), *finding.filter_files(paths)]))
        condition = finding.condition(rule, files, placeholders)
    except Exception as error:  # the file may have changed since; what failed is said all the same
        return Failure(case.path, case.line, f"{said} ({type(error).__name__}: no explanation)", case.why)
    explanation = (
        explain(rule, condition, event, fields(event))
        if event is not None
        else explain_fields(rule, condition, case.fields or {})
    )
    return Failure(case.path, case.line, said, case.why, explanation)


# ------------------------------------------------------------------------------------------------------------ Reading


def read(path: Path) -> list[Case]:
    """Return the cases of a file. Raises Unsupported with the reason, OSError, ValueError, a YAMLError."""
    text = read_rule_file(path).decode("utf-8-sig")
    for _, document in documents(text):
        if isinstance(document, Unsupported):
            raise document
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.CSafeLoader)):
        raise Unsupported("aliases (*name) are not accepted")
    loader = yaml.CSafeLoader(text)
    try:
        node = loader.get_single_node()
        data = loader.construct_document(node) if node is not None else None
    finally:
        loader.dispose()
    if node is None or not isinstance(data, dict) or not data or not data.keys() <= {"match", "no_match"}:
        raise Unsupported("tests are a mapping of the lists `match` and `no_match`")
    found: list[Case] = []
    # In the order of the file, so that each case meets the line that it stands in.
    for key_node, list_node in node.value:
        key = key_node.value
        cases = data[key] or []
        if not isinstance(cases, list):
            raise Unsupported(f"line {key_node.start_mark.line + 1}: `{key}` is a list of cases")
        for case, case_node in zip(cases, list_node.value if cases else (), strict=True):
            found.append(_case(path, case_node.start_mark.line + 1, key == "match", case))
    if not found:
        raise Unsupported("there is no case in it")
    if len(found) > MAX_CASES:
        raise Unsupported(f"more than {MAX_CASES:,} cases")
    return found


def _case(path: Path, line: int, expected: bool, case: Any) -> Case:
    if not isinstance(case, dict) or not case.keys() <= _KEYS or ("fields" in case) == ("raw" in case):
        raise Unsupported(f"line {line}: a case has `fields` or `raw`, and may have `format`, `rule`, `why`")
    texts = {name: case.get(name, "") for name in ("raw", "format", "rule", "why")}
    for name, value in texts.items():
        if not isinstance(value, str):
            raise Unsupported(f"line {line}: `{name}` is a text: put it in quotes")
    if "fields" in case:
        if "format" in case:
            raise Unsupported(f"line {line}: `format` belongs to `raw`")
        fields = case["fields"]
        if not isinstance(fields, dict) or not fields:
            raise Unsupported(f"line {line}: `fields` is a mapping of field names to values")
        _check_values(fields, line)
        return Case(str(path), line, expected, fields, rule=texts["rule"], why=texts["why"])
    raw = texts["raw"].rstrip("\r\n").encode("utf-8")
    return Case(str(path), line, expected, None, raw, texts["format"] or "auto", texts["rule"], texts["why"])


def _check_values(value: object, line: int) -> None:
    """Refuse what YAML makes of a text without quotes and no event can hold: a date."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise Unsupported(f"line {line}: a field name is a text: put {name!r} in quotes")
            _check_values(inner, line)
    elif isinstance(value, list):
        for inner in value:
            _check_values(inner, line)
    elif value is not None and not isinstance(value, str | int | float | bool):
        raise Unsupported(f"line {line}: {value} is a {type(value).__name__}: put it in quotes")


def untested(paths: Sequence[Path]) -> int:
    """Return how many rule files have no file of tests beside them."""
    tests = {str(path).removesuffix(TESTS) for path in test_files(paths)}
    return sum(str(path.with_suffix("")) not in tests for path in rule_files(paths))
