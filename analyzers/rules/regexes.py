"""Regular expressions of rules: RE2 where it can, Python's ``re`` where that cannot hang.

RE2 searches in linear time, so a rule cannot stop the stream. What it refuses (look-around, back-references, atomic
groups, repeat counts above 1,000) goes to ``re``, and only if its structure bounds the time: a rule that could take
more than quadratic time is refused by name. Both read ``\\w \\d \\s \\b`` as ASCII, as PCRE does by default, and fold
case by Unicode under the ``i`` flag. ``$`` is the end of the text or before a newline that ends it, as in PCRE.
"""

from __future__ import annotations

import re
import re._constants as sre  # type: ignore[import-not-found]
import re._parser as sre_parser  # type: ignore[import-not-found]
from collections.abc import Callable
from functools import cached_property
from typing import Annotated, Any

import msgspec
import re2  # type: ignore[import-untyped]

from analyzers.rules.patterns import Atom, Test, utf8
from analyzers.rules.rule import Unsupported

#: All flags that a rule can give a pattern.
FLAGS = int(re.IGNORECASE | re.MULTILINE | re.DOTALL)
#: Longest pattern, characters.
MAX_PATTERN = 65_536
#: Characters of a text that a pattern of quadratic time sees; the rest is ignored.
MAX_QUADRATIC = 4_096
#: Longest pattern that is searched for among others, and most repeats in it: Hyperscan unrolls them.
MAX_SEARCHED, MAX_REPEATS = 1_000, 200
#: Escapes that mean the same to Hyperscan in plain ASCII.
_SAME = frozenset("dDwWsSbBAztnr")
#: Shortest literal that is worth a prefilter.
MIN_LITERAL = 3
#: Texts of a pattern that are looked for, at most.
MAX_TEXTS = 6


class Regex(Test, frozen=True, dict=True, omit_defaults=True, tag="re"):
    """A pattern is found in the text."""

    pattern: str
    #: ``re.IGNORECASE``, ``re.MULTILINE``, ``re.DOTALL``.
    flags: Annotated[int, msgspec.Meta(ge=0, le=FLAGS)] = 0
    #: What every match contains, case-folded; empty if nothing is known.
    literal: str = ""

    @cached_property
    def ok(self) -> Callable[[str], bool]:
        """Return the search. Raises Unsupported, with the reason."""
        return compile_pattern(self.pattern, re.RegexFlag(self.flags))

    @property
    def shown(self) -> str:
        """Return the pattern."""
        return f"re {self.pattern}"

    @cached_property
    def necessary(self) -> Atom | None:
        """Return the literal that every match contains."""
        return Atom("contains", self.literal) if self.literal else None

    @cached_property
    def texts(self) -> tuple[tuple[str, bool], ...]:
        """Return texts that every match contains, each with whether it does in just that case."""
        return necessary_texts(self.pattern, re.RegexFlag(self.flags))

    @cached_property
    def sought(self) -> Atom | None:
        """Return the literal, or the pattern itself if it has none and can be searched for among many."""
        if self.necessary is None and searchable(self.pattern):
            return Atom("regex", f"{self.flags}:{self.pattern}")
        return self.necessary


def regex(pattern: str, flags: re.RegexFlag) -> Regex:
    """Return the test that searches a pattern in a text. Raises Unsupported, with the reason."""
    # What cannot run is refused before its literal is looked for.
    Regex(pattern, int(flags)).checked()
    return Regex(pattern, int(flags), necessary_literal(pattern, flags).casefold())


def compile_pattern(pattern: str, flags: re.RegexFlag) -> Callable[[str], bool]:
    """Return a search function that takes linear time, or bounded quadratic time. Raises Unsupported."""
    if len(pattern) > MAX_PATTERN:
        raise Unsupported(f"regular expression is longer than {MAX_PATTERN} characters")
    try:
        linear = linear_pattern(pattern, flags)
    except re2.error as error:
        return _python(pattern, flags, str(error))
    search = linear.search
    if "$" in pattern and (not flags & re.MULTILINE or "(?-m:$)" in pattern):
        # PCRE's $ is before a newline that ends the text, too; RE2's is the very end.
        return lambda text: (
            search(utf8(text)) is not None or (text.endswith("\n") and search(utf8(text[:-1])) is not None)
        )
    return lambda text: search(utf8(text)) is not None


def linear_pattern(pattern: str, flags: re.RegexFlag) -> Any:
    """Compile by RE2. Raises re2.error."""
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    letters = "".join(
        letter for letter, flag in (("i", re.IGNORECASE), ("m", re.MULTILINE), ("s", re.DOTALL)) if flags & flag
    )
    try:
        return re2.compile(f"(?{letters}){pattern}" if letters else pattern, options)
    except UnicodeEncodeError as error:
        raise re2.error("lone surrogate") from error


def _python(pattern: str, flags: re.RegexFlag, refusal: str) -> Callable[[str], bool]:
    if not (flags & re.IGNORECASE) or pattern.isascii():
        flags |= re.ASCII
    try:
        tree = sre_parser.parse(pattern, int(flags))
        order = _order(list(tree))
        compiled = re.compile(pattern, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise Unsupported(f"regular expression does not compile: {error} (RE2: {refusal})") from error
    # An unanchored search starts at every character.
    order += not _anchored(list(tree), flags)
    if order > 2:
        raise Unsupported(
            f"regular expression may take more than quadratic time (RE2 refuses it: {refusal}); "
            "avoid nested or repeated unbounded quantifiers beside look-around and back-references"
        )
    search = compiled.search
    if order < 2:
        return lambda text: search(text) is not None
    return lambda text: search(text, 0, MAX_QUADRATIC) is not None


def _anchored(tree: list[Any], flags: re.RegexFlag) -> bool:
    if not tree or tree[0][0] is not sre.AT:
        return False
    return tree[0][1] is sre.AT_BEGINNING_STRING or (tree[0][1] is sre.AT_BEGINNING and not flags & re.MULTILINE)


#: An order of growth that no limit on the text makes harmless.
_EXPONENTIAL = 1_000
#: A repeat of at most so many turns counts as a constant.
_FEW = 64


def _order(tree: list[Any], *, whole: bool = True) -> int:
    """Return the exponent of the worst case in the length of the text: one for each unbounded repeat in sequence.

    A repeat at the very end of the ``whole`` pattern, or of a look-around, adds none: nothing after it can fail.
    """
    total = 0
    worst = 0
    for place, (op, argument) in enumerate(tree):
        if op in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            _, high, body = argument
            inner = list(body)
            if _varies(inner) and high > 1:
                total += _EXPONENTIAL
            last = whole and place == len(tree) - 1
            total += (1 if high > _FEW and not last else 0) + _order(inner, whole=False)
        elif op is sre.POSSESSIVE_REPEAT:
            total += 1 + _order(list(argument[2]), whole=False)
        elif op is sre.BRANCH:
            total += max((_order(list(branch), whole=False) for branch in argument[1]), default=0)
        elif op is sre.SUBPATTERN:
            total += _order(list(argument[3]), whole=False)
        elif op is sre.ATOMIC_GROUP:
            worst = max(worst, total + _order(list(argument)))
        elif op in (sre.ASSERT, sre.ASSERT_NOT):
            worst = max(worst, total + _order(list(argument[1])))
        elif op is sre.GROUPREF_EXISTS:
            total += _order(list(argument[1]), whole=False) + _order(list(argument[2] or []), whole=False)
    return max(worst, total)


def _varies(tree: list[Any]) -> bool:
    """Return whether a repeated body can match one text in several ways."""
    for op, argument in tree:
        if op in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT, sre.BRANCH, sre.GROUPREF_EXISTS):
            return True
        if op is sre.SUBPATTERN and _varies(list(argument[3])):
            return True
        if op is sre.ATOMIC_GROUP and _varies(list(argument)):
            return True
    return False


def searchable(pattern: str) -> bool:
    """Return whether Hyperscan reads a pattern as RE2 and ``re`` do, in a text of plain ASCII, and at little cost.

    >>> searchable(r"\\s[a-f0-9]{64}"), searchable(r"\\x41"), searchable("a{900}"), searchable("(?=a)")
    (True, False, False, False)
    """
    if len(pattern) > MAX_SEARCHED or not pattern.isascii() or "[:" in pattern:
        return False
    if any(letter.isalnum() and letter not in _SAME for letter in re.findall(r"\\(.)", pattern, re.DOTALL)):
        return False
    if any(not re.match(r"\(\?(:|i\))", pattern[place:]) for place in _places("(?", pattern)):
        return False
    repeats = [int(number) for number in re.findall(r"\{(?:\d*,)?(\d+)\}", pattern)]
    return sum(repeats) <= MAX_REPEATS and not re.search(r"[*+?}][+]", pattern)


def _places(part: str, text: str) -> list[int]:
    return [place for place in range(len(text)) if text.startswith(part, place)]


def necessary_literal(pattern: str, flags: re.RegexFlag) -> str:
    """Return the longest ASCII text that every match contains in some case, or nothing.

    >>> necessary_literal(r"(?:foo|bar)-[Ii]nvoke\\s+x*y", re.NOFLAG)
    '-invoke'
    """
    tree = _parsed(pattern, flags)
    if tree is None:
        return ""
    best = max(_runs(list(tree), _letter), key=len)
    return best if len(best) >= MIN_LITERAL else ""


def necessary_texts(pattern: str, flags: re.RegexFlag) -> tuple[tuple[str, bool], ...]:
    """Return ASCII texts that every match contains, each with whether it does in just that case; else case-folded.

    >>> necessary_texts(r"cmd.{0,5}(?:/c|/r).+powershell", re.NOFLAG), necessary_texts("(?i)SET.*&&", re.NOFLAG)
    ((('powershell', True), ('cmd', True)), (('set', False), ('&&', False)))
    """
    tree = _parsed(pattern, flags)
    if tree is None:
        return ()
    cased = not (tree.state.flags & re.IGNORECASE or _folds(list(tree)))
    runs = dict.fromkeys(_runs(list(tree), _exactly if cased else _letter))
    worth = [run for run in runs if len(run) >= MIN_LITERAL or (len(run) == 2 and not any(map(str.isalnum, run)))]
    return tuple((run, cased) for run in sorted(worth, key=len, reverse=True)[:MAX_TEXTS])


def _parsed(pattern: str, flags: re.RegexFlag) -> Any:
    if "[:" in pattern:  # RE2 reads a character class here, Python's parser does not.
        return None
    try:
        return sre_parser.parse(pattern, int(flags))
    except (re.error, OverflowError, RecursionError):
        return None


def _folds(tree: list[Any]) -> bool:
    """Return whether case does not matter in some part."""
    for op, argument in tree:
        if op is sre.SUBPATTERN and (argument[1] & re.IGNORECASE or _folds(list(argument[3]))):
            return True
        if op in (sre.MAX_REPEAT, sre.MIN_REPEAT) and _folds(list(argument[2])):
            return True
    return False


def _runs(tree: list[Any], letter_of: Callable[[Any, Any], str], runs: list[str] | None = None) -> list[str]:
    found = [""] if runs is None else runs
    for op, argument in tree:
        letter = letter_of(op, argument)
        if letter:
            found[-1] += letter
        elif op is sre.SUBPATTERN:
            _runs(list(argument[3]), letter_of, found)
        elif op in (sre.MAX_REPEAT, sre.MIN_REPEAT) and argument[0] >= 1:
            found.append("")
            _runs(list(argument[2]), letter_of, found)
            found.append("")
        elif op is not sre.AT:
            found.append("")
    return found


def _exactly(op: Any, argument: Any) -> str:
    return chr(argument) if op is sre.LITERAL and argument < 128 else ""


def _letter(op: Any, argument: Any) -> str:
    if op is sre.LITERAL and argument < 128:
        return chr(argument).lower()
    if op is sre.IN and all(kind is sre.LITERAL and code < 128 for kind, code in argument):
        letters = {chr(code).lower() for _, code in argument}
        if len(letters) == 1:
            return letters.pop()
    return ""
