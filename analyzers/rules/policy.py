"""Tells pySigma's parser which regular expressions we can run."""

from __future__ import annotations

import re

import re2  # type: ignore[import-untyped]
from sigma.policy import SigmaPolicy
from sigma.policy.regex_engine import RegexEngine, RegexPattern

from analyzers.rules.regexes import linear_pattern


class _Engine(RegexEngine):
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


#: Hands our choice of engine to pySigma's parser.
POLICY = SigmaPolicy(regex_engine=_Engine())
