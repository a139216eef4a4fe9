"""What belongs to one host only becomes a placeholder: the question is then the same wherever the same thing happens.

Addresses, names of hosts and users, user folders, and long numbers, ids and times are replaced, each value by one
placeholder of its kind (``[ip-private-1]``), numbered in the order in which they appear. What tells one event from
another stays: event ids, ports, codes, paths, hashes, and accounts that every system has. The answer comes back with
the placeholders, and each event puts its own values in their place (``Names.restored``).
"""

from __future__ import annotations

import ipaddress
import re

#: Accounts that are the same everywhere, and say something.
_ACCOUNTS = frozenset(
    {"system", "root", "administrator", "admin", "guest", "local service", "network service", "anonymous logon"}
    | {"nt authority", "nt service", "builtin", "www-data", "nobody", "daemon", "apache", "nginx", "postgres", "mysql"}
    | {"sshd", "iis apppool", "trustedinstaller", "krbtgt", "public", "default", "all users", "-", "n/a", "unknown", ""}
)
_HOSTS = frozenset(("localhost", "workgroup", "-", "n/a", ""))
#: Last part of a field's name that holds a user, or a host.
_USER_FIELD = re.compile(
    r"(?:^|[._])(?:user|username|user_?name|account|account_?name|suser|duser|login|owner)(?:[._](?:name|id|full_name))?$"
    r"|(?:User|UserName|AccountName|SamAccountName|LogonAccount|RunAsUser)$",
    re.IGNORECASE,
)
_HOST_FIELD = re.compile(
    r"(?:^|[._])(?:host|hostname|host_?name|computer|computer_?name|workstation|domain_?controller|machine)"
    r"(?:[._](?:name|hostname))?$|(?:Computer|Hostname|WorkstationName|ComputerName|TargetServerName)$",
    re.IGNORECASE,
)
_HASH_FIELD = re.compile(r"hash|md5|sha\d|imphash|thumbprint|ja3|ja4|fingerprint", re.IGNORECASE)
_SAME_FIELD = re.compile(
    r"(?:event_?id|event_?code|\bcode|port|status|logon_?type|version|severity|level)$", re.IGNORECASE
)

#: Fields that are another in each event, and mean nothing: ids of connections and records, sender's ports, processes.
_OWN_FIELD = re.compile(
    r"^(?:uid|fuids?|(?:orig|resp)_fuids|conn_uids?|community_id|flow_id|tx_id|id\.orig_p|src_?port|source\.?port|IpPort"
    r"|SourcePort(?:Name)?|record_?(?:id|number)|EventRecordI[dD]|RecordNumber|(?:new)?process_?id|pid|ppid|thread_?id"
    r"|ParentProcessId|SourceProcessId|TargetProcessId|SourceThreadId|ThreadID|process\.(?:parent\.)?(?:pid|thread\.id)"
    r"|event\.sequence)$",
    re.IGNORECASE,
)

_PIECES = re.compile(
    r"(?P<time>\b(?:19|20)\d\d-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?)"
    r"|(?P<guid>\{?\b[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}\b\}?)"
    r"|(?P<sid>\bS-1-5-21(?:-\d{1,10}){3,5})"
    r"|(?P<ip>(?<![\w.:])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]))"
    r"|(?P<ip6>(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:.]))"
    r"|(?P<mac>\b(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}\b)"
    r"|(?P<folder>(?i:(?<=\\users\\)|(?<=/home/)|(?<=/users/)|(?<=\\documents and settings\\))[^\\/\s\"':;,<>|]{1,64})"
    r"|(?P<email>\b[\w.+-]{1,64}@(?=[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}\b))"
    r"|(?P<hex>\b(?:0x)?(?=[0-9A-Fa-f]{0,63}\d)(?=[0-9A-Fa-f]{0,63}[A-Fa-f])[0-9A-Fa-f]{16,64}\b|\b0x[0-9A-Fa-f]{5,16}\b)"
    r"|(?P<number>(?<![\w.])\d{6,20}(?:\.\d{1,9})?(?![\w.]))"
    r"|(?P<pid>(?i:(?<=pid=)|(?<=pid: )|(?<=\[))\d{2,7}(?=[\s\],;)]|$))"
)
_PLACEHOLDER = re.compile(r"\[(?:ip|time|guid|sid|mac|user|host|hex|number|pid)(?:-[a-z]+)?-\d{1,4}\]")
#: Kinds of placeholders by name of the group that found the value.
_KINDS = {"folder": "user", "email": "user", "ip6": "ip"}
#: Placeholders of one event at most; values beyond stay as they are.
MOST = 2_000


class Names:
    """The placeholders of one event. Have it learn all fields first.

    >>> names = Names("web-3")
    >>> names.learn("user", "ann")
    >>> names.abstracted("user", "ann"), names.abstracted("message", "ann on web-3 from 10.1.2.3 to 8.8.8.8, pid=4711")
    ('[user-1]', '[user-1] on [host-1] from [ip-private-1] to [ip-public-1], pid=[pid-1]')
    >>> names.abstracted("uid", "CHhAvVGS1DHFjwGM9"), names.abstracted("id.resp_p", "443")
    ('[number-1]', '443')
    >>> names.restored("[user-1] came from [ip-public-1] [ip-public-9]")
    'ann came from 8.8.8.8 [ip-public-9]'
    """

    def __init__(self, host: str) -> None:
        self._known: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}
        self._values: dict[str, str] = {}
        self._words: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None
        self._name("host", host)

    @property
    def values(self) -> dict[str, str]:
        """Return this event's values by their placeholder; may hold personal data."""
        return dict(self._values)

    def learn(self, field: str, value: str) -> None:
        """Take note of names of users and hosts, which other fields repeat."""
        if _USER_FIELD.search(field):
            domain, _, account = value.rpartition("\\")
            for part in (domain, account or value):
                self._name("user", part)
        elif _HOST_FIELD.search(field):
            self._name("host", value)

    def abstracted(self, field: str, value: str) -> str:
        """Return the value of a field with placeholders in it, names by what was learnt before."""
        if _OWN_FIELD.search(field) and 0 < len(value) <= 64:
            return self._placeholder("number", value)
        if _SAME_FIELD.search(field) and len(value) <= 12:
            return value
        kept = _HASH_FIELD.search(field) is not None
        value = _PIECES.sub(lambda m: m[0] if kept and m.lastgroup in ("hex", "guid") else self._piece(m), value)
        if self._words:
            if self._pattern is None:
                words = sorted(self._words, key=len, reverse=True)
                self._pattern = re.compile(
                    rf"(?<![\w\[-])(?:{'|'.join(map(re.escape, words))})(?![\w\]-])", re.IGNORECASE
                )
            value = self._pattern.sub(lambda m: self._words[m[0].lower()], value)
        return value

    def restored(self, text: str) -> str:
        """Return a text with this event's values in place of the placeholders."""
        return _PLACEHOLDER.sub(lambda m: self._values.get(m[0], m[0]), text)

    def _name(self, kind: str, value: str) -> None:
        value = value.strip()
        same = _ACCOUNTS if kind == "user" else _HOSTS
        # A shorter name is part of too many words; a longer one is none.
        if not 2 <= len(value) <= 256 or value.lower() in same or value.isdigit() or value.lower() in self._words:
            return
        if _PIECES.fullmatch(value):
            return
        self._words[value.lower()] = self._placeholder(kind, value)
        self._pattern = None

    def _piece(self, found: re.Match[str]) -> str:
        kind, value = str(found.lastgroup), found[0]
        if kind in ("ip", "ip6"):
            return self._address(value)
        if kind == "folder":
            return value if value.lower() in _ACCOUNTS else self._placeholder("user", value)
        if kind == "email":
            return self._placeholder("user", value[:-1]) + "@"
        return self._placeholder(_KINDS.get(kind, kind), value)

    def _address(self, value: str) -> str:
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            return value
        if address.is_loopback or address.is_unspecified:
            return value
        scope = "multicast" if address.is_multicast else "private" if address.is_private else "public"
        return self._placeholder(f"ip-{scope}", value)

    def _placeholder(self, kind: str, value: str) -> str:
        key = (kind, value.lower())
        if key not in self._known:
            if len(self._known) >= MOST:
                return value
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._known[key] = name = f"[{kind}-{self._counts[kind]}]"
            self._values[name] = value
        return self._known[key]
