"""Folders of rules as the actions of ``winnow rules`` load them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analyzers.rules import RuleSet
from flows.settings import Settings
from flows.usage import UsageError


def load(paths: Sequence[Path], settings: Settings) -> RuleSet:
    """Return the rules of folders and files. Raises UsageError if there is no such path, or no rule in it."""
    try:
        rules = RuleSet.load(paths, placeholders=settings.rules.placeholders, cache=settings.rules.cache_folder)
    except FileNotFoundError as error:
        raise UsageError(str(error)) from error
    if not rules.rules and not rules.problems:
        raise UsageError(f"{', '.join(map(str, paths))}: no rule found")
    return rules
