"""Linux audit, by auditd or the kernel, in ``audit.log`` or carried by syslog. One record is one event.

Records of one system call share a serial number (field ``serial``) and are not joined: what a rule asks must stand in
one record. Written with ``log_format = ENRICHED`` or RAW; with RAW the name of a system call is looked up for x86,
64-bit ARM and RISC-V. Reference: https://github.com/linux-audit/audit-documentation/wiki
"""

from __future__ import annotations

from typing import ClassVar

from state.events import Event, Fields, Kind

from .auditd_records import carries_record, few_fields_of, fields_of, find_record
from .auditd_types import record_kind
from .base import Format, Malformed, Position, WrongShape, bounded, text_of
from .hosts import NOWHERE
from .times import EARLIEST, LATEST

GOOD = frozenset({"yes", "success", "1"})
BAD = frozenset({"no", "failed", "fail", "0"})
#: What is read of the records that are most of every log; of others, all fields are.
FEW: dict[str, tuple[str, ...]] = {
    "SYSCALL": ("success", "exe", "UID", "uid", "SYSCALL", "arch", "syscall"),
    "PATH": ("nametype",),
    "CWD": (),
    "EOE": (),
    "PROCTITLE": (),
    "SOCKADDR": (),
}
#: User numbers that stand for nobody (-1).
UNSET = frozenset({"4294967295", "-1", "unset"})


class Auditd(Format):
    """Decode audit records."""

    name: ClassVar[str] = "auditd"
    rank: ClassVar[int] = 55
    marker: ClassVar[bytes] = b"audit("

    def sniff(self, raw: bytes) -> bool:
        """Return whether the line is an audit record, bare or inside syslog."""
        return raw.find(b"audit(") >= 0 and carries_record(raw)

    def decode(self, raw: bytes, at: Position) -> Event:
        """Return the event. Its host is the record's ``node``, else syslog's host, else the stream's default host."""
        record = find_record(text_of(raw))
        if record is None:
            raise WrongShape("no audit record")
        if not EARLIEST <= record.time < LATEST:
            raise Malformed("time_out_of_range", f"time is {record.time} µs since 1970")
        if record.node:
            host = at.hosts.name(record.node)
        elif at.default_host:
            host = at.default_host
        else:
            raise Malformed("missing_host", "the record names no host, and the stream has no default host")
        fields = few_fields_of(record, FEW[record.type]) if record.type in FEW else fields_of(record)
        text = _text(fields, "cmdline" if record.type == "EXECVE" else "cmd" if record.type == "USER_CMD" else "")
        address = _text(fields, "addr")
        source = at.hosts.address(address) if address else NOWHERE
        return Event(
            at.origin,
            at.offset,
            record.time,
            host,
            _kind(record.type, fields),
            raw,
            "auditd",
            _user(fields),
            source.ip,
            process=_text(fields, "exe") or _text(fields, "comm"),
            text=bounded(text) if text else "",
            text_kind="shell" if text else "",
            inbound=bool(source.ip),
        )

    def fields(self, event: Event) -> Fields:
        """Return the record's fields under their own names, encoded values decoded."""
        record = find_record(text_of(event.raw))
        return fields_of(record) if record is not None else {}  # cannot be None: decode found it


def _text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _kind(type: str, fields: Fields) -> Kind:
    told = _text(fields, "success") or _text(fields, "res") or _text(fields, "result")
    outcome = "success" if told in GOOD else "failure" if told in BAD else "unknown"
    if fields.get("permissive") != "1" and (fields.get("seresult") == "denied" or fields.get("apparmor") == "DENIED"):
        outcome = "failure"
    if type == "EXECVE":  # without a count: the rest of many arguments, in a record of its own
        return record_kind(type, outcome, "process-created" if "argc" in fields else "process-arguments")
    return record_kind(type, outcome, _text(fields, {"SYSCALL": "SYSCALL", "PATH": "nametype"}.get(type, "")))


def _user(fields: Fields) -> str:
    """Return the account that the record is about, else the user that acted: by name if told, else by number."""
    for name in ("acct", "UID", "uid"):
        value = _text(fields, name)
        if value and value not in UNSET and value not in ("?", "(unknown)"):
            return bounded(value)
    return ""
