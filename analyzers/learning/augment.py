"""Write a text in other ways, benign and malicious ones alike, so that the way is no sign of either.

Joiners and wrappers come in two sets: the held-back one is for tests only.
"""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

JOINERS: Final = {
    "shell": ("; ", ";", " && ", " || ", "\n", " & ", " | ", "|", "||", " ; ", ";\n", " &&\n", "\t", "  ", "&", ", "),
    "powershell": ("; ", ";", "\n", "\r\n", " | ", " ; ", ";\n", "  "),
    "http": (" ", "  ", "&", ", ", "\n", "?", "=", ""),
    "user-agent": (" ", "; ", " ("),
    "dns": (".",),
}
#: Joiners that training never sees.
UNSEEN_JOINERS: Final = {
    "shell": (" ;\t", "&&", "\r\n", "\n\n", " ;; "),
    "powershell": (" ;\t", "\n\n", ";\r\n"),
    "http": (" | ", "\t", "&&x=", " - ", "/"),
    "user-agent": (" / ", ", "),
    "dns": (".",),
}
#: Binary logarithm of the most characters that a command is padded with, a side; other texts with half as many.
LONGEST: Final = 9.0
_WORD: Final = re.compile(r"[A-Za-z]{3,}")
_QUOTED: Final = ("http", "user-agent", "unknown")


def percent_encode(text: str, rng: random.Random, share: float) -> str:
    """Percent-encode that share of the bytes, chosen at random, and what must be."""
    return "".join(
        f"%{byte:02x}" if byte in b"%&#+" or byte < 33 or byte > 126 or rng.random() < share else chr(byte)
        for byte in text.encode("utf-8", "replace")
    )


def wrap(text: str, rng: random.Random, benign: Sequence[str], joiners: Sequence[str], sides: tuple[int, int]) -> str:
    """Put that many benign texts before and after it."""
    before = "".join(rng.choice(benign) + rng.choice(joiners) for _ in range(sides[0]))
    after = "".join(rng.choice(joiners) + rng.choice(benign) for _ in range(sides[1]))
    return before + text + after


def pad(text: str, rng: random.Random, benign: Sequence[str], joiners: tuple[str, str], sizes: tuple[int, int]) -> str:
    """Put that many characters of benign text before it and after it, cut where they end; none for a size of 0."""

    def filler(joiner: str, size: int) -> str:
        found = rng.choice(benign)
        while len(found) < size:
            found += joiner + rng.choice(benign)
        return found

    before = filler(joiners[0], sizes[0])[: sizes[0]] + joiners[0] if sizes[0] else ""
    after = joiners[1] + filler(joiners[1], sizes[1])[-sizes[1] :] if sizes[1] else ""
    return before + text + after


def pad_words(text: str, rng: random.Random, benign: Sequence[str]) -> str:
    """Put two to six words of benign texts before it and after it."""
    words = [word for some in rng.choices(benign, k=8) for word in some.split() if word.isalpha()] or ["word"]
    before, after = (" ".join(rng.choices(words, k=rng.randint(2, 6))) for _ in range(2))
    return f"{before} {text} {after}"


class Augmenter:
    """Change texts at random; ``benign`` holds benign texts of each source to wrap with."""

    def __init__(self, rng: random.Random, benign: dict[str, list[str]]) -> None:
        self._rng = rng
        self._benign = benign

    def change(self, text: str, source: str) -> str:
        """Return the text written in another way."""
        if source == "dns":
            return self._name(text)
        for _ in range(self._rng.choice((1, 1, 2))):
            text = self._wrapped(text, source) if self._rng.random() < 0.55 else self._obscured(text, source)
        return text

    def _wrapped(self, text: str, source: str) -> str:
        rng, benign = self._rng, self._benign.get(source) or self._benign["http"]
        joiners = JOINERS[source]
        if rng.random() < 0.5:
            # From 8 to 512 characters, few more often than many; a quarter has them on one side only.
            most = LONGEST if source == "shell" else LONGEST - 1
            sizes = round(2 ** rng.uniform(3, most)), round(2 ** rng.uniform(3, most))
            side = rng.choice((None, None, None, None, None, None, 0, 1))
            here = (0 if side == 0 else sizes[0], 0 if side == 1 else sizes[1])
            return pad(text, rng, benign, (rng.choice(joiners), rng.choice(joiners)), here)
        if source in ("shell", "powershell"):
            total = rng.choice((1, 2, 3, 4, 5, 6, 8, 10))
            before = rng.randint(0, total)
            return wrap(text, rng, benign, joiners, (before, total - before))
        if source == "http" and rng.random() < 0.3:
            return pad_words(text, rng, benign)
        if source == "http" and rng.random() < 0.5:
            word = rng.choice(benign).split("=")[0][:16].strip() or "q"
            form = rng.choice(
                ("{w}={t}", "/{w}?id={t}", "{w}={t}&page=1", "a=1&{w}={t}", '{{"{w}":"{t}"}}', "/{w}/{t}")
            )
            return form.format(w=word, t=text)
        return wrap(text, rng, benign, joiners, (rng.randint(0, 2), rng.randint(0, 2)))

    def _obscured(self, text: str, source: str) -> str:
        rng = self._rng
        kind = rng.random()
        if source in ("http", "user-agent"):
            if kind < 0.35:
                return percent_encode(text, rng, rng.choice((0.0, 0.1, 0.3, 0.6, 1.0)))
            if kind < 0.5:
                return percent_encode(percent_encode(text, rng, rng.choice((0.0, 0.3))), rng, rng.choice((0.0, 0.2)))
            if kind < 0.6:
                return text.replace(" ", rng.choice(("/**/", "+", "%09", "%0a", "  ", "\t", "/*x*/")))
            if kind < 0.7:
                return "".join(f"&#{ord(c)};" if rng.random() < 0.3 else c for c in text)
            if kind < 0.75:
                return "".join(chr(ord(c) + 0xFEE0) if "!" < c <= "~" and rng.random() < 0.5 else c for c in text)
            if kind < 0.8:
                return "".join(f"%u{ord(c):04x}" if rng.random() < 0.4 and ord(c) < 0xD800 else c for c in text)
            if kind < 0.9:
                return quote(text, safe=rng.choice(("", "/", "/=&?")))
            return "".join(c.upper() if rng.random() < 0.5 else c for c in text)
        if source == "powershell":
            return self._powershell(text, kind)
        return self._shell(text, kind)

    def _shell(self, text: str, kind: float) -> str:
        rng = self._rng
        if kind < 0.25:
            return _WORD.sub(self._quoted, text)
        if kind < 0.35:
            return text.replace(" ", rng.choice(("${IFS}", "$IFS$9", "  ", "\t")))
        if kind < 0.45:
            plain = base64.b64encode(text.encode("utf-8", "replace")).decode()
            form = (
                "echo {b}|base64 -d|bash",
                "echo {b} | base64 --decode",
                "base64 -d <<< {b} | sh",
                "echo {b} > x.b64",
            )
            return rng.choice(form).format(b=plain)
        if kind < 0.8:
            outer = ("sudo {t}", "bash -c '{t}'", 'sh -c "{t}"', "nohup {t} &", "timeout 30 {t}", "({t})", "{t} 2>&1",
                     "time {t}", "/bin/sh -c '{t}'", "$ {t}", "# {t}", "ssh host '{t}'", "{t} &", "env X=1 {t}",
                     "if true; then {t}; fi", "while :; do {t}; sleep 60; done", "{t} > /dev/null 2>&1",
                     "docker exec app sh -c '{t}'", "cmd /c {t}", "{t} # ok")  # fmt: skip
            return rng.choice(outer).replace("{t}", text)
        if kind < 0.9:
            return "".join(f"\\x{ord(c):02x}" if ord(c) < 128 else c for c in text) if rng.random() < 0.3 else text
        return _WORD.sub(lambda match: "^".join(match[0]) if rng.random() < 0.3 else match[0], text)

    def _powershell(self, text: str, kind: float) -> str:
        rng = self._rng
        if kind < 0.3:
            return "".join(c.upper() if rng.random() < 0.5 else c.lower() for c in text)
        if kind < 0.45:
            return _WORD.sub(lambda match: match[0][0] + "`" + match[0][1:] if rng.random() < 0.5 else match[0], text)
        if kind < 0.65:
            return "powershell -enc " + base64.b64encode(text.encode("utf-16-le", "replace")).decode()
        if kind < 0.9:
            outer = ('powershell -c "{t}"', "powershell.exe -NoProfile -Command {t}", "& {{t}}", "try {{t}} catch {}",
                     "{t} | Out-Null", "$x = {t}", 'cmd /c powershell "{t}"', "Start-Job { {t} }")  # fmt: skip
            return rng.choice(outer).replace("{t}", text)
        return _WORD.sub(lambda match: match[0][:2] + "'+'" + match[0][2:] if rng.random() < 0.2 else match[0], text)

    def _quoted(self, match: re.Match[str]) -> str:
        word, rng = match[0], self._rng
        if rng.random() < 0.6:
            return word
        place = rng.randrange(1, len(word))
        middle = rng.choice(("''", '""', "\\", f"'{word[place]}'", "$@"))
        return word[:place] + middle + word[place + (len(middle) == 3) :]

    def _name(self, text: str) -> str:
        rng = self._rng
        if rng.random() < 0.5:
            return "".join(c.upper() if rng.random() < 0.5 else c for c in text)
        return rng.choice(("www", "m", "mail", "ns1", "a", "cdn", "api")) + "." + text
