"""Hostile text made safe to look at: what cannot be seen, or would rearrange what can, is written as an escape."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

#: Longest raw event that is shown, characters; the rest is counted.
MAX_SHOWN = 20_000
#: Control, format (bidirectional overrides among them), surrogate, private and unassigned characters; line separators.
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def visible(text: str, *, lines: bool = False) -> str:
    r"""Return ``text`` with every character that does not show as ``\uXXXX``; line feeds stay if ``lines``.

    >>> visible("a\u202eb\n")
    'a\\u202eb\\u000a'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if _shows(c) or (lines and c == "\n") else _escape(c) for c in text)


def pretty(raw: bytes) -> str:
    """Return an event's raw bytes as text for people: JSON indented, anything else as it is.

    Bytes that are no UTF-8 show as ``\\xNN``. JSON with a repeated key stays as it is, since indenting it would hide
    all but one of the values.
    """
    text = raw.decode("utf-8", errors="backslashreplace")
    try:
        parsed = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        shown = text
    else:
        shown = json.dumps(parsed, indent=2, ensure_ascii=False) if isinstance(parsed, dict | list) else text
    more = len(shown) - MAX_SHOWN
    return visible(shown[:MAX_SHOWN], lines=True) + (f"\n… {more:,} more characters" if more > 0 else "")


def count(number: float) -> str:
    """Return a number short enough for a tile.

    >>> [count(n) for n in (7, 12_345, 1_234_567, 98_700_000_000)]
    ['7', '12,345', '1.23 M', '98.7 G']
    """
    for size, unit in ((1e9, "G"), (1e6, "M")):
        if number >= size:
            figure = number / size
            return f"{figure:.{2 if figure < 10 else 1 if figure < 100 else 0}f} {unit}"
    return f"{number:,.0f}"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("repeated key")
    return found


def _shows(character: str) -> bool:
    return unicodedata.category(character) not in _UNSEEN


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
