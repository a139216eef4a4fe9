"""The parts of a syslog line: header, tag and message; RFC 3164 (with and without priority) and RFC 5424."""

from __future__ import annotations

import re
from typing import NamedTuple

_OLD = re.compile(
    r"(?:<(\d{1,3})>)?"
    r"(?:(?P<month>[A-Z][a-z]{2}) {1,2}(?P<day>\d{1,2})(?: (?P<year>\d{4}))? (?P<clock>\d\d:\d\d:\d\d)(?:\.\d{1,9})?"
    r"|(?P<iso>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S{0,20}))"
    r":? (?P<rest>.*)",
    re.ASCII | re.DOTALL,
)
_TAG = re.compile(r"(?P<program>[^\s:\[(]{1,64})(?P<module>\([^\s)]{0,64}\))?(?:\[(?P<pid>[^\]\s]{0,32})\])?:(?: |$)")
_NEW = re.compile(
    r"<(\d{1,3})>\d{1,2} (?P<time>\S+) (?P<host>\S+) (?P<program>\S+) (?P<pid>\S+) (?P<msgid>\S+) "
    r'(?P<data>-|(?:\[(?:[^\]"\\]++|\\.|"(?:[^"\\]++|\\.)*+")*+\])++)(?: (?P<message>.*))?',
    re.DOTALL,
)


class Line(NamedTuple):
    """The parts of a syslog line; empty where it has none."""

    priority: str
    stamp: tuple[str, ...]
    host: str
    program: str
    module: str
    pid: str
    message: str
    msgid: str = ""
    data: str = ""


def split(text: str) -> Line | None:
    """Return the parts of the line, None if it is no syslog."""
    if text[:1] == "<" and (new := _NEW.fullmatch(text)) is not None:
        host, program, pid, msgid, data = (
            "" if new[k] == "-" else new[k] for k in ("host", "program", "pid", "msgid", "data")
        )
        message = (new["message"] or "").removeprefix("\ufeff")
        return Line(new[1], (new["time"],), host, program, "", pid, message, msgid, data)
    old = _OLD.fullmatch(text)
    if old is None:
        return None
    stamp = (old["iso"],) if old["iso"] else (old["month"], old["day"], old["year"] or "", old["clock"])
    rest = old["rest"]
    host, _, after = rest.partition(" ")
    if host.endswith(":") or "[" in host:  # the tag stands where the host should
        host, after = "", rest
    tag = _TAG.match(after)
    if tag is None:
        # "syslogd 1.4.1: restart.", "last message repeated 2 times"
        words = after.split(" ", 2)
        program = words[0] if len(words) > 1 and words[1].endswith(":") and words[0].isalnum() else ""
        return Line(old[1] or "", stamp, host, program, "", "", after)
    module = (tag["module"] or "").strip("()")
    return Line(old[1] or "", stamp, host, tag["program"], module, tag["pid"] or "", after[tag.end() :])
