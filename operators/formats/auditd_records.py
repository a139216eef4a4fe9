"""Records of Linux audit as text: where they begin in a line, their fields, and the values that are encoded.

Sources: auditd's own parser (``auparse``) of https://github.com/linux-audit/audit-userspace, which says what fields are
encoded (``typetab.h``), and the field dictionary of https://github.com/linux-audit/audit-documentation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv6Address

import msgspec

from state.events import Fields

from .auditd_syscalls import syscall_name
from .auditd_types import NAMES
from .syslog_lines import split

#: Letters of a record that are searched for fields, and fields read of it. Auditd ends a record after 8,970 bytes.
MAX_BODY = 65_536
MAX_FIELDS = 2_048
#: Where auditd's own words about a record begin (``ARCH=x86_64 SYSCALL=execve``).
ENRICHED = "\x1d"
#: What rsyslog makes of that letter.
_ESCAPED_BY_RSYSLOG = "#035"

_STAMP = r"audit\((?P<second>\d{1,11})\.(?P<fraction>\d{1,9}):(?P<serial>\d{1,20})\):"
_RECORD = re.compile(
    rf"(?:node=(?P<node>[^\s\"']{{1,255}}) )?type=(?P<type>[A-Za-z0-9_\[\]]{{1,64}}) msg={_STAMP} ?(?P<body>.*)",
    re.ASCII | re.DOTALL,
)
#: As the kernel logs it while no auditd listens.
_PRINTED = re.compile(
    rf"(?:\[ *\d{{1,12}}\.\d{{1,9}}\] )?(?:audit: )?type=(?P<type>\d{{4}}) {_STAMP} ?(?P<body>.*)", re.ASCII | re.DOTALL
)
_NUMBERED = re.compile(r"UNKNOWN\[(\d{4})\]", re.ASCII)
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+", re.ASCII)
_ARGUMENT = re.compile(r"a(\d{1,6})(\[\d{1,6}\])?", re.ASCII)
#: A name behind a blank; its value in quotation marks or braces, where these may lack at the end, or up to a blank.
_PAIR = re.compile(r"""(?:^|[ \n])([^\s="'{}]{1,64}+)=("[^"]*+"?|\{[^}]*+|[^ \n]*+)""")
#: "op=adding user acct=…", as shadow-utils and older kernels write it.
_WORDS = re.compile(r"(?:^|[ \n])op=([^ \n]*+(?: (?![^ \n]*=)[^ \n]++)*+)")
#: What may follow a value in a list; and a value that must be looked at.
_LIST = ",;"
_AFTER = (",", ";", ")")
_ACCESS = re.compile(r"avc:\s{1,8}(?P<result>denied|granted)\s{1,8}\{(?P<permissions>[^{}]{0,1024})\}", re.ASCII)

#: Address families, as Linux numbers them.
AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
#: Fields whose value is in quotation marks, or else in hexadecimal, whoever wrote it.
ENCODED = frozenset(
    [
        *("acct", "apparmor", "cgroup", "cmd", "comm", "cwd", "data", "device", "dir", "exe", "file", "grp", "info"),
        *("invalid_context", "key", "name", "new-chardev", "new-disk", "new-fs", "new-net", "new-rng", "new_group"),
        *("ocomm", "old-chardev", "old-disk", "old-fs", "old-net", "old-rng", "operation", "path", "proctitle"),
        *("profile", "root_dir", "sw", "vm", "watch"),
    ]
)


class Record(msgspec.Struct, frozen=True, gc=False):
    """One audit record as it stands in a line."""

    #: Name of the host that wrote it: its own word, else that of the syslog header, else empty.
    node: str
    type: str
    #: µs since the epoch.
    time: int
    #: Number that the records of one event share.
    serial: str
    body: str
    #: Program that logged it by syslog; empty if it stands in audit.log.
    carrier: str = ""


def find_record(text: str) -> Record | None:
    """Return the record that a line is, bare or inside syslog; None if it is none.

    >>> find_record("type=EOE msg=audit(1364481363.243:24287): ").type
    'EOE'
    >>> find_record("Sep  7 17:09:48 web kernel: [ 14.9] audit: type=1309 audit(1757264988.958:179): argc=1").node
    'web'
    """
    if text.startswith(("type=", "node=")):
        return _record(text, "", "")
    line = split(text)
    if line is None:
        return None
    if line.message.startswith(("type=", "node=")) or line.program == "kernel":
        return _record(line.message, line.host, line.program)
    if line.program == "audit":
        return _record(f"audit: {line.message}", line.host, line.program)
    return None


def carries_record(raw: bytes) -> bool:
    """Return whether a line is an audit record, bare or inside syslog."""
    return find_record(raw.decode("utf-8", "replace").rstrip("\r\n\0 ")) is not None


def _record(text: str, host: str, carrier: str) -> Record | None:
    match, node = _RECORD.fullmatch(text), ""
    if match is not None:
        node = match["node"] or ""
    elif carrier:
        match = _PRINTED.fullmatch(text)
    if match is None:
        return None
    type = match["type"]
    if (numbered := _NUMBERED.fullmatch(type)) is not None:
        type = NAMES.get(numbered[1], type)
    body = match["body"].replace(_ESCAPED_BY_RSYSLOG, ENRICHED) if carrier else match["body"]
    time = int(match["second"]) * 1_000_000 + int(match["fraction"][:6].ljust(6, "0"))
    return Record(node or host, NAMES.get(type, type), time, match["serial"], body, carrier)


def fields_of(record: Record) -> Fields:
    """Return the record's fields under their own names, decoded, and what is read out of them.

    ``type``, ``node`` and ``serial`` are of the record itself; a program's message (``msg='op=… acct="root"'``) is
    opened, where what the kernel wrote comes first. Of fields in it twice the first counts. Read out of others:
    ``SYSCALL``, ``cmdline`` (all arguments of EXECVE), ``seresult`` and ``seperms`` (SELinux), and ``saddr_fam``,
    ``laddr``, ``lport``, ``path`` of a socket's address. ``(null)`` is null.
    """
    fields: Fields = {"type": record.type, "serial": record.serial}
    if record.node:
        fields["node"] = record.node
    body, _, enriched = record.body.partition(ENRICHED)
    start = body.find("msg='")
    if start >= 0 and (start == 0 or body[start - 1] == " "):
        # An account name may hold an apostrophe, so that the last one ends the message.
        end = body.rfind("'")
        end = end if end > start + 4 else len(body)
        inner, body = body[start + 5 : end], f"{body[:start]}{body[end + 1 :]}"
        _read(body, record.type, fields)
        _read(inner, record.type, fields)
        told = inner
    else:
        _read(body, record.type, fields)
        told = body
    if enriched:
        _read(enriched, ENRICHED, fields)
    _derive(record.type, told, fields)
    return fields


def few_fields_of(record: Record, names: Sequence[str]) -> Fields:
    """Return what ``fields_of`` has under some names, of a record that the kernel wrote: a tenth of the work.

    The kernel writes no blank inside a quoted value, so that a name behind a blank is a name.
    """
    fields: Fields = {}
    if names:
        text = f" {record.body} ".replace(ENRICHED, " ")
        for name in names:
            start = text.find(f" {name}=")
            if start >= 0:
                start += len(name) + 2
                fields[name] = _decoded(name, text[start : text.find(" ", start)])
        if record.type == "SYSCALL":
            _derive(record.type, "", fields)
    return fields


def decode_value(text: str, sep: str = "") -> str:
    """Return what an encoded value stands for: quoted text as it is, hexadecimal as bytes of UTF-8, else unchanged.

    Bytes that are no UTF-8 become ``\\xNN``; ``sep`` replaces NUL.

    >>> decode_value('"cat"'), decode_value("2F746D702F612062"), decode_value("abc"), decode_value("C3A9FF")
    ('cat', '/tmp/a b', 'abc', 'é\\\\xff')
    """
    if text[:1] == '"':
        return text[1:-1] if text[-1:] == '"' and len(text) > 1 else text[1:]
    if _HEX.fullmatch(text) is None:
        return text
    found = bytes.fromhex(text)
    if sep:
        found = found.rstrip(b"\0").replace(b"\0", sep.encode())
    return found.decode("utf-8", "backslashreplace")


def _read(text: str, type: str, into: Fields) -> None:
    """Put the ``name=value`` pairs of a text into ``into``, decoded by the record's type; of two the first counts.

    Of ``SADDR={ laddr=… }``, which auditd adds (type ENRICHED), the pairs inside are put.
    """
    chunks: dict[str, list[str]] = {}
    for name, value in _PAIR.findall(text, 0, MAX_BODY)[:MAX_FIELDS]:
        if name[0] in "(,;" and not (name := name.lstrip("(,;")):
            continue
        if type == "EXECVE" and name[0] == "a" and (argument := _ARGUMENT.fullmatch(name)) is not None:
            if argument[2]:
                chunks.setdefault(f"a{argument[1]}", []).append(value)
            else:
                into.setdefault(name, decode_value(value))
        elif value[:1] == "{":
            if name == "SADDR" and type == ENRICHED:
                _read(value[1:], "", into)
        elif name == "op" and value[:1] != '"':
            if name not in into and (words := _WORDS.search(text, 0, MAX_BODY)) is not None:
                into[name] = words[1]
        elif name not in into:
            into[name] = _decoded(name, value)
    for name, parts in chunks.items():
        # Hexadecimal is joined before it is decoded, for a letter may lie across the cut.
        encoded = all(_HEX.fullmatch(part) for part in parts)
        into.setdefault(name, decode_value("".join(parts)) if encoded else "".join(map(decode_value, parts)))


def _decoded(name: str, value: str) -> object:
    if name in ENCODED:
        if value == "(null)":
            return None
        if name == "proctitle":
            return decode_value(value, " ")
        decoded = decode_value(value)
        if name == "key" and "\x01" in decoded:  # several -k of one rule
            return [key for key in decoded.split("\x01") if key]
        return decoded
    if value[:1] == '"' or (name[-2:] == "ID" and name.isupper()):
        return decode_value(value)
    if value[-1:] in _AFTER:
        if value == "(null)":
            return None
        value = value.rstrip(_LIST)
        if value[-1:] == ")" and "(" not in value:  # "(hostname=?, addr=?, terminal=pts/0 res=success)"
            value = value[:-1]
    return value


def _derive(type: str, told: str, fields: Fields) -> None:
    """Put what is read out of the fields beside them; ``told`` is the text that they were read from."""
    if type in ("SYSCALL", "SECCOMP"):
        if "SYSCALL" not in fields and (name := syscall_name(str(fields.get("arch")), str(fields.get("syscall")))):
            fields["SYSCALL"] = name
    elif type == "EXECVE":
        arguments = [(int(name[1:]), text) for name, text in fields.items() if _is_argument(name)]
        if arguments:
            fields["cmdline"] = " ".join(str(text) for _, text in sorted(arguments))
    elif type in ("AVC", "USER_AVC"):
        if (access := _ACCESS.search(told)) is not None:
            fields["seresult"], fields["seperms"] = access["result"], access["permissions"].split()
    elif type == "SOCKADDR" and "saddr_fam" not in fields and isinstance(saddr := fields.get("saddr"), str):
        fields.update(_socket(saddr))


def _is_argument(name: str) -> bool:
    return name[0] == "a" and name[1:].isdecimal()


def _socket(text: str) -> Fields:
    """Return a ``struct sockaddr`` in the words of auditd; empty if it is cut short or of another family.

    >>> _socket("020000350A0000010000000000000000")
    {'saddr_fam': 'inet', 'laddr': '10.0.0.1', 'lport': '53'}
    """
    if len(text) < 8 or len(text) > 512 or _HEX.fullmatch(text) is None:
        return {}
    data = bytes.fromhex(text)
    # In the byte order of the machine that wrote it; no family reaches 256.
    family = data[0] or data[1]
    number = str(int.from_bytes(data[2:4], "big"))
    if family == AF_INET and len(data) >= 8:
        return {"saddr_fam": "inet", "laddr": ".".join(map(str, data[4:8])), "lport": number}
    if family == AF_INET6 and len(data) >= 24:
        return {"saddr_fam": "inet6", "laddr": str(IPv6Address(data[8:24])), "lport": number}
    if family == AF_UNIX:
        path = data[2:]
        # A name without a file begins with NUL and is written with @.
        name = b"@" + path[1:].rstrip(b"\0") if path[:1] == b"\0" else path.partition(b"\0")[0]
        return {"saddr_fam": "local", "path": name.decode("utf-8", "backslashreplace")}
    return {}
