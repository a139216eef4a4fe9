"""Tells of most raw messages, by one search of their bytes, that none of the rules of their kind can be met.

Of each branch of a rule, every necessary clause will do: if none of its literals is in the message, the branch is not
met. Which clause is rarest in real messages of this kind is learned from a few hundred of them; branches of which every
clause is common, or cannot be searched for, are left to a shortcut of their own. A wrong guess costs time and nothing
else: what the search finds is decided as if there were no screen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from analyzers.rules.keywords import Scan, fragment, scan_of, searcher, shortened
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
#: What must be found before it is asked whether the screen still pays.
DOUBT = 5_000

#: Branches with their routes.
Branches = Sequence[tuple[Column, Route]]
#: Returns the shortcut for some branches, or None if there is none.
ForSome = Callable[[Branches], Shortcut | None]


class Screen:
    """Skips messages of one plan and format."""

    __slots__ = ("_branches", "_found", "_lesson", "_rare", "_residual", "_scans", "_seen", "_shortcut", "_shortcut_of")

    def __init__(self, branches: Branches, shortcut: Shortcut | None, shortcut_of: ForSome) -> None:
        """Prepare for some branches, for which ``shortcut`` is used where the search finds anything."""
        self._branches = branches
        self._shortcut = shortcut
        self._shortcut_of = shortcut_of
        self._scans: tuple[Scan, Scan] | None = None
        #: For the branches that are not searched for.
        self._residual: Shortcut | None = None
        self._lesson: _Lesson | None = None
        #: Events until learning begins; negative if it never does.
        self._rare = RARE if len(branches) <= MAX_BRANCHES else -1
        self._seen = self._found = 0

    def skips(self, message: Message) -> bool:
        """Return whether the message meets no rule; if not, only its fields can tell."""
        scans = self._scans
        if scans is not None:
            raw = message.raw
            self._seen += 1
            if scans[raw.isascii()](raw):
                return self._residual is None or self._residual.skips(message)
            self._found += 1
            if self._found >= DOUBT:
                self._doubt()
        elif self._rare >= 0:
            self._learn(message.raw)
        return self._shortcut is not None and self._shortcut.skips(message)

    def _doubt(self) -> None:
        """Learn anew if too much is found."""
        if self._found > self._seen * (FOUND + 0.2):
            self._scans = self._residual = None
            self._rare = self._seen  # the more seldom, the more there is
        self._seen = self._found = 0

    def _learn(self, raw: bytes) -> None:
        if self._rare > 0:
            self._rare -= 1
            return
        if self._lesson is None:
            self._lesson = _Lesson(self._branches)
            if not self._lesson.possible:
                self._rare, self._lesson = -1, None
                return
        self._lesson.take(raw)
        if self._lesson.taken >= SAMPLE:
            literals, residual = self._lesson.choose()
            self._lesson, self._rare = None, -1
            shortcut = self._shortcut_of(residual) if residual else None
            if literals and (shortcut is not None or not residual):
                self._scans, self._residual = scan_of(literals), shortcut


class _Lesson:
    """What messages tell of the literals of some branches."""

    def __init__(self, branches: Branches) -> None:
        self.taken = 0
        self._branches = branches
        #: Of each branch, what may be searched for: alternatives, each some literals of which one is in the message.
        self._options = [_options(column, route) for column, route in branches]
        self._literals = list(dict.fromkeys(text for each in self._options for option in each for text in option))
        self.possible = 0 < len(self._literals) <= MAX_LITERALS
        self._search = searcher(self._literals) if self.possible else None
        #: By literal, the messages that hold it, as bits.
        self._holding = dict.fromkeys(self._literals, 0)

    def take(self, raw: bytes) -> None:
        """Look for all literals in a message."""
        if self._search is not None:
            bit = 1 << self.taken
            for place in self._search(raw):
                self._holding[self._literals[place]] |= bit
        self.taken += 1

    def choose(self) -> tuple[list[str], Branches]:
        """Return the literals to search for, and the branches for which that does not pay; none if for none."""
        best: list[tuple[int, int, tuple[str, ...]]] = []
        for place, options in enumerate(self._options):
            found = [(self._messages(option), option) for option in options]
            messages, option = min(found, key=lambda each: (each[0].bit_count(), len(each[1])), default=(-1, ()))
            if option and messages.bit_count() <= COMMON * self.taken:
                best.append((place, messages, option))
        best.sort(key=lambda each: each[1].bit_count())
        limit = (FOUND if len(best) == len(self._options) else FOUND_BESIDE) * self.taken
        kept: dict[int, tuple[str, ...]] = {}
        together = 0
        for place, messages, option in best:
            together |= messages
            if together.bit_count() > limit:
                break
            kept[place] = option
        if len(kept) * 2 < len(self._options):
            return [], self._branches
        residual = [branch for place, branch in enumerate(self._branches) if place not in kept]
        return shortened(text for option in kept.values() for text in option), residual

    def _messages(self, texts: Sequence[str]) -> int:
        found = 0
        for text in texts:
            found |= self._holding[text]
        return found


def _options(column: Column, route: Route) -> list[tuple[str, ...]]:
    """Return, for each clause that can be searched for, a literal of each of its alternatives."""
    found: list[tuple[str, ...]] = []
    for clause in column.clauses:
        aliases = [route.aliases.get(name.casefold()) for name, _ in clause]
        if all(alias is None or alias.verbatim for alias in aliases):
            texts = tuple(dict.fromkeys(fragment(atom.literal) for _, atom in clause))
            if all(texts):
                found.append(texts)
    return found
