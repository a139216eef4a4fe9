"""Tells of a raw message, undecoded, that no keyword can be in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile

import hyperscan

from analyzers.rules.compiled import Compiled
from analyzers.rules.literals import note
from analyzers.rules.view import ANY_FIELD

#: Shortest run of plain characters of a keyword that is looked for in raw messages.
MIN_FRAGMENT = 3
#: Shortest beginning that keywords are looked for by together: a scan for 12 texts takes two thirds of one for 20.
MIN_COMMON = 6

#: Tells that nothing that is looked for is in a message.
Scan = Callable[[bytes], bool]

#: Characters that JSON writes in one way, or as ``\\uXXXX``. A slash has a third way, and others are bytes.
_PLAIN = re.compile(r"[ -.0-~]+")
_NUMERIC = re.compile(r"[0-9.e+-]*|[+-]?(inf|nan)")
#: Characters beyond ASCII that fold to something with an ASCII letter, as the Kelvin sign does; none is past U+FFFF.
_FOLDING = tuple(
    c for c in map(chr, range(0x80, 0xFFFF)) if not 0xD800 <= ord(c) < 0xE000 and any(x.isascii() for x in c.casefold())
)
#: How an escaped character of ASCII begins, or one of those, and some others. A backslash that is itself escaped before
#: "u00" is taken for such, too, and costs a look at the fields.
_ESCAPES = tuple(sorted({b"\\u%02x" % (ord(letter) >> 8) for letter in ("A", *_FOLDING)}))


class Keywords:
    """What looks for the keywords of some rules, and for names of fields, in raw JSON messages."""

    __slots__ = ("_fragments", "_own", "anywhere")

    def __init__(self, rules: Sequence[Compiled]) -> None:
        #: Whether some keyword cannot be looked for, so that any message may hold it.
        self.anywhere = False
        fragments: dict[str, None] = {}
        for each in rules:
            # Any clause of keywords will do, for each is necessary; without one, every message may meet the rule.
            clauses = [clause for clause in each.node.clauses() if all(name == ANY_FIELD for name, _ in clause)]
            found = [fragment(atom.literal) for _, atom in clauses[0]] if clauses else [""]
            self.anywhere = self.anywhere or not all(found)
            fragments.update(dict.fromkeys(found))
        self._fragments = shortened(fragments)
        self._own: tuple[Scan, Scan] | None = None

    def missing(self, raw: bytes) -> bool:
        """Return whether no keyword can be in the message."""
        if self.anywhere:
            return False
        if self._own is None:
            self._own = self.scans(())
        return self._own[raw.isascii()](raw)

    def scans(self, names: Sequence[str]) -> tuple[Scan, Scan]:
        """Return what tells that no keyword is in a message, nor a field named so in any case, however escaped.

        The first takes any message, the second those of ASCII alone: patterns of two bytes make a scan slow.
        """
        return scan_of([*self._fragments, *(f'"{name}"' for name in names)])


def scan_of(texts: Sequence[str], cased: Sequence[str] = ()) -> tuple[Scan, Scan]:
    """Return what tells that none of some case-folded texts is in a message, in any case, however escaped.

    Nor any of the ``cased`` in just that case. The first takes any message, the second those of ASCII alone: patterns
    of two bytes make a scan slow.
    """
    if not texts and not cased:
        return _never, _never
    wanted = [*(text.encode() for text in texts), *_ESCAPES]
    exact = [text.encode() for text in cased]
    return _scan([*wanted, *(letter.encode() for letter in _FOLDING)], exact), _scan(wanted, exact)


def searcher(texts: Sequence[str], cased: Sequence[str]) -> Callable[[bytes], list[int]]:
    """Return what tells which of some texts, by place, stand in a message unescaped: the first in any case."""
    database = _database([text.encode() for text in texts], [text.encode() for text in cased])

    def search(raw: bytes) -> list[int]:
        hits: list[int] = []
        if raw:
            database.scan(raw, match_event_handler=note, context=hits)
        return hits

    return search


def _never(raw: bytes) -> bool:
    return True


def _scan(texts: Sequence[bytes], cased: Sequence[bytes]) -> Scan:
    """Return what tells whether none of the texts is in a message."""
    database: hyperscan.Database | None = None
    hits: list[int] = []

    def clean(raw: bytes) -> bool:
        nonlocal database
        if database is None:
            database = _database(texts, cased)
        if raw:
            database.scan(raw, match_event_handler=note, context=hits)
            if hits:
                hits.clear()
                return False
        return True

    return clean


def shortened(fragments: Iterable[str]) -> list[str]:
    """Return fewer and shorter texts, one of which is in every text that has one of the fragments.

    >>> shortened(["kerberos::golden", "kerberos::ptt", "sekurlsa::"])
    ['kerberos::', 'sekurlsa::']
    """
    found: list[str] = []
    for text in sorted(set(fragments)):
        same = takewhile(lambda pair: pair[0] == pair[1], zip(found[-1] if found else "", text, strict=False))
        # Up to the end of a word, for half a word is in many texts.
        common = "".join(letter for letter, _ in same).rstrip("abcdefghijklmnopqrstuvwxyz0123456789")
        if len(common) >= MIN_COMMON:
            found[-1] = common
        else:
            found.append(text)
    return found


def _database(texts: Sequence[bytes], cased: Sequence[bytes]) -> hyperscan.Database:
    database = hyperscan.Database()
    database.compile(
        expressions=[*texts, *cased],
        ids=list(range(len(texts) + len(cased))),
        elements=len(texts) + len(cased),
        flags=[hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_CASELESS] * len(texts)
        + [hyperscan.HS_FLAG_SINGLEMATCH] * len(cased),
        literal=True,
    )
    return database


def fragment(literal: str) -> str:
    """Return the longest part of a case-folded text that JSON writes in one way, or nothing; as JSON writes it.

    >>> fragment("sekurlsa::x"), fragment("/etc/passwd"), fragment('"\\\\x'), fragment("4624"), fragment("&&")
    ('sekurlsa::x', 'passwd', '\\\\"\\\\\\\\x', '', '&&')
    """
    runs = [run for run in _PLAIN.findall(literal) if not _NUMERIC.fullmatch(run)]
    best: str = max(runs, key=len, default="").replace("\\", "\\\\").replace('"', '\\"')
    # Two letters are in any message, two signs are not.
    return best if len(best) >= MIN_FRAGMENT or (len(best) == 2 and not best.isalnum() and best == literal) else ""
