"""What keeps an event from meeting a rule: the tests whose outcome would have to be another, each in one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from analyzers.rules.explanation import Part


class Gap(msgspec.Struct, frozen=True):
    """One test whose outcome keeps the event from meeting the rule."""

    #: The selection that it stands in.
    selection: str
    #: One line: the field, its value, what was wanted.
    said: str
    #: Whether it is one of several, of which one would do.
    alternative: bool


def gaps_of(tree: Part) -> Iterator[Gap]:
    """Yield the tests that keep a condition from being met; none if it is."""
    return _gaps(tree, True, "", False)


def _gaps(part: Part, wanted: bool, selection: str, alternative: bool) -> Iterator[Gap]:
    """Yield the tests that keep a part from being what is wanted of it."""
    if part.met is wanted:
        return
    if part.kind == "selection":
        # Of several tests in a selection all are needed; to undo one that is met, one failing test would do.
        several = alternative or (not wanted and len(part.parts) > 1)
        for inner in part.parts:
            yield from _gaps(inner, wanted, part.text, several)
    elif part.kind in ("and", "or"):
        one_will_do = (part.kind == "or") is wanted and len(part.parts) > 1
        for inner in part.parts:
            yield from _gaps(inner, wanted, selection, alternative or one_will_do)
    elif part.kind == "not":
        yield from _gaps(part.parts[0], not wanted, selection, alternative)
    else:
        yield Gap(selection, f"{selection}: {_said(part, wanted)}", alternative)


def _said(part: Part, wanted: bool) -> str:
    if not wanted:
        by = f" ({part.by.wanted})" if part.by is not None else f" ({wishes(part)})"
        value = f'="{part.by.value}"' if part.by is not None else f"={or_more(part.values, 0)}" if part.values else ""
        return f"{part.text}{value}{by}, which the rule excludes"
    if part.kind == "keywords":
        return f"no value of any field {wishes(part)}"
    if part.kind in ("field", "reference") and not part.present:
        return f"no field {part.text}; wanted: {wishes(part)}"
    values = or_more(part.values, part.more_values) or ("without a text" if part.present else "null, or no such field")
    return f"{part.text} is {values}; wanted: {wishes(part)}"


def wishes(part: Part) -> str:
    """Return what a test wants as one text; a word that all alternatives begin with is said once."""
    words = {text.partition(" ")[0] for text in part.wanted}
    if len(part.wanted) < 2 or len(words) > 1:
        return or_more(part.wanted, part.more_wanted)
    return f"{words.pop()} {or_more([text.partition(' ')[2] for text in part.wanted], part.more_wanted)}"


def or_more(texts: Sequence[str], more: int) -> str:
    """Return alternatives as one text.

    >>> or_more(["is a", "is b"], 3)
    'is a | is b | … 3 more'
    """
    return " | ".join([*texts, *([f"… {more} more"] if more else [])])
