"""Shared instances of Kind: one object for every combination that occurs."""

from __future__ import annotations

import re

from state.events import Kind

#: Combinations that are shared. Past it (only hostile input gets there) a kind is made anew each time: still equal, no
#: longer the same object, so that memory stays bounded.
MAX_KINDS = 16_384

_kinds: dict[tuple[str, str, str, str, str, int], Kind] = {}
_slugs: dict[str, str] = {}


def kind(source: str, category: str, action: str, outcome: str = "unknown", channel: str = "", code: int = 0) -> Kind:
    """Return the one instance of this kind."""
    key = (source, category, action, outcome, channel, code)
    found = _kinds.get(key)
    if found is None:
        found = Kind(source, category, action, outcome, channel, code)
        if len(_kinds) < MAX_KINDS:
            found = _kinds.setdefault(key, found)
    return found


def slug(text: str, default: str = "other", also: str = "") -> str:
    """Return the text as a word of a source type or action: lower case, other characters as one hyphen, at most 48.

    >>> slug("Microsoft-Windows-WMI-Activity/Operational"), slug(" ")
    ('microsoft-windows-wmi-activity-operational', 'other')
    """
    known = _slugs.get(text) if not also else None
    if known is not None:
        return known
    word = re.sub(rf"[^a-z0-9{re.escape(also)}]+", "-", text[:200].lower()).strip("-")[:48].strip("-") or default
    if not also and default == "other" and len(_slugs) < MAX_KINDS and len(text) <= 200:
        _slugs[text] = word
    return word
