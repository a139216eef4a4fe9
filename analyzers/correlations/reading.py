"""What a match says to a correlation: its group and its value. Text is compared case-folded, as in rules."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from functools import lru_cache

import msgspec

from analyzers.correlations.hits import Cite, Matched, first_cites
from analyzers.rules.correlation import SCALE, Correlation

#: Largest number that is counted.
MAX_NUMBER = 10**12
_NUMBERS = ("value_sum", "value_avg", "value_percentile", "value_median")


class Input(msgspec.Struct, frozen=True, gc=False):
    """A match that a correlation may refer to: of a rule, or of another correlation, by the event that completed it."""

    #: ``r:`` and the rule's id, or ``c:`` and the correlation's key.
    of: str
    matched: Matched
    host: str
    cites: tuple[Cite, ...]
    #: Whether it began to hold, and not only holds still.
    fired: bool = True


class Fed(msgspec.Struct, gc=False):
    """All that one event brings to one group."""

    #: Values of the group as the event has them.
    shown: tuple[str, ...]
    first: Input
    #: Places of the sources that it met.
    places: list[int]
    value: str
    number: int


def read(correlation: Correlation, inputs: list[Input]) -> tuple[dict[tuple[str, ...], Fed], int]:
    """Return what some matches of one event bring to each group, and how many lack a field or have no number there."""
    fed: dict[tuple[str, ...], Fed] = {}
    lacking = 0
    temporal = correlation.type in ("temporal", "temporal_ordered")
    for each in inputs:
        places = [place for place, source in enumerate(correlation.sources) if source.of == each.of]
        if not places or not (each.fired or temporal):
            continue
        base, values = f"r:{each.matched.rule}", each.matched.values
        shown = tuple(values.get(correlation.field_of(name, each.of, base), "") for name in correlation.group_by)
        counted = [values.get(correlation.field_of(name, each.of, base), "") for name in correlation.fields]
        number = number_of(counted[0]) if correlation.type in _NUMBERS else 0
        if not all(shown) or not all(counted) or number is None:
            lacking += 1
            continue
        name = tuple(value.casefold() for value in shown)
        known = fed.get(name)
        if known is None:
            fed[name] = Fed(shown, each, places, "\0".join(counted).casefold(), number)
        else:
            known.places += places
            host = each.host if each.host == known.first.host else ""
            cites = first_cites([*known.first.cites, *each.cites])
            known.first = msgspec.structs.replace(known.first, host=host, cites=cites)
    return fed, lacking


@lru_cache(maxsize=4_096)
def number_of(text: str) -> int | None:
    """Return a number times SCALE; None if the text is none, or too large.

    >>> number_of("1.5"), number_of("nan"), number_of("alice")
    (1500000, None, None)
    """
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        return None
    if not value.is_finite() or abs(value) > MAX_NUMBER:
        return None
    return math.floor(value * SCALE + Decimal("0.5"))
