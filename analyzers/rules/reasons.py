"""Says in one line why a rule was met."""

from __future__ import annotations

from analyzers.rules.nodes import Evidence

#: Longest reason of a match, characters, and the longest value quoted in it.
MAX_REASON = 600
MAX_QUOTED = 160


def reason(evidence: Evidence) -> str:
    """Return one line, at most MAX_REASON characters, that says which fields and values met a rule.

    >>> reason([("Image", "endswith cmd.exe", "C:\\\\cmd.exe"), ("User", "is null", "")])
    'Image="C:\\\\cmd.exe" (endswith cmd.exe); User (is null)'
    """
    parts: dict[str, None] = {}
    length = 0
    for name, shown, value in evidence:
        quoted = f'="{printable(value)}"' if value else ""
        part = f"{printable(name)}{quoted} ({printable(shown)})"
        parts[part] = None
        length += len(part) + 2
        if length > MAX_REASON:
            break
    text = "; ".join(parts) or "none of the excluded values is present"
    return text if len(text) <= MAX_REASON else text[: MAX_REASON - 1] + "…"


def printable(text: str) -> str:
    """Return a text bounded to MAX_QUOTED characters, with whatever could disturb a line or a screen escaped."""
    cut = text if len(text) <= MAX_QUOTED else text[: MAX_QUOTED - 1] + "…"
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
