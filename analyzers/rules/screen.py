"""Tells of most raw messages, by one search of their bytes, that none of the rules of their kind can be met.

Of each branch of a rule, every necessary clause will do: if none of its literals is in the message, the branch is not
met. Which clause is rarest in real messages of this kind is learned from a few hundred of them; branches of which every
clause is common, or cannot be searched for, are left to a shortcut of their own. A wrong guess costs time and nothing
else: what the search finds is decided as if there were no screen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from analyzers.rules.keywords import Scan, fragment, scan_of, searcher
from analyzers.rules.logsources import Route
from analyzers.rules.prefilter import Column
from analyzers.rules.shortcut import Message, Shortcut

#: Learning begins after so many events, for a kind that is rare is not worth it, and takes so many.
RARE, SAMPLE = 100, 300
#: Plans of more branches, or literals, are not screened: a scan for thousands of texts finds some in any message.
MAX_BRANCHES, MAX_LITERALS = 1_000, 5_000
#: A branch found in a greater share of the messages is left to the shortcut.
COMMON = 0.25
#: So many messages in which something is found may be; where branches are left to a shortcut anyway, fewer.
FOUND, FOUND_BESIDE = 0.4, 0.1
#: What must be found before it is asked whether too much is; twice as much each time that there was.
DOUBT, MAX_DOUBT = 250, 32_000
#: Lessons kept: what is rare today may be in every message of another host, or hour.
LESSONS = 6

#: A text that is looked for, and whether in just that case.
Literal = tuple[str, bool]
#: Branches with their routes.
Branches = Sequence[tuple[Column, Route]]
P = TypeVar("P")
#: What decides some branches, and the shortcut to none of them, if there is one.
Decider = tuple[P, Shortcut | None]


class Screen(Generic[P]):
    """Names what must decide messages of one plan and format: the plan, a part of it, or nothing."""

    __slots__ = (
        "_branches",
        "_decider",
        "_decider_of",
        "_doubt",
        "_found",
        "_lessons",
        "_rare",
        "_rest",
        "_scans",
        "_seen",
    )

    def __init__(self, branches: Branches, decider: Decider[P], decider_of: Callable[[Branches], Decider[P]]) -> None:
        """Prepare for some branches; ``decider`` decides all of them, ``decider_of`` returns what decides some."""
        self._branches = branches
        self._decider = decider
        self._decider_of = decider_of
        self._scans: tuple[Scan, Scan] | None = None
        #: For the branches that are not searched for; None if there are none.
        self._rest: Decider[P] | None = None
        self._lessons: _Lessons | None = None
        #: Events until learning begins; negative if it never does.
        self._rare = RARE if len(branches) <= MAX_BRANCHES else -1
        self._seen = self._found = 0
        self._doubt = DOUBT

    def plan_for(self, message: Message) -> P | None:
        """Return what must decide a message by its fields; None if it meets no rule."""
        decider = self._decider
        scans = self._scans
        if scans is not None:
            raw = message.raw
            self._seen += 1
            if scans[raw.isascii()](raw):
                if self._rest is None:
                    return None
                decider = self._rest
            else:
                self._found += 1
                if self._found >= self._doubt:
                    self._ask()
        elif self._rare >= 0:
            self._learn(message.raw)
        plan, shortcut = decider
        return None if shortcut is not None and shortcut.skips(message) else plan

    def _ask(self) -> None:
        """Learn anew if too much is found."""
        if self._found > self._seen * FOUND:
            self._scans = self._rest = None
            self._rare = 0
            self._doubt = min(self._doubt * 2, MAX_DOUBT)
        self._seen = self._found = 0

    def _learn(self, raw: bytes) -> None:
        if self._rare > 0:
            self._rare -= 1
            return
        if self._lessons is None:
            self._lessons = _Lessons(self._branches)
            if not self._lessons.possible:
                self._rare = -1
                return
        if self._lessons.take(raw):
            literals, residual = self._lessons.choose()
            if literals:
                self._scans = scan_of(*_parted(literals))
                self._rest = self._decider_of(residual) if residual else None
            else:
                self._rare = self._doubt = min(self._doubt * 4, MAX_DOUBT)


class _Lessons:
    """What messages tell of the literals of some branches."""

    def __init__(self, branches: Branches) -> None:
        self._branches = branches
        #: Of each branch, what may be searched for: alternatives, each some literals of which one is in the message.
        self._options = [_options(column, route) for column, route in branches]
        #: Those that are looked for in any case first.
        self._literals = sorted(
            dict.fromkeys(text for each in self._options for option in each for text in option), key=_is_cased
        )
        self.possible = 0 < len(self._literals) <= MAX_LITERALS
        #: By literal, the messages of each lesson that hold it, as bits.
        self._past: list[dict[Literal, int]] = []
        self._now: dict[Literal, int] = {}
        self._taken = 0
        self._search: Callable[[bytes], list[int]] | None = None

    def take(self, raw: bytes) -> bool:
        """Look for all literals in a message; return whether that ends a lesson."""
        if self._search is None:
            self._search = searcher(*_parted(self._literals))
        bit = 1 << self._taken
        for place in self._search(raw):
            text = self._literals[place]
            self._now[text] = self._now.get(text, 0) | bit
        self._taken += 1
        if self._taken < SAMPLE:
            return False
        self._past = [*self._past, self._now][-LESSONS:]
        self._now, self._taken, self._search = {}, 0, None
        return True

    def choose(self) -> tuple[list[Literal], Branches]:
        """Return the literals to search for, and the branches for which that does not pay; none if for none.

        What counts is the lesson in which most was found.
        """
        best: list[tuple[int, int, list[int], tuple[Literal, ...]]] = []
        for place, options in enumerate(self._options):
            ranked = [(_most(held), len(option), held, option) for option in options for held in [self._held(option)]]
            most, _, held, option = min(ranked, default=(SAMPLE, 0, [], ()))
            if option and most <= COMMON * SAMPLE:
                best.append((most, place, held, option))
        best.sort()
        limit = (FOUND if len(best) == len(self._options) else FOUND_BESIDE) * SAMPLE
        kept: dict[int, tuple[Literal, ...]] = {}
        together = [0] * len(self._past)
        for _, place, held, option in best:
            together = [one | other for one, other in zip(together, held, strict=True)]
            if _most(together) > limit:
                break
            kept[place] = option
        if len(kept) * 2 < len(self._options):
            return [], self._branches
        residual = [branch for place, branch in enumerate(self._branches) if place not in kept]
        return list(dict.fromkeys(text for option in kept.values() for text in option)), residual

    def _held(self, texts: Sequence[Literal]) -> list[int]:
        found: list[int] = []
        for lesson in self._past:
            messages = 0
            for text in texts:
                messages |= lesson.get(text, 0)
            found.append(messages)
        return found


def _most(held: Sequence[int]) -> int:
    return max(messages.bit_count() for messages in held)


def _options(column: Column, route: Route) -> list[tuple[Literal, ...]]:
    """Return, for each clause that can be searched for, a literal of each of its alternatives."""

    def verbatim(name: str) -> bool:
        alias = route.aliases.get(name.casefold())
        return alias is None or alias.verbatim

    found: list[tuple[Literal, ...]] = []
    for clause in column.clauses:
        if all(atom.op != "regex" and verbatim(name) for name, atom in clause):
            texts = tuple(dict.fromkeys((fragment(atom.literal), False) for _, atom in clause))
            if all(text for text, _ in texts):
                found.append(texts)
    for name, text, cased in column.branch.spelled:
        if verbatim(name) and (part := fragment(text)):
            found.append(((part, cased),))
    return list(dict.fromkeys(found))


def _parted(literals: Sequence[Literal]) -> tuple[list[str], list[str]]:
    """Return the literals that are looked for in any case, and those in just theirs."""
    return [text for text, cased in literals if not cased], [text for text, cased in literals if cased]


def _is_cased(literal: Literal) -> bool:
    return literal[1]
