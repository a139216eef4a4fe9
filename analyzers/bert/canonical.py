"""Bring a text into the form that the judge reads, and keep what was undone as features. Pure, bounded, linear.

An attacker may write one command in thousands of ways: percent-encoded twice, in base64, in full-width or Cyrillic
letters, with quotes, carets or ``${IFS}`` in the middle of words. A person who reads it undoes that first, and so do
we; how much there was to undo is told to the judge beside the text. The same function runs in training and in serving:
whoever changes what it returns raises ``CANONICAL_VERSION``, and models of another version are refused.
"""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Final

import msgspec

from analyzers.bert.decoding import DECODERS

#: Of a longer text the head and the tail are read, characters.
MAX_TEXT: Final = 65_536
_TAIL: Final = 16_384
#: Layers that are undone; what is encoded more often is judged as it then stands.
MAX_LAYERS: Final = 5
CANONICAL_VERSION: Final = 1
#: Kinds of text, in the order of the model's token types; an unlisted one is "unknown".
SOURCES: Final = ("http", "shell", "powershell", "dns", "user-agent", "unknown")
#: What was undone, as log2(1 + count) / 4 and at most 1.5; the last ones as their names say.
FEATURES: Final = (
    "percent",
    "html",
    "escapes",
    "char_codes",
    "base64",
    "hex",
    "plus_spaces",
    "confusables",
    "invisible",
    "quotes",
    "carets",
    "ifs",
    "comments",
    "concatenations",
    "mixed_case",
    "layers",  # / 4
    "non_ascii",  # share of the characters
    "log2_length",  # / 16, of the canonical text; the last one, see ``part``
)
_PLACE: Final = {name: place for place, name in enumerate(FEATURES)}

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb]"
)
#: Letters and signs of other scripts that look like Latin ones (the common part of Unicode's confusables).
_LOOKS_LIKE = {
    "a": "аαɑ", "b": "Ьƅ", "c": "сϲ", "d": "ԁ", "e": "еҽ", "g": "ɡց", "h": "һհ", "i": "іιıɩ", "j": "јյ", "k": "κ",
    "l": "ӏ", "n": "ոռ", "o": "оοօ", "p": "рρ", "q": "ԛ", "r": "г", "s": "ѕ", "t": "т", "u": "υս", "v": "νѵ",
    "w": "ԝա", "x": "хχ", "y": "уγ", "A": "АΑ", "B": "ВΒ", "C": "С", "E": "ЕΕ", "H": "НΗ", "I": "ІΙӀ", "J": "Ј",
    "K": "КΚ", "M": "МΜ", "N": "Ν", "O": "ОΟ", "P": "РΡ", "S": "Ѕ", "T": "ТΤ", "X": "ХΧ", "Y": "ҮΥ", "Z": "Ζ",
    "'": "‘’‛′ʹ", '"': "“”„″", "-": "‐‑‒–—−", "/": "∕⁄", "\\": "∖", "|": "∣¦ǀ",
}  # fmt: skip
_CONFUSABLE = str.maketrans({other: letter for letter, others in _LOOKS_LIKE.items() for other in others})
_SPACES = re.compile(r"\s+")
_IFS = re.compile(r"\$\{IFS[^}\s]{0,24}\}|\$IFS(?:\$[0-9@*])?|\$IFS\b")
_NOTHING = re.compile(r"(?<=\w)(?:\$[@*!]|\$\{[@*]\}|\$\(\)|``)(?=[\w/])")
_BRACES = re.compile(r"(^|[\s;|&(`])\{([\w./~*-]{1,64}(?:,[\w./~*:@=-]{1,128}){1,16})\}")
_EMPTY_QUOTES = re.compile(r"(?<=[A-Za-z])(?:''|\"\")(?=[A-Za-z])")
_QUOTED_LETTERS = re.compile(r"(?<=[A-Za-z/])(['\"])([A-Za-z]{1,4})\1(?=[A-Za-z])")
_QUOTED_LETTER = re.compile(r"(?<=[A-Za-z/])(['\"])([A-Za-z])\1(?=[A-Za-z])")
_BACKSLASHED = re.compile(
    r"(?<![\w\\:.])(?:[A-Za-z]{1,2}\\){1,12}[A-Za-z]{1,12}(?![\\\w:])|(?<![\w\\])(?:\\[A-Za-z]){2,24}(?![\\\w])"
)
_CARET = re.compile(r"(?<=[A-Za-z])\^(?=[A-Za-z])|(?<=[\s&|])\^(?=[A-Za-z]\^)")
_TICK = re.compile(r"(?<=[A-Za-z])`(?=[A-Za-z])")
_COMMENT = re.compile(r"/\*!?[0-9]{0,5}([^*/]{0,64})\*/")
_CONCATENATION = re.compile(r"(?<=[\w /.:-])(['\"])\s{0,2}(?:\+|\|\||\.)\s{0,2}\1(?=[\w /.:-])")
_MIXED = re.compile(r"[a-z][A-Z][a-z]|[A-Z][a-z][A-Z]")


class Canonical(msgspec.Struct, frozen=True, gc=False):
    """A text as the judge reads it."""

    text: str
    #: One value each of ``FEATURES``.
    features: tuple[float, ...]
    #: How many layers of encoding were undone.
    layers: int


def canonical(text: str, source: str) -> Canonical:
    r"""Return the canonical form of a text from ``source`` (one of ``SOURCES``; another is "unknown"). Never raises.

    >>> canonical("%2e%2e%252fetc%252fpasswd", "http").text
    '../etc/passwd'
    >>> canonical("c'a't${IFS}/e\\tc/shadow", "shell").text
    'cat /etc/shadow'
    """
    if source not in SOURCES:
        source = "unknown"
    if len(text) > MAX_TEXT:
        text = text[: MAX_TEXT - _TAIL] + text[-_TAIL:]
    counts = [0.0] * len(FEATURES)
    foreign = 0 if text.isascii() else sum(c > "\x7f" for c in text)
    share = foreign / len(text) if text else 0.0
    layers = 0
    while True:
        text = _letters(text, counts)
        text = _tricks(text, source, counts)
        if layers >= MAX_LAYERS:
            break
        text, undone = _decode(text, source, counts)
        if not undone:
            break
        layers += undone
    counts[_PLACE["mixed_case"]] = len(_MIXED.findall(text))
    text = _SPACES.sub(_space, text).strip().lower()
    if source == "dns":
        text = text.rstrip(".")
    features = [min(1.5, math.log2(1 + count) / 4) for count in counts]
    features[_PLACE["layers"]] = layers / 4
    features[_PLACE["non_ascii"]] = share
    features[_PLACE["log2_length"]] = _length(text)
    return Canonical(text, tuple(features), layers)


def part(features: tuple[float, ...], text: str) -> tuple[float, ...]:
    """Return the features of a part of a text in canonical form: what was undone is told of the whole, not length."""
    return (*features[:-1], _length(text))


def _length(text: str) -> float:
    return math.log2(1 + len(text)) / 16


def _decode(text: str, source: str, counts: list[float]) -> tuple[str, int]:
    """Undo one layer of every encoding; return how many there were."""
    layers = 0
    encoded = "%" in text
    if "+" in text and (source == "http" or (source == "unknown" and encoded)) and not _SPACES.search(text):
        counts[_PLACE["plus_spaces"]] += text.count("+")
        text = text.replace("+", " ")
    if source == "dns" and "xn--" in text.lower():
        text = ".".join(_punycode(label) for label in text.split("."))
        layers += 1
    for name, decode in DECODERS:
        text, count = decode(text)
        if count:
            counts[_PLACE[name]] += count
            text = text[:MAX_TEXT]
            layers += 1
    return text, layers


def _letters(text: str, counts: list[float]) -> str:
    """Bring letters to their plain form and remove what is not seen."""
    text, hidden = _INVISIBLE.subn("", text)
    counts[_PLACE["invisible"]] += hidden
    if text.isascii():
        return text
    # One character may become 18; the text stays bounded.
    plain = unicodedata.normalize("NFKC", text)[:MAX_TEXT].translate(_CONFUSABLE)
    counts[_PLACE["confusables"]] += max(0, sum(c > "\x7f" for c in text) - sum(c > "\x7f" for c in plain))
    return plain.encode("utf-8", "replace").decode()


def _tricks(text: str, source: str, counts: list[float]) -> str:
    """Remove what a shell or a database ignores and only hides words."""
    if "$" in text:
        text, spaces = _IFS.subn(" ", text)
        text, nothings = _NOTHING.subn("", text)
        counts[_PLACE["ifs"]] += spaces + nothings
    if "{" in text and "," in text:
        text, braces = _BRACES.subn(lambda match: match[1] + match[2].replace(",", " "), text)
        counts[_PLACE["ifs"]] += braces
    if "'" in text or '"' in text:
        text, joined = _CONCATENATION.subn("", text)
        counts[_PLACE["concatenations"]] += joined
        text, quotes = _EMPTY_QUOTES.subn("", text)
        if source in ("shell", "powershell"):
            text, more = _QUOTED_LETTERS.subn(r"\2", text)
            quotes += more
        elif source != "http":
            text, more = _QUOTED_LETTER.subn(r"\2", text)
            quotes += more
        counts[_PLACE["quotes"]] += quotes
    if "\\" in text and source != "http":
        text, slashes = _BACKSLASHED.subn(lambda match: match[0].replace("\\", ""), text)
        counts[_PLACE["quotes"]] += slashes
    if "^" in text:
        text, carets = _CARET.subn("", text)
        counts[_PLACE["carets"]] += carets
    if "`" in text and source in ("powershell", "unknown"):
        text, ticks = _TICK.subn("", text)
        counts[_PLACE["carets"]] += ticks
    if "/*" in text and source in ("http", "unknown"):
        text, comments = _COMMENT.subn(_comment, text)
        counts[_PLACE["comments"]] += comments
    return text


def _comment(match: re.Match[str]) -> str:
    """Return what a database makes of a comment: a space, or the code in a versioned one."""
    return f" {match[1]} " if match[0].startswith("/*!") else " "


def _space(match: re.Match[str]) -> str:
    """Keep line ends, which separate commands; make one space of other white space."""
    return "\n" if "\n" in match[0] else " "


def _punycode(label: str) -> str:
    """Return an internationalised label in its own letters."""
    if not label.lower().startswith("xn--") or len(label) > 63:
        return label
    try:
        return label[4:].encode("ascii").decode("punycode")
    except (UnicodeError, ValueError):
        return label
