"""Secrets are replaced before anything leaves: passwords, keys and tokens in command lines, URLs and headers.

What is found in one text is replaced in all texts of the same event, by the same placeholder. The same event yields
the same placeholders again, so the way back needs no record: whoever may read the event may ask for them anew.
What looks like nothing known is not found: a bare word is a password only where something says so.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections import Counter
from collections.abc import Iterator
from urllib.parse import unquote_plus

#: Secrets of one event that are told apart.
MOST = 999
#: Secrets from this length on, characters, are also replaced where nothing says that they are any.
LONG = 6
#: Layers of percent-encoding and base64 that are undone.
LAYERS = 2

#: Names after which anything is a secret, and names after which only what looks random is.
_NAMES = (
    r"(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|credentials?|api[-_. ]?key|access[-_. ]?key(?:[-_. ]?id)?"
    r"|account[-_. ]?key|auth[-_. ]?key|private[-_. ]?key|encryption[-_. ]?key|signing[-_. ]?key|shared[-_. ]?key"
    r"|secret[-_. ]?key|jwt)"
)
_WEAK = (
    r"(?:\w{0,32}key|sig|signature|sas|sess(?:ion)?(?:[-_. ]?id)?|sid|auth|authorization|cookie|bearer|otp|code|state"
    r"|\w{0,32}token)"
)
_SAYS = r"[\"']?\]?\s*(?:=>|:=|==|[=:]|%3[ad])\s*"
_VALUE = r"""(?:"([^"]{1,2048})"|'([^']{1,2048})'|([^\s"'&;,<>|)}\]]{1,2048}))"""
_BARE = r"""(?:"([^"]{1,512})"|'([^']{1,512})'|([^\s"']{1,512}))"""

#: Each pattern's groups, where one took part, are secrets.
_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        # Private keys, whole or cut.
        r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(.{1,16384}?)(?:-----END|$)",
        # Headers. All of a cookie, whichever of its values is the session's.
        r"\b(?:proxy-)?authorization\s*[:=]\s*[\"']?(?:(?:basic|bearer|digest|negotiate|ntlm|token|apikey|aws4-hmac-sha256)"
        r"\s+)?([^\"'\r\n]{4,2048})",
        r"\b(?:basic|bearer)\s+([A-Za-z0-9+/=_.~-]{8,2048})",
        r"\b(?:set-)?cookie\s*:\s*([^\"'\r\n]{3,2048})",
        r"\bx-(?:api-key|auth-token|amz-security-token|vault-token|gitlab-token)\s*[:=]\s*[\"']?([^\s\"']{4,2048})",
        # user:password@ of URLs and of impacket's targets; of smbclient user%password.
        r"://[^\s/:@\"']{0,128}:([^\s/\"']{1,256})@",
        r"(?:^|\s)[\w.-]{1,64}/[\w.$-]{1,64}:([^\s@\"']{1,128})@[\w.-]+",
        r"\s-U\s*[\"']?[\w.\\$-]{1,64}%([^\s\"']{1,128})",
        # Keys that their makers marked.
        r"\b((?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16})\b",
        r"\b((?:gh[opusr]_[A-Za-z0-9]{20,255})|github_pat_[A-Za-z0-9_]{20,255})",
        r"\b(xox[abeoprs]-[A-Za-z0-9-]{8,255})",
        r"hooks\.slack\.com/(?:services|workflows)/([A-Za-z0-9/_-]{8,255})",
        r"\b(eyJ[A-Za-z0-9_-]{8,4096}\.[A-Za-z0-9_-]{4,4096}(?:\.[A-Za-z0-9_-]{0,4096})?)",
        r"\b(AIza[A-Za-z0-9_-]{30,45})",
        r"\b(ya29\.[A-Za-z0-9_-]{16,512})",
        r"\b(GOCSPX-[A-Za-z0-9_-]{16,64})",
        r"\b((?:sk|rk|pk)[-_](?:live|test|proj|ant|or)[-_][A-Za-z0-9_-]{12,255})",
        r"\b(sk-[A-Za-z0-9_-]{20,255})",
        r"\b(glpat-[A-Za-z0-9_-]{16,64}|npm_[A-Za-z0-9]{20,64}|pypi-[A-Za-z0-9_-]{16,255}|hvs\.[A-Za-z0-9_-]{20,255}"
        r"|dop_v1_[a-f0-9]{32,80}|SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}|AGE-SECRET-KEY-1[A-Z0-9]{20,80}"
        r"|shpat_[a-f0-9]{24,40}|hf_[A-Za-z0-9]{20,64}|dckr_pat_[A-Za-z0-9_-]{16,64}|tskey-[A-Za-z0-9-]{12,80})",
        r"\b([0-9]{8,10}:[A-Za-z0-9_-]{35})\b",
        # name=value, name: value, "name": "value", <name>value<.
        rf"(?:(?<![A-Za-z])|(?<=[_-])){_NAMES}{_SAYS}{_VALUE}",
        rf"(?<=[a-z])(?-i:Password|Passwd|Pwd|Secret|Token|ApiKey|AccessKey|SecretKey|AccountKey){_SAYS}{_VALUE}",
        rf"<(?:\w+:)?{_NAMES}>([^<]{{1,1024}})<",
        # Options of any tool: --password X, -password X, /password X, /p:X.
        rf"(?:^|\s)(?:--?|/)[\w-]{{0,32}}?(?:pass(?:word|wd|phrase)?|pwd|secret|token|api-?key|access-?key)[=:\s]\s*{_BARE}",
        r"(?:^|\s)/(?:rp|pass|password):" + _BARE,
        # Tools whose own option it is.
        r"\b(?:mysql|mysqldump|mysqladmin|mariadb)\b.{0,512}?\s-p([^\s-][^\s]{0,255})",
        r"\b(?:sshpass|psexec(?:64)?(?:\.exe)?|paexec(?:\.exe)?|evil-winrm|crackmapexec|cme|netexec|nxc|docker login"
        r"|hydra|medusa|xfreerdp|plink(?:\.exe)?|pscp(?:\.exe)?|mongo|mongosh|mongodump|winexe|rpcclient|az login|kinit"
        r"|sqlplus|wmic(?:\.exe)?|schtasks(?:\.exe)?|at(?:\.exe)?|bitsadmin|putty|winscp(?:\.com)?|secretsdump(?:\.py)?)\b"
        r".{0,512}?\s[-/](?:p|pw|rp|password)[\s=:]+" + _BARE,
        r"\b(?:7za?|rar|unrar|zip|unzip|winrar)(?:\.exe)?\b.{0,512}?\s-(?:h?p|P)\s?([^\s]{1,255})",
        r"\bsshpass\s+-p([^\s]{1,255})",
        r"\b(?:sqlcmd|osql|bcp|isql)(?:\.exe)?\b.{0,512}?\s-P\s*" + _BARE,
        r"\b(?:redis-cli|valkey-cli)\b.{0,256}?\s-a\s+" + _BARE,
        r"\b(?:ldapsearch|ldapadd|ldapmodify|ldapwhoami)\b.{0,512}?\s-w\s*" + _BARE,
        r"\bcurl(?:\.exe)?\b.{0,1024}?\s(?:-u|--user|--proxy-user)[\s=]*[\"']?[^\s:\"']{1,128}:([^\s\"']{1,256})",
        r"\b(?:openssl|gpg|keytool)\b.{0,512}?\s(?:pass|-k|-passin|-passout|--passphrase|-storepass|-keypass)[\s:]+"
        r"(?:pass:)?" + _BARE,
        r"\bpass:([^\s\"']{1,255})",
        r"\bssh-keygen\b.{0,256}?\s-[NP]\s+" + _BARE,
        r"\bcmdkey(?:\.exe)?\b.{0,256}?/pass:" + _BARE,
        # Windows' own: net user NAME PASSWORD, net use … PASSWORD /user:…, and PowerShell's secure strings.
        r"\bnet1?(?:\.exe)?\"?\s+user\s+(?:\"[^\"]{1,128}\"|[^\s/]{1,128})\s+(?!/)" + _BARE,
        r"\bnet1?(?:\.exe)?\"?\s+use\s+(?:[A-Za-z*]:?\s+)?\\\\\S{1,256}\s+(?!/)" + _BARE,
        r"\bnet1?(?:\.exe)?\"?\s+use\s+(?:[A-Za-z*]:?\s+)?\\\\\S{1,256}\s+/u(?:ser)?:\S{1,128}\s+(?!/)" + _BARE,
        r"ConvertTo-SecureString\s+(?:-String\s+)?(?!-)" + _BARE,
        r"\bPSCredential\s*\(?\s*[\"'][^\"']{1,128}[\"']\s*,\s*\(?\s*[\"']([^\"']{1,256})[\"']",
        r"\becho\s+[\"']?([^\s\"'|]{4,128})[\"']?\s*\|\s*(?:sudo\s+-S|passwd|chpasswd|openssl|docker\s+login)",
        r"\bchpasswd\b.{0,64}?<<<\s*[\"']?[\w.-]{1,64}:([^\s\"']{1,128})",
        r"\b[\w.-]{1,64}:([^\s\"':|]{4,128})[\"']?\s*\|\s*(?:sudo\s+)?chpasswd",
    )
)
_WEAKLY = re.compile(rf"(?<![A-Za-z]){_WEAK}{_SAYS}{_VALUE}", re.IGNORECASE)
#: Names of fields whose whole value is a secret.
_SECRET_FIELD = re.compile(
    r"(?:^|[._\-\s])(?:pass(?:word|wd|phrase)|pwd|secret|client_?secret|api_?key|access_?token|auth_?token|refresh_?token"
    r"|authorization|set_?cookie|cookie|private_?key|session_?(?:id|key|token))$|(?:Password|Passwd|Secret|ApiKey)$",
    re.IGNORECASE,
)
#: What follows a secret's name and is none.
_PLAIN = frozenset(
    {"true", "false", "null", "none", "yes", "no", "on", "off", "set", "unset", "get", "new", "old", "required"}
    | {"optional", "invalid", "expired", "prompt", "stdin", "ask", "string", "str", "int", "bool", "basic", "bearer"}
    | {"-", "--", "?", "$null"}
)
#: A word that names a variable, not its value; or what we put there ourselves.
_VARIABLE = re.compile(r"^(?:\$\{?[A-Za-z_][\w.:]*\}?|%[A-Za-z_]\w*%|\{\{.*\}\}|<[\w -]+>|\[secret-\d+\]|\*+)$")
_BLOB = re.compile(r"(?<![A-Za-z0-9+/=_-])[A-Za-z0-9+/_-]{20,}={0,2}")
_URLSAFE = str.maketrans("-_", "+/")


class Redactor:
    """Replaces the secrets of one event. Ask it about all texts first (``learn``), then have each ``redacted``.

    >>> hidden = Redactor()
    >>> hidden.learn("curl -u ann:s3cret! https://x.example/?token=abc123def")
    >>> hidden.redacted("curl -u ann:s3cret! https://x.example/?token=abc123def")
    'curl -u ann:[secret-2] https://x.example/?token=[secret-1]'
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._short: list[str] = []
        self._pattern: re.Pattern[str] | None = None

    @property
    def secrets(self) -> dict[str, str]:
        """Return each secret by its placeholder: for the operator only, never to be logged or sent."""
        return {f"[secret-{number}]": secret for secret, number in self._numbers.items()}

    def learn(self, text: str, name: str = "") -> None:
        """Find the secrets of a text, which may be the value of the field ``name``."""
        if name and text and _SECRET_FIELD.search(name) and _is_secret(text):
            self._number(text)
        for form in _forms(text, LAYERS):
            for secret in _found(form):
                self._number(secret)

    def redacted(self, text: str) -> str:
        """Return a text without the secrets that were learnt; an encoding that hides one is undone."""
        return self._redacted(text, LAYERS)

    def _redacted(self, text: str, layers: int) -> str:
        text = self._replaced(text)
        if layers == 0:
            return text
        plain = _unquoted(text)
        if plain != text and (without := self._redacted(plain, layers - 1)) != plain:
            text = without
        return _BLOB.sub(lambda blob: self._blob(blob[0], layers - 1), text)

    def _blob(self, blob: str, layers: int) -> str:
        plain = _unpacked(blob)
        without = self._redacted(plain, layers)
        return f"[base64 of: {without}]" if without != plain else blob

    def _replaced(self, text: str) -> str:
        if self._pattern is None:
            # The longest first: one secret may be part of another.
            long = sorted((s for s in self._numbers if len(s) >= LONG), key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, long)) if long else r"(?!)")
        if text in self._numbers:
            return f"[secret-{self._numbers[text]}]"
        text = self._pattern.sub(lambda m: f"[secret-{self._numbers[m[0]]}]", text)
        # A short one is a common word elsewhere: it is replaced where something says that it is a secret.
        if any(secret in text for secret in self._short):
            for pattern in _PATTERNS:
                text = pattern.sub(self._within, text)
        return text

    def _within(self, found: re.Match[str]) -> str:
        whole = found[0]
        for group in found.groups():
            if group and group in self._numbers:
                at = whole.rfind(group)
                whole = f"{whole[:at]}[secret-{self._numbers[group]}]{whole[at + len(group) :]}"
        return whole

    def _number(self, secret: str) -> None:
        if secret not in self._numbers:
            self._numbers[secret] = min(len(self._numbers) + 1, MOST)
            self._pattern = None
            if len(secret) < LONG:
                self._short.append(secret)


def _found(text: str) -> Iterator[str]:
    for pattern in _PATTERNS:
        for found in pattern.finditer(text):
            yield from (group for group in found.groups() if group and _is_secret(group))
    for found in _WEAKLY.finditer(text):
        yield from (group for group in found.groups() if group and _is_secret(group) and _is_random(group))


def _is_secret(text: str) -> bool:
    return text.lower() not in _PLAIN and not _VARIABLE.match(text)


def _is_random(text: str) -> bool:
    """Return whether a text looks drawn by lot: no word, path or address; Shannon entropy of its characters."""
    if len(text) < 12 or not re.fullmatch(r"[A-Za-z0-9+/=_.~%-]+", text) or text.count("/") > 3:
        return False
    counts = Counter(text)
    bits = -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())
    return bits >= 3.0 and any(c.isdigit() for c in text) and any(c.isalpha() for c in text)


def _forms(text: str, layers: int) -> Iterator[str]:
    """Yield a text, and what it is without its encodings."""
    yield text
    if layers == 0:
        return
    plain = _unquoted(text)
    if plain != text:
        yield from _forms(plain, layers - 1)
    for blob in _BLOB.finditer(text):
        if inner := _unpacked(blob[0]):
            yield from _forms(inner, layers - 1)


def _unquoted(text: str) -> str:
    return unquote_plus(text) if "%" in text else text


def _unpacked(blob: str) -> str:
    """Return the text that base64 holds, in UTF-8 or UTF-16; empty if it holds none."""
    try:
        raw = base64.b64decode(blob.translate(_URLSAFE).rstrip("=") + "=" * (-len(blob.rstrip("=")) % 4), validate=True)
    except (binascii.Error, ValueError):
        return ""
    for encoding in ("utf-16-le",) if raw[1::2].count(0) * 2 > len(raw) // 2 else ("utf-8",):
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if text and sum(c.isprintable() or c.isspace() for c in text) >= 0.9 * len(text):
            return text
    return ""
