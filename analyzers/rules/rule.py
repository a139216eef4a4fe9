"""The words of the rule lane: a rule, what is wrong with one, and what one says about an event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from state.alerts import Level

#: Values by placeholder name, for the ``expand`` modifier.
Placeholders = Mapping[str, Sequence[str]]


class LogSource(msgspec.Struct, frozen=True):
    """Sigma's log source: which events a rule is about. Empty parts do not restrict."""

    product: str = ""
    category: str = ""
    service: str = ""

    def __str__(self) -> str:
        """Return the parts that are set, as ``product=windows service=security``."""
        return " ".join(f"{name}={value}" for name in self.__struct_fields__ if (value := getattr(self, name)))


class Rule(msgspec.Struct, frozen=True, eq=False):
    """One Sigma rule, as people and alerts see it."""

    #: The rule's UUID; for a rule without one, a hash of its content.
    id: str
    title: str
    #: A rule without a level counts as medium.
    level: Level
    #: ``stable``, ``test``, ``experimental``, ``deprecated``, ``unsupported`` or empty.
    status: str
    logsource: LogSource
    #: ATT&CK technique ids (``T1059.001``) and tactic short names (``credential-access``).
    techniques: tuple[str, ...]
    tactics: tuple[str, ...]
    #: File that the rule was read from.
    path: str
    description: str
    falsepositives: tuple[str, ...]
    #: Names of the event fields that the detection reads, as the rule spells them.
    fields: tuple[str, ...]
    #: Line in the file where its id or title stands, from 1; 0 where unknown.
    line: int = 0
    #: The name by which correlations may refer to it; empty if it has none.
    name: str = ""


class Problem(msgspec.Struct, frozen=True):
    """Why a rule, or a whole file, is not in force."""

    path: str
    reason: str
    #: Id and title of the rule, as far as they could be read.
    id: str = ""
    title: str = ""
    #: Line in the file, from 1; 0 where unknown.
    line: int = 0

    def __str__(self) -> str:
        """Return ``path:line: title (id): reason`` without the parts that are unknown."""
        where = f"{self.path}:{self.line}" if self.line else self.path
        name = " ".join(part for part in (self.title, f"({self.id})" if self.id else "") if part)
        return f"{where}: {name}: {self.reason}" if name else f"{where}: {self.reason}"


class Match(msgspec.Struct, frozen=True):
    """One rule met by one event of a batch."""

    #: Place of the event in the batch, from 0.
    index: int
    rule: Rule
    #: Fields and values that met the rule: one line, at most MAX_REASON characters, log data escaped.
    reason: str


class Unsupported(ValueError):
    """A rule that cannot be compiled; the message is the reason that people read."""
