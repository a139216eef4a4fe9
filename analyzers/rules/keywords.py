"""Tells of a raw message, undecoded, that no keyword can be in it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import hyperscan

from analyzers.rules.compiled import Compiled
from analyzers.rules.literals import note
from analyzers.rules.view import ANY_FIELD

#: Shortest run of plain characters of a keyword that is looked for in raw messages.
MIN_FRAGMENT = 3

#: Characters that JSON writes as they are, or as ``\\uXXXX``; others have further spellings.
_PLAIN = re.compile(r"[a-z0-9 _.,:;=()\[\]{}!@#$%^*?|~-]+")
_NUMERIC = re.compile(r"[0-9.e+-]*")
#: Characters beyond ASCII that fold to something with an ASCII letter, as the Kelvin sign does; none is past U+FFFF.
_FOLDING = tuple(
    c for c in map(chr, range(0x80, 0xFFFF)) if not 0xD800 <= ord(c) < 0xE000 and any(x.isascii() for x in c.casefold())
)
#: An ASCII letter, or one of those, escaped.
_ESCAPED = (
    rb"(?:^|[^\\])(?:\\\\)*\\u(?:00[2-7][0-9a-f]|" + b"|".join(b"%04x" % ord(letter) for letter in _FOLDING) + b")"
)


class Keywords:
    """Tells of a raw JSON message that no keyword of any of the rules can be in it."""

    __slots__ = ("_ascii", "_other")

    def __init__(self, rules: Sequence[Compiled]) -> None:
        #: For messages of ASCII alone; None if any message may hold a keyword. Two-byte patterns make a scan slow.
        self._ascii: hyperscan.Database | None = None
        self._other: hyperscan.Database | None = None
        fragments: dict[bytes, None] = {}
        for each in rules:
            # Any clause of keywords will do, for each is necessary; without one, every message may meet the rule.
            clauses = [clause for clause in each.clauses if all(name == ANY_FIELD for name, _ in clause)]
            found = [fragment(atom.literal) for _, atom in clauses[0]] if clauses else [""]
            if not all(found):
                return
            fragments.update((re.escape(text).encode(), None) for text in found)
        self._ascii = _database([*fragments, _ESCAPED])
        self._other = _database([*fragments, _ESCAPED, *(re.escape(letter.encode()) for letter in _FOLDING)])

    def missing(self, raw: bytes) -> bool:
        """Return whether no keyword can be in the message."""
        database = self._ascii if raw.isascii() else self._other
        if database is None or not raw:
            return False
        hits: list[int] = []
        database.scan(raw, match_event_handler=note, context=hits)
        return not hits


def _database(patterns: Sequence[bytes]) -> hyperscan.Database:
    database = hyperscan.Database()
    database.compile(
        expressions=list(patterns),
        ids=list(range(len(patterns))),
        elements=len(patterns),
        flags=hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_CASELESS,
    )
    return database


def fragment(literal: str) -> str:
    """Return the longest part of a case-folded keyword that stands as it is in any JSON, or nothing.

    >>> fragment('sekurlsa::"x"'), fragment("a<b"), fragment("4624")
    ('sekurlsa::', '', '')
    """
    runs = [run for run in _PLAIN.findall(literal) if not _NUMERIC.fullmatch(run)]
    best: str = max(runs, key=len, default="")
    return best if len(best) >= MIN_FRAGMENT else ""
