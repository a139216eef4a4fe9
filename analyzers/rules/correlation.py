"""Sigma correlation rules as data: what they count, of which matches, grouped by what. Needs no pySigma."""

from __future__ import annotations

from typing import Literal

import msgspec

from analyzers.rules.rule import Rule

Type = Literal[
    "event_count",
    "value_count",
    "value_sum",
    "value_avg",
    "value_percentile",
    "value_median",
    "temporal",
    "temporal_ordered",
]
#: Numbers are kept as whole multiples of this part, so that sums do not depend on their order.
SCALE = 1_000_000
#: Levels of a chain: a correlation of rules, one of such correlations, and one of those.
MAX_DEPTH = 3
#: Events, or different values, of one group that are told apart in one window.
MAX_WINDOW = 10_000


class Comparison(msgspec.Struct, frozen=True):
    """One comparison of a condition."""

    op: Literal["gt", "gte", "lt", "lte", "eq", "neq"]
    #: What is compared with, times SCALE.
    number: int

    def holds(self, value: int, of: int = 1) -> bool:
        """Say whether ``value / of`` meets the comparison; the value is times SCALE, ``of`` is positive.

        >>> Comparison("gte", 3 * SCALE).holds(6 * SCALE, 2), Comparison("lt", 3 * SCALE).holds(6 * SCALE, 2)
        (True, False)
        """
        other = self.number * of
        match self.op:
            case "gt":
                return value > other
            case "gte":
                return value >= other
            case "lt":
                return value < other
            case "lte":
                return value <= other
            case "eq":
                return value == other
        return value != other

    def __str__(self) -> str:
        """Return it in words: ``at least 10``."""
        words = {
            "gt": "more than",
            "gte": "at least",
            "lt": "less than",
            "lte": "at most",
            "eq": "",
            "neq": "other than",
        }
        return f"{words[self.op]} {number(self.number)}".strip()


class Source(msgspec.Struct, frozen=True):
    """A rule that a correlation refers to."""

    #: ``r:`` and the id of a rule, or ``c:`` and the key of a correlation.
    of: str
    title: str


class Drawn(msgspec.Struct, frozen=True):
    """A correlation as it is written: what it refers to is not looked up yet."""

    rule: Rule
    type: Type
    #: Ids or names of rules.
    refs: tuple[str, ...]
    group_by: tuple[str, ...]
    #: Alias, to field by id or name of a rule.
    aliases: dict[str, dict[str, str]]
    #: µs, and as it is written.
    timespan: int
    span: str
    tests: tuple[Comparison, ...]
    #: The fields whose values are counted together; of all other types one, or none.
    fields: tuple[str, ...] = ()
    percentile: int = 50
    generate: bool = False


class Correlation(msgspec.Struct, frozen=True, eq=False):
    """A correlation in force."""

    rule: Rule
    type: Type
    sources: tuple[Source, ...]
    group_by: tuple[str, ...]
    #: Alias, to field by the ``of`` of a source.
    aliases: dict[str, dict[str, str]]
    #: µs, and as it is written.
    timespan: int
    span: str
    tests: tuple[Comparison, ...]
    fields: tuple[str, ...]
    percentile: int
    #: 1: it refers to rules only.
    depth: int
    #: Hash of all that decides when it holds, the rules that it refers to among it: state goes on under the same key.
    key: str
    #: Whether what it refers to says what it finds too.
    generate: bool = False
    #: Whether it is only referred to, and says nothing itself.
    silent: bool = False
    #: Hash of all of it.
    digest: str = ""

    @property
    def least(self) -> int:
        """Return how many events, values or rules it takes at least, if only a least number is asked for; else 0."""
        if len(self.tests) != 1 or self.type not in ("event_count", "value_count", "temporal", "temporal_ordered"):
            return 0
        test = self.tests[0]
        if test.op == "gte":
            return max(-(-test.number // SCALE), 1)
        return max(test.number // SCALE + 1, 1) if test.op == "gt" else 0

    @property
    def whole(self) -> bool:
        """Say whether it can be told only of a whole window, for further events may unmake what holds."""
        return not self.least and not (self.type == "value_sum" and {test.op for test in self.tests} <= {"gt", "gte"})

    def field_of(self, name: str, of: str, base: str) -> str:
        """Return the field that a name means in an event that came by a source and met a rule (``r:…``)."""
        fields = self.aliases.get(name)
        if fields is None:
            return name
        return fields.get(of) or fields.get(base) or name


def number(scaled: int) -> str:
    """Return a number for people.

    >>> number(1_500 * SCALE), number(SCALE // 2)
    ('1,500', '0.5')
    """
    return f"{scaled // SCALE:,}" if scaled % SCALE == 0 else f"{scaled / SCALE:,g}"
