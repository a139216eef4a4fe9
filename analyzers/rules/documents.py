"""Rules as documents: what a folder holds by id, and how two folders differ. Nothing is compiled."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import yaml

from analyzers.rules.bounds import documents
from analyzers.rules.loading import read_rule_file, rule_files
from analyzers.rules.rule import Unsupported

#: What a document other than a plain rule may hold.
_OTHERS = ("correlation", "filter")


class Document(msgspec.Struct, frozen=True):
    """One rule as it is written."""

    #: The rule's id; of one without an id its title, or its file and place.
    key: str
    title: str
    path: str
    #: Hash of the whole rule, and of what decides whether it matches: log source and detection.
    content: str
    detection: str


class Documents(msgspec.Struct, frozen=True):
    """The rules of some folders."""

    rules: dict[str, Document]
    #: Hash of all filters, which change what other rules match; empty if there is none.
    filters: str
    #: Files that hold filters.
    filter_paths: tuple[str, ...]
    #: Keys that more than one rule has; the first counts.
    repeated: tuple[str, ...]
    #: Files that cannot be read as rules.
    unreadable: tuple[str, ...]


class _Entry(msgspec.Struct, frozen=True):
    id: str
    title: str
    content: str
    detection: str
    is_filter: bool


class Changes(msgspec.Struct, frozen=True):
    """How a set of rules differs from an older one; each list by title."""

    new: tuple[Document, ...]
    removed: tuple[Document, ...]
    #: Rules whose log source or detection differs.
    changed: tuple[Document, ...]
    #: Rules that match the same, and differ otherwise: level, title, tags, description.
    reworded: tuple[Document, ...]
    unchanged: int


def read(paths: Sequence[Path]) -> Documents:
    """Return the rules under the paths. Raises FileNotFoundError for a path that does not exist."""
    rules: dict[str, Document] = {}
    filters: list[str] = []
    filter_paths: list[str] = []
    repeated: dict[str, None] = {}
    unreadable: list[str] = []
    for path in rule_files(paths):
        try:
            entries = _entries(read_rule_file(path).decode("utf-8-sig"))
        except (Unsupported, yaml.YAMLError, OSError, ValueError, RecursionError):
            unreadable.append(str(path))
            continue
        for place, entry in enumerate(entries):
            if entry.is_filter:
                filters.append(entry.content)
                filter_paths.append(str(path))
                continue
            key = entry.id or entry.title or f"{path.name}:{place}"
            if key in rules:
                repeated[key] = None
            else:
                rules[key] = Document(key, entry.title, str(path), entry.content, entry.detection)
    return Documents(
        rules,
        _hash(",".join(sorted(filters))) if filters else "",
        tuple(dict.fromkeys(filter_paths)),
        tuple(repeated),
        tuple(unreadable),
    )


def differences(old: Documents, new: Documents) -> Changes:
    """Return how the new set differs from the old one. A filter that changed changes no document."""
    both = [(old.rules[key], rule) for key, rule in new.rules.items() if key in old.rules]
    changed = [rule for before, rule in both if before.detection != rule.detection]
    reworded = [rule for before, rule in both if before.detection == rule.detection and before.content != rule.content]
    return Changes(
        new=_sorted(rule for key, rule in new.rules.items() if key not in old.rules),
        removed=_sorted(rule for key, rule in old.rules.items() if key not in new.rules),
        changed=_sorted(changed),
        reworded=_sorted(reworded),
        unchanged=len(both) - len(changed) - len(reworded),
    )


def _sorted(rules: Any) -> tuple[Document, ...]:
    return tuple(sorted(rules, key=lambda rule: (rule.title, rule.key)))


# Two folders that are compared hold mostly the same texts, and YAML is slow to read.
@lru_cache(maxsize=8_192)
def _entries(text: str) -> tuple[_Entry, ...]:
    """Return the rules and filters of a file. Raises what reading YAML does."""
    found = [each for _, each in documents(text)]
    for each in found:
        if isinstance(each, Unsupported):
            raise each
    mappings = [each for each in found if isinstance(each, dict)]
    # Documents with an action concern their neighbours: then the whole file says what each of its rules is.
    whole = _hash(text) if any("action" in each for each in mappings) else ""
    return tuple(
        _entry(each, whole, text) for each in mappings if any(word in each for word in ("detection", *_OTHERS))
    )


def _entry(each: dict[Any, Any], whole: str, text: str) -> _Entry:
    deciding = {name: each.get(name) for name in ("logsource", "detection", *_OTHERS)}
    try:
        content, detection = whole or _hash(each), whole or _hash(deciding)
    except (TypeError, ValueError, RecursionError):  # keys or values that JSON has no word for
        content = detection = _hash(text)
    return _Entry(
        id=str(each.get("id") or "").strip()[:64].lower(),
        title=str(each.get("title") or "")[:200],
        content=content,
        detection=detection,
        is_filter="filter" in each,
    )


def _hash(value: object) -> str:
    raw = value.encode("utf-8", "replace") if isinstance(value, str) else msgspec.json.encode(value, order="sorted")
    return hashlib.blake2b(raw, digest_size=12).hexdigest()
