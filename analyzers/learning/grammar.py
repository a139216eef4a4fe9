"""Texts written from grammars: templates with choices and slots, in families.

The files in ``grammars`` hold one template a line. ``‹a¦b›`` is a choice and may nest; ``«name»`` is a slot, filled
from ``slots.txt`` or by code; ``«=x»`` is a made-up name that is the same throughout a text, and so is the number
``«n»`` for most of a text; ``⏎`` is a line end. ``@`` opens a family and says its source and labels. Families and
templates are what a split holds back, so that a test never sees a text whose template was trained on.
"""

from __future__ import annotations

import random
import re
import zlib
from functools import lru_cache
from importlib.resources import files
from typing import Final

import msgspec

from analyzers.learning.slots import FILLERS, LETTERS, draw

FILES: Final = ("shell_benign", "shell_attacks", "powershell", "http_benign", "http_attacks", "names")
_CHOICE = re.compile(r"‹([^‹›]*)›")
_SLOT = re.compile(r"«(=?)(\w+)»")
#: Slots in slots are filled to this depth.
_DEPTH: Final = 12


class Template(msgspec.Struct, frozen=True):
    """One line of a grammar."""

    text: str
    source: str
    labels: tuple[str, ...]
    family: str
    #: How often, against others of its source.
    weight: float = 1.0

    @property
    def key(self) -> int:
        """Return a number that is the same on every machine, to split by."""
        return zlib.crc32(self.text.encode())


class GrammarError(ValueError):
    """A grammar that cannot be read, with file and line."""


def _lines(name: str) -> list[str]:
    return (files("analyzers.learning") / "grammars" / f"{name}.txt").read_text(encoding="utf-8").splitlines()


@lru_cache
def words() -> dict[str, tuple[str, ...]]:
    """Return the slots that are lists of alternatives."""
    found: dict[str, tuple[str, ...]] = {}
    for line in _lines("slots"):
        if line and not line.startswith("#"):
            name, _, alternatives = line.partition(": ")
            found[name.rstrip(":")] = tuple(part.replace("⏎", "\n") for part in alternatives.split(" | "))
    return found


@lru_cache
def templates() -> tuple[Template, ...]:
    """Return all templates. GrammarError for an unknown slot, source or an open choice."""
    found: list[Template] = []
    for name in FILES:
        head: dict[str, str] = {}
        for number, line in enumerate(_lines(name), 1):
            if line.startswith("@ "):
                head = dict(part.split("=", 1) for part in line[2:].split())
            elif line and not line.startswith("# "):
                if line.count("‹") != line.count("›") or line.count("«") != line.count("»"):
                    raise GrammarError(f"{name}.txt:{number}: a bracket is not closed")
                for bound, slot in _SLOT.findall(line):
                    if not bound and slot != "n" and slot not in FILLERS and slot not in words():
                        raise GrammarError(f"{name}.txt:{number}: no slot «{slot}»")
                labels = tuple(head["labels"].split(",")) if "labels" in head else ()
                weight = float(head.get("weight", 1))
                found.append(Template(line.replace("⏎", "\n"), head["source"], labels, head["family"], weight))
    return tuple(found)


class Writer:
    """Write texts from templates, the same ones for the same seed."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._bound: dict[str, str] = {}

    def write(self, template: str) -> str:
        """Return one text of a template."""
        self._bound = {}
        return self._expand(template, 0)

    def _inner(self, template: str) -> str:
        return self._expand(template, 1)

    def _expand(self, text: str, depth: int) -> str:
        rng = self._rng
        while "‹" in text:
            text = _CHOICE.sub(lambda match: rng.choice(match[1].split("¦")), text)
        if "«" not in text or depth > _DEPTH:
            return text
        return _SLOT.sub(lambda match: self._fill(match[2], bool(match[1]), depth), text)

    def _fill(self, name: str, bound: bool, depth: int) -> str:
        rng = self._rng
        if bound:
            if name not in self._bound:
                self._bound[name] = draw(rng, LETTERS, 1, rng.choice((1, 2, 6)))
            return self._bound[name]
        if name == "n":
            if name not in self._bound or rng.random() < 0.15:
                self._bound[name] = str(rng.choice((1, 1, rng.randint(2, 9), rng.randint(1000, 9999))))
            return self._bound[name]
        filler = FILLERS.get(name)
        if filler is not None:
            return filler(rng, self._inner)
        return self._expand(rng.choice(words()[name]), depth + 1)
