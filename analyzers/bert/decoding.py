"""Undo one layer of encoding at a time: percent, HTML, escapes, character codes, base64, hex. Pure, bounded, linear.

Each function takes a text and returns it with the encoded parts replaced by what they stand for, and how many were
replaced. A blob is opened only if what comes out is text throughout: of random bytes of that length, less than one in
100,000 is.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import zlib
from collections.abc import Callable

#: A compressed blob is opened no further than this, characters.
INFLATED = 16_384

_PERCENT = re.compile(r"(?:%[0-9a-fA-F]{2})+")
_PERCENT_U = re.compile(r"%u([0-9a-fA-F]{4})")
_ENTITY = re.compile(r"&(?:#[xX][0-9a-fA-F]{1,6};?|#[0-9]{1,7};?|[a-zA-Z]{2,8};)")
#: A single ``\x64`` is a folder of Windows; two in a row are not.
_ESCAPES = re.compile(r"(?:\\x[0-9a-fA-F]{2}){2,}|(?:\\u[0-9a-fA-F]{4}){2,}|(?:\\[0-3][0-7]{2}){2,}")
_ESCAPED = re.compile(r"\\x([0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\([0-3][0-7]{2})")
_CODES = re.compile(
    r"(?i)\b(?:n?char|chr|(?:string\.)?fromcharcode)\s{0,4}\(\s{0,4}([0-9]{1,3}(?:\s{0,2},\s{0,2}[0-9]{1,3})*+)\s{0,4}\)"
)
_CAST = re.compile(r"(?i)\[char\]\s{0,2}(?:0x([0-9a-f]{2})|([0-9]{2,3}))\b")
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_%\\-])[A-Za-z0-9+/_-]{16,}={0,2}")
_HEX = re.compile(r"(?<![0-9a-zA-Z])(0[xX])?((?:[0-9a-fA-F]{2}){6,})(?![0-9a-zA-Z])")
#: C0 AF is a slash to servers that are too lenient.
_OVERLONG = re.compile(rb"[\xc0\xc1][\x80-\xbf]")
_ALPHABET = str.maketrans("-_", "+/")


def percent(text: str) -> tuple[str, int]:
    """Decode ``%41``, UTF-8 runs of them, overlong ones and ``%u0041``; what decodes to no text stays as it is."""
    if "%" not in text:
        return text, 0
    count = 0

    def run(match: re.Match[str]) -> str:
        nonlocal count
        decoded = _bytes(bytes.fromhex(match[0].replace("%", "")))
        count += decoded != match[0]
        return decoded

    text = _PERCENT.sub(run, text)
    text, wide = _PERCENT_U.subn(lambda match: _character(int(match[1], 16), match[0]), text)
    return text, count + wide


def entities(text: str) -> tuple[str, int]:
    """Decode HTML entities; a named one needs its semicolon, so that ``a=1&copy=2`` stays."""
    if "&" not in text:
        return text, 0
    count = 0

    def one(match: re.Match[str]) -> str:
        nonlocal count
        decoded = html.unescape(match[0])
        count += decoded != match[0]
        return decoded

    return _ENTITY.sub(one, text), count


def escapes(text: str) -> tuple[str, int]:
    r"""Decode runs of ``\x41``, ``\u0041`` and ``\101``."""
    if "\\" not in text:
        return text, 0

    def one(match: re.Match[str]) -> str:
        code = int(match[1] or match[2], 16) if match[1] or match[2] else int(match[3], 8)
        return _character(code, match[0])

    return _ESCAPES.subn(lambda match: _ESCAPED.sub(one, match[0]), text)


def character_codes(text: str) -> tuple[str, int]:
    """Write out ``CHAR(97,98)``, ``chr(97)``, ``String.fromCharCode(97)`` and ``[char]97``."""
    if "(" not in text and "[" not in text:
        return text, 0

    def listed(match: re.Match[str]) -> str:
        return "'" + "".join(_character(int(code), "?") for code in match[1].split(",")) + "'"

    def cast(match: re.Match[str]) -> str:
        return "'" + _character(int(match[1], 16) if match[1] else int(match[2]), "?") + "'"

    text, lists = _CODES.subn(listed, text)
    text, casts = _CAST.subn(cast, text)
    return text, lists + casts


def base64_blobs(text: str) -> tuple[str, int]:
    """Open base64 (both alphabets) of text: UTF-8, UTF-16 as PowerShell's ``-EncodedCommand`` has it, or gzip of it."""
    if len(text) < 16:
        return text, 0
    count = 0

    def one(match: re.Match[str]) -> str:
        nonlocal count
        blob = match[0].rstrip("=").translate(_ALPHABET)
        if len(blob) % 4 == 1:
            return match[0]
        try:
            opened = _text(base64.b64decode(blob + "=" * (-len(blob) % 4)))
        except binascii.Error:
            return match[0]
        if opened is None:
            return match[0]
        count += 1
        return opened

    return _BASE64.sub(one, text), count


def hex_blobs(text: str) -> tuple[str, int]:
    """Open hexadecimal that holds text; digits alone, as of a card or a time, only after ``0x``."""
    count = 0

    def one(match: re.Match[str]) -> str:
        nonlocal count
        if not match[1] and match[2].isdecimal():
            return match[0]
        opened = _text(bytes.fromhex(match[2]))
        if opened is None:
            return match[0]
        count += 1
        return f"'{opened}'" if match[1] else opened

    return _HEX.sub(one, text), count


#: In this order; the names are those of the features that count them.
DECODERS: tuple[tuple[str, Callable[[str], tuple[str, int]]], ...] = (
    ("percent", percent),
    ("html", entities),
    ("escapes", escapes),
    ("char_codes", character_codes),
    ("base64", base64_blobs),
    ("hex", hex_blobs),
)


def _character(code: int, otherwise: str) -> str:
    """Return the character; ``otherwise`` if it is none."""
    return chr(code) if code in (0, 9, 10, 13) or 32 <= code < 0xD800 or 0xE000 <= code < 0xFFFE else otherwise


def _bytes(raw: bytes) -> str:
    """Return percent-encoded bytes as text; those that are no UTF-8 and no printable ASCII percent-encoded again."""
    if b"\xc0" in raw or b"\xc1" in raw:
        raw = _OVERLONG.sub(lambda match: bytes([(match[0][0] & 1) << 6 | match[0][1] & 0x3F]), raw)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return "".join(chr(byte) if 32 <= byte < 127 else f"%{byte:02x}" for byte in raw)
    # %02 is more often a width of printf than a control character.
    return "".join(c if c >= " " or c in "\0\t\n\r" else f"%{ord(c):02x}" for c in text)


def _text(raw: bytes) -> str | None:
    """Return what the bytes hold as text; None if they are not text throughout."""
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = zlib.decompressobj(wbits=31).decompress(raw, INFLATED)
        except zlib.error:
            return None
    if len(raw) >= 8 and not any(raw[1::2]):
        raw = raw[::2]
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    stray = any((c < " " and c not in "\t\n\r") or c == "\x7f" for c in text)
    return None if stray or not text.isascii() else text
