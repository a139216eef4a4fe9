"""How data are shown to a model: escaped, between tags that no data can close, cut, and coarse where that is enough."""

from __future__ import annotations

import json
import re
from typing import Any

#: What no text may say by itself: the beginning of a marker; and what counts as printable and cannot be seen.
_ESCAPED = re.compile(
    r"[<>]|\[(?=\[|/?[A-Z_]{3,24}\]|\s*##)"
    "|[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def coarse(value: float) -> str:
    """Return how much it is, in words.

    >>> [coarse(n) for n in (0, 0.4, 3, 40, 12_345)]
    ['none', 'under 1', '1 to 9', '10 to 99', '10000 to 99999']
    """
    if value <= 0:
        return "none"
    # What is counted here decays: a second later one is a little less.
    if value < 0.5:
        return "under 1"
    power = 10 ** (len(str(max(1, round(value)))) - 1)
    return f"{power} to {power * 10 - 1}"


def cut(text: str, longest: int) -> str:
    """Return a text of about ``longest`` characters: its head and tail, and how much is missing between."""
    if len(text) <= longest:
        return text
    tail = longest // 4
    return f"{text[: longest - tail]} …{len(text) - longest} characters cut… {text[-tail:]}"


def block(marker: str, part: Any) -> str:
    """Return data as JSON between tags, with nothing in it that could end them."""
    text = _ESCAPED.sub(_escape, json.dumps(part, ensure_ascii=False, separators=(", ", ": ")))
    if not text.isprintable():
        text = "".join(c if c.isprintable() else _code(c) for c in text)
    return f"<data-{marker}>\n{text}\n</data-{marker}>"


def _escape(found: re.Match[str]) -> str:
    return _code(found[0])


def _code(character: str) -> str:
    """Return the escape by which JSON writes a character, a surrogate pair where it needs one."""
    raw = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{int.from_bytes(raw[at : at + 2], 'big'):04x}" for at in range(0, len(raw), 2))


def sparse(part: Any) -> Any:
    """Return a part without what says nothing, or the same twice: a small model reads slowly."""
    if isinstance(part, dict):
        kept = {name: sparse(value) for name, value in part.items() if name != "rule" or value != part.get("name")}
        return {name: value for name, value in kept.items() if value not in (None, "", "none", 0.0, [], {})}
    return [sparse(value) for value in part] if isinstance(part, list) else part
