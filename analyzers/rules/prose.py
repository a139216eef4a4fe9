"""An explanation for people, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from analyzers.rules.explanation import Explanation, Part, shown
from analyzers.rules.gaps import or_more, wishes


def lines(explanation: Explanation) -> list[str]:
    """Return an explanation for people, line by line: ``[x]`` marks what is met, ``[ ]`` what is not."""
    e = explanation
    said = [
        f"{'match' if e.matched else 'no match'}: {e.title} ({e.rule})",
        f"rule        {shown(e.path, 400)}",
        f"log source  {_mark(e.source.met)} {e.source.logsource or 'any'}: {e.source.said}",
        *(f"condition   {text}" for text in e.conditions),
        "",
        *tree(e.tree),
    ]
    if not e.source.met and e.tree.met:
        said += ["", "The condition is met; the log source alone rules the event out."]
    if e.gaps:
        said += ["", "Missing:", *(f"  {'one of: ' if gap.alternative else ''}{gap.said}" for gap in e.gaps)]
        if e.more_gaps:
            said.append(f"  … {e.more_gaps} more")
    if e.names:
        said += ["", f"Fields of the event: {', '.join(e.names)}"]
    return said


def tree(part: Part, depth: int = 0) -> Iterator[str]:
    """Yield a part of a condition and what is in it, line by line."""
    head = f"{'  ' * depth}{_mark(part.met)} {part.text}"
    if part.kind in ("and", "or", "not", "selection"):
        yield head
        for inner in part.parts:
            yield from tree(inner, depth + 1)
        if part.more_parts:
            yield f"{'  ' * (depth + 1)}    … {part.more_parts} more"
    elif part.by is not None:
        yield f'{head} {part.by.wanted}: "{part.by.value}"'
    else:
        values = or_more(part.values, part.more_values)
        absent = "no such field" if not part.present else "no text"
        seen = f": {values}" if values else "" if part.kind in ("keywords", "constant") else f": {absent}"
        yield f"{head} {wishes(part)}{seen}"


def _mark(met: bool) -> str:
    return "[x]" if met else "[ ]"
