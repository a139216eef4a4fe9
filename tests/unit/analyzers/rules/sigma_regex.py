"""Regular expressions as the Sigma specification bounds them, matched slowly: what engines are compared with.

Wildcard, anchors, quantifiers, character classes, groups and alternation, as PCRE reads them. A matcher is a function
from a text and a place in it to all the places where a match that begins there can end, so nothing is clever and
nothing is missed.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Ends = Callable[[str, int], set[int]]
Accepts = Callable[[str], bool]

CLASSES: dict[str, Accepts] = {
    "d": lambda c: c in "0123456789",
    "w": lambda c: c.isascii() and (c.isalnum() or c == "_"),
    "s": lambda c: c in " \t\n\r\f",
}
CONTROL = {"n": "\n", "t": "\t", "r": "\r"}


def search(pattern: str, flags: str, text: str) -> bool:
    """Return whether the pattern is found anywhere in the text; flags are of ``ims``."""
    ends = Parser(pattern, flags).parse()
    return any(ends(text, at) for at in range(len(text) + 1))


def alike(letter: str) -> set[str]:
    """Return every spelling of a letter: it, its other cases, and their other cases."""
    found = {letter}
    while True:
        more = {form for c in found for form in (c.lower(), c.upper(), c.casefold()) if len(form) == 1}
        if "σ" in more:
            more.add("ς")
        if letter.casefold() in "ks" or {"k", "s"} & more:
            more |= {"\u212a"} if "k" in more else {"\u017f"} if "s" in more else set()
        if more <= found:
            return found
        found |= more


class Parser:
    """Read a pattern left to right."""

    def __init__(self, pattern: str, flags: str) -> None:
        self.pattern, self.at, self.flags = pattern, 0, flags

    def parse(self) -> Ends:
        found = self.alternatives()
        assert self.at == len(self.pattern), f"cannot read {self.pattern!r} from {self.at}"
        return found

    def peek(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def take(self) -> str:
        self.at += 1
        return self.pattern[self.at - 1]

    def alternatives(self) -> Ends:
        branches = [self.sequence()]
        while self.peek() == "|":
            self.take()
            branches.append(self.sequence())
        return lambda text, at: {end for branch in branches for end in branch(text, at)}

    def sequence(self) -> Ends:
        parts: list[Ends] = []
        while self.peek() not in ("", "|", ")"):
            parts.append(self.repeated())

        def ends(text: str, at: int) -> set[int]:
            reached = {at}
            for part in parts:
                reached = {end for start in reached for end in part(text, start)}
            return reached

        return ends

    def repeated(self) -> Ends:
        part = self.single()
        counts = re.compile(r"\*|\+|\?|\{(\d+)(,(\d*))?\}").match(self.pattern, self.at)
        if counts is None:
            return part
        self.at = counts.end()
        if self.peek() == "?":  # lazy: the same texts are found
            self.take()
        sign = counts.group()
        least, most = {"*": (0, 10_000), "+": (1, 10_000), "?": (0, 1)}.get(sign, (0, 0))
        if sign.startswith("{"):
            least = int(counts.group(1))
            most = least if counts.group(2) is None else int(counts.group(3) or 10_000)

        def ends(text: str, at: int) -> set[int]:
            reached, found = {at}, {at} if least == 0 else set()
            for turn in range(1, most + 1):
                after = {end for start in reached for end in part(text, start)}
                if turn >= least:
                    if after <= found:
                        break
                    found |= after
                reached = after
                if not reached:
                    break
            return found

        return ends

    def single(self) -> Ends:
        sign = self.take()
        if sign == "(":
            if self.pattern.startswith("?:", self.at):
                self.at += 2
            inner = self.alternatives()
            assert self.take() == ")"
            return inner
        if sign == "^":
            lines = "m" in self.flags
            return lambda text, at: {at} if at == 0 or (lines and text[at - 1] == "\n") else set()
        if sign == "$":
            return self.end
        if sign == ".":
            whole = "s" in self.flags
            return self.letter(lambda c: whole or c != "\n")
        if sign == "[":
            return self.letter(self.bracket())
        if sign == "\\":
            return self.letter(self.escaped(self.take()))
        return self.letter(self.literal(sign))

    def end(self, text: str, at: int) -> set[int]:
        rest = text[at:]
        # As in PCRE, a newline that ends the text does not hide its end.
        return {at} if rest in ("", "\n") or ("m" in self.flags and rest[0] == "\n") else set()

    def letter(self, accepts: Accepts) -> Ends:
        return lambda text, at: {at + 1} if at < len(text) and accepts(text[at]) else set()

    def literal(self, letter: str) -> Accepts:
        forms = alike(letter) if "i" in self.flags else {letter}
        return lambda c: c in forms

    def escaped(self, letter: str) -> Accepts:
        if letter.lower() in CLASSES:
            accepts = CLASSES[letter.lower()]
            return accepts if letter.islower() else lambda c: not accepts(c)
        return self.literal(CONTROL.get(letter, letter))

    def bracket(self) -> Accepts:
        negated = self.peek() == "^"
        self.at += negated
        members: list[Accepts] = []
        while self.peek() != "]" or not members:
            first = self.take()
            if first == "\\":
                members.append(self.escaped(self.take()))
            elif self.peek() == "-" and self.pattern[self.at + 1] != "]":
                self.take()
                members.append(self.between(first, self.take()))
            else:
                members.append(self.literal(first))
        self.take()
        return lambda c: any(accepts(c) for accepts in members) is not negated

    def between(self, first: str, last: str) -> Accepts:
        folds = "i" in self.flags
        return lambda c: any(first <= form <= last for form in (alike(c) if folds else {c}))
