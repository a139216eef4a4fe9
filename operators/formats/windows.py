"""Windows events, shared by every way they are shipped: what is read of the event data, and how it becomes an Event.

Field names: the events' own, https://learn.microsoft.com/windows/security/threat-protection/auditing and Sysmon's.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from state.events import Event, Kind

from .base import Position, bounded, port
from .hosts import NOWHERE
from .kinds import kind
from .windows_kinds import classify, source_type

#: Executables whose command line is PowerShell.
POWERSHELL = ("powershell.exe", "pwsh.exe", "powershell_ise.exe", "powershell", "pwsh")
#: Security events that are about the account they name as target.
ABOUT_TARGET = frozenset({4624, 4625, 4634, 4647, 4648, 4768, 4769, 4770, 4771, 4772, 4773, 4776, 4777, 4964})
#: Of these, those that tell success by a status code.
BY_STATUS = frozenset({4768, 4769, 4776})


class EventData(msgspec.Struct, gc=False):
    """The fields of any event's data that an Event is filled from."""

    essential: ClassVar[frozenset[str]] = frozenset()

    Image: str = ""
    CommandLine: str = ""
    NewProcessName: str = ""
    ProcessName: str = ""
    SourceImage: str = ""
    Application: str = ""
    User: str = ""
    SourceUser: str = ""
    TargetUserName: str = ""
    SubjectUserName: str = ""
    IpAddress: str = ""
    IpPort: str | int = ""
    SourceIp: str = ""
    SourcePort: str | int = ""
    DestinationIp: str = ""
    DestinationPort: str | int = ""
    SourceAddress: str = ""
    DestAddress: str = ""
    DestPort: str | int = ""
    QueryName: str = ""
    ScriptBlockText: str = ""
    ImagePath: str = ""
    ServiceFileName: str = ""
    Status: str | int = ""
    UtcTime: str = ""


def to_event(
    raw: bytes, at: Position, name: str, time: int, host: str, channel: str, code: int, data: EventData, user: str = ""
) -> Event:
    """Return a Windows event as an event of format ``name``; ``user`` is whoever the event's header names."""
    hosts = at.hosts
    found = classify(channel, code)
    if code in BY_STATUS and channel in ("Security", "security"):
        found = _by_status(found, data.Status)

    process = data.Image or data.NewProcessName or data.ProcessName or data.SourceImage or data.Application
    if process == "-":
        process = ""
    if code in ABOUT_TARGET:
        user = data.TargetUserName or data.SubjectUserName or user
    else:
        user = data.User or data.SourceUser or data.SubjectUserName or user
    user = _account(user) if user else ""

    text = text_kind = ""
    if data.ScriptBlockText:
        text, text_kind = data.ScriptBlockText, "powershell"
    elif data.CommandLine:
        text = data.CommandLine
        text_kind = "powershell" if process.lower().endswith(POWERSHELL) else "shell"
    elif data.QueryName and found.action == "dns-query":
        text, text_kind = data.QueryName, "dns"
    elif found.action == "service-installed":
        text = data.ImagePath or data.ServiceFileName
        text_kind = "shell" if text else ""

    source = target = NOWHERE
    source_port = target_port = 0
    if data.SourceIp:
        source, target = hosts.address(data.SourceIp), hosts.address(data.DestinationIp)
        source_port, target_port = port(data.SourcePort), port(data.DestinationPort)
    elif data.SourceAddress:
        source, target = hosts.address(data.SourceAddress), hosts.address(data.DestAddress)
        source_port, target_port = port(data.SourcePort), port(data.DestPort)
    elif data.IpAddress:
        source, source_port = hosts.address(data.IpAddress), port(data.IpPort)
    return Event(
        at.origin,
        at.offset,
        time,
        host,
        found,
        raw,
        name,
        user,
        source.ip,
        source_port,
        target.ip,
        target_port,
        process,
        bounded(text) if text else "",
        text_kind,
    )


def _by_status(found: Kind, status: str | int) -> Kind:
    """Return the kind with the outcome that an NTSTATUS or Kerberos result code tells."""
    good = status in ("0x0", "0x00000000", 0, "0")
    if status == "":
        return found
    action = found.action
    if action.startswith("logon"):
        action = "logon-succeeded" if good else "logon-failed"
    outcome = "success" if good else "failure"
    return kind(source_type(found.channel), found.category, action, outcome, found.channel, found.code)


def _account(text: str) -> str:
    """Return an account's name in lower case without its domain; Windows compares them without regard to case.

    >>> _account("THESHIRE\\\\pgustavo"), _account("-")
    ('pgustavo', '')
    """
    name = text.rpartition("\\")[2].lower()
    return "" if name == "-" else name
