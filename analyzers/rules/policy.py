"""What is handed to pySigma's parser: which regular expressions we can run, and how much modifiers may make."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import re2  # type: ignore[import-untyped]
from sigma.exceptions import SigmaValueError
from sigma.policy import SigmaPolicy
from sigma.policy.regex_engine import RegexEngine, RegexPattern

from analyzers.rules.regexes import linear_pattern
from analyzers.rules.rule import Placeholders

#: What one file's values may become by their modifiers: values, and characters of all together.
MAX_VALUES = 50_000
MAX_CHARACTERS = 4_000_000


class Engine(RegexEngine):
    """Tells pySigma which patterns we can compile."""

    def compile(self, pattern: str, flags: int = 0) -> RegexPattern:
        """Compile by RE2, or by ``re`` what RE2 refuses; the rule's own search function is made later."""
        try:
            compiled: RegexPattern = linear_pattern(pattern, re.RegexFlag(flags))
        except re2.error:
            return re.compile(pattern, flags)  # type: ignore[return-value]
        return compiled

    @property
    def error(self) -> type[Exception]:
        """Return what ``compile`` raises."""
        return re.error


class Budget:
    """How much the modifiers of one file may still make."""

    def __init__(self) -> None:
        self.values = MAX_VALUES
        self.characters = MAX_CHARACTERS

    def spend(self, values: int, characters: int) -> None:
        """Take from the budget. Raises SigmaValueError when nothing is left."""
        self.values -= values
        self.characters -= characters
        if self.values < 0 or self.characters < 0:
            raise SigmaValueError(
                f"modifiers make more than {MAX_VALUES} values or {MAX_CHARACTERS} characters of the rule's values"
            )


@dataclass
class Policy(SigmaPolicy):
    """What our modifiers need to know, handed to them through pySigma."""

    regex_engine: Engine = field(default_factory=Engine)
    placeholders: Placeholders = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
