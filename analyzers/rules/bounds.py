"""What a rule file may hold: limits that are checked before pySigma walks what was read. A file may be hostile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml
from sigma.rule import SigmaDetection, SigmaDetectionItem, SigmaDetections
from sigma.rule.base import SigmaYAMLLoader
from sigma.types import SigmaExpansion

from analyzers.rules.rule import Unsupported

#: Deepest nesting of YAML. The C parser overruns its stack at some thousands.
MAX_YAML_DEPTH = 64
#: What a document may come to when its aliases are written out: values, and characters of all of them.
MAX_NODES = 50_000
MAX_CHARACTERS = 2_000_000
#: Documents of a file, and values of all of them.
MAX_DOCUMENTS = 5_000
MAX_FILE_NODES = 100_000
#: Modifiers of one field, and characters of its name with them.
MAX_MODIFIERS = 16
MAX_KEY = 4_096
#: Longest number, characters. A number of sexagesimal places (``1:1:1…``) takes quadratic time.
MAX_NUMBER = 64
#: Conditions of a rule together: characters, nesting of brackets and ``not``, values that they name, counted each time.
MAX_CONDITION = 20_000
MAX_CONDITION_DEPTH = 24
MAX_CONDITION_VALUES = 100_000

#: An anchor, an indentation or a run of compact markers that can nest deeply: such a file's structure is checked first.
_SUSPECT = re.compile(r"(?m)(?:^|[\s\[{,:\-])&\S|^[ \-?:]{60}")


class _Loader(SigmaYAMLLoader):
    """Read YAML as pySigma does, with numbers of bounded length."""

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Return a whole number. Raises YAMLError for one that is too long."""
        if len(node.value) > MAX_NUMBER:
            raise yaml.constructor.ConstructorError(None, None, "number is too long", node.start_mark)
        return super().construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def documents(text: str) -> Iterator[tuple[int, Any]]:
    """Yield a file's documents with the line, from 1, where each begins; for one beyond the limits, why it is.

    Raises Unsupported or YAMLError where the whole file cannot be read.
    """
    _check_structure(text)
    loader = _Loader(text)
    nodes = 0
    try:
        while loader.check_node():
            node = loader.get_node()
            document = loader.construct_document(node) if node is not None else None
            if node is None or document is None:
                continue
            try:
                nodes += _check_document(document)
            except Unsupported as error:
                document = error
            if nodes > MAX_FILE_NODES:
                raise Unsupported(f"file holds more than {MAX_FILE_NODES} values")
            yield node.start_mark.line + 1, document
    finally:
        loader.dispose()


def _check_structure(text: str) -> None:
    """Refuse what would harm the YAML loader: deep nesting, and merge keys, whose aliases multiply."""
    if text.count("\n---") > MAX_DOCUMENTS:
        raise Unsupported(f"file holds more than {MAX_DOCUMENTS} documents")
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


def _check_document(document: Any) -> int:
    """Return a document's number of values with its aliases written out. Raises Unsupported for too many."""
    known: dict[int, tuple[int, int]] = {}
    open_: set[int] = set()

    def size(value: Any) -> tuple[int, int]:
        if not isinstance(value, dict | list):
            return 1, len(value) if isinstance(value, str) else 8
        if id(value) in known:
            return known[id(value)]
        if id(value) in open_:
            raise Unsupported("a YAML alias holds itself")
        open_.add(id(value))
        nodes, characters = 1, 0
        for key, inner in value.items() if isinstance(value, dict) else ((None, each) for each in value):
            if isinstance(key, str):
                if key.count("|") > MAX_MODIFIERS or len(key) > MAX_KEY:
                    raise Unsupported(f"a name has more than {MAX_MODIFIERS} modifiers or {MAX_KEY} characters")
                characters += len(key)
            more, longer = size(inner)
            nodes, characters = nodes + more, characters + longer
        if nodes > MAX_NODES or characters > MAX_CHARACTERS:
            raise Unsupported(
                f"a document holds more than {MAX_NODES} values or {MAX_CHARACTERS} characters, aliases written out"
            )
        open_.discard(id(value))
        known[id(value)] = nodes, characters
        return nodes, characters

    return size(document)[0]


def check_conditions(detections: SigmaDetections) -> None:
    """Refuse conditions that would be slow to parse, or name so much so often that they grow beyond measure."""
    sizes = {name: _values(detection) for name, detection in detections.detections.items()}
    length = values = 0
    for each in detections.parsed_condition:
        condition = each.condition
        if not isinstance(condition, str):
            raise Unsupported("condition is not a text")
        length += len(condition)
        if length > MAX_CONDITION:
            raise Unsupported(f"condition is longer than {MAX_CONDITION} characters")
        if _depth(condition) > MAX_CONDITION_DEPTH:
            raise Unsupported(f"condition is nested deeper than {MAX_CONDITION_DEPTH}")
        for word in re.findall(r"[^\s()]+", condition):
            if word in sizes:
                values += sizes[word]
            elif "*" in word or word == "them":
                values += sum(sizes.values())
            if values > MAX_CONDITION_VALUES:
                raise Unsupported(f"condition names more than {MAX_CONDITION_VALUES} values")


def _depth(condition: str) -> int:
    """Return how deeply brackets and ``not`` nest; every ``not`` since the last operator counts."""
    depth = deepest = denials = 0
    for word in re.findall(r"[()]|[^\s()]+", condition):
        if word == "(":
            depth += 1
        elif word == ")":
            depth -= 1
        denials = denials + 1 if word == "not" else denials if word == "(" else 0
        deepest = max(deepest, depth + denials)
    return deepest


def _values(detection: SigmaDetection | SigmaDetectionItem) -> int:
    if isinstance(detection, SigmaDetectionItem):
        return 1 + sum(_alternatives(value) for value in detection.value)
    return 1 + sum(_values(item) for item in detection.detection_items)


def _alternatives(value: Any) -> int:
    return sum(_alternatives(each) for each in value.values) if isinstance(value, SigmaExpansion) else 1
