"""Sysmon and PowerShell events: processes, connections, files, DNS queries, script blocks."""

from __future__ import annotations

from flows.traffic.clock import spaced
from flows.traffic.fleet import Host
from flows.traffic.lines.windows import POWERSHELL, SYSMON, emit, guid
from flows.traffic.message import Tape
from flows.traffic.words import Program


def process(tape: Tape, time: int, host: Host, program: Program, user: str, integrity: str = "Medium") -> None:
    r"""Write Sysmon 1, a program started; ``user`` is ``DOMAIN\name``."""
    digest = tape.letters(64, "0123456789ABCDEF")
    data = {
        "RuleName": "-",
        "UtcTime": spaced(time, millis=True),
        "ProcessGuid": guid(tape),
        "ProcessId": str(tape.integer(1_000, 20_000)),
        "Image": program.image,
        "FileVersion": "10.0.19041.1",
        "Description": program.description,
        "Product": "-",
        "Company": program.company,
        "OriginalFileName": program.image.rpartition("\\")[2],
        "CommandLine": program.command_line,
        "CurrentDirectory": "C:\\Windows\\system32\\",
        "User": user,
        "LogonGuid": "{00000000-0000-0000-0000-000000000000}",
        "LogonId": hex(tape.integer(0x10000, 0xFFFFFF)),
        "TerminalSessionId": "1",
        "IntegrityLevel": integrity,
        "Hashes": f"SHA256={digest}",
        "ParentProcessGuid": "{00000000-0000-0000-0000-000000000000}",
        "ParentProcessId": str(tape.integer(400, 9_000)),
        "ParentImage": program.parent.image,
        "ParentCommandLine": program.parent.command_line,
    }
    emit(tape, time, host, SYSMON, 1, data)


def connection(tape: Tape, time: int, host: Host, image: str, ip: str, port: int, name: str, user: str) -> None:
    """Write Sysmon 3, an outgoing TCP connection."""
    data = {
        "RuleName": "-",
        "UtcTime": spaced(time, millis=True),
        "ProcessGuid": guid(tape),
        "ProcessId": str(tape.integer(1_000, 20_000)),
        "Image": image,
        "User": user,
        "Protocol": "tcp",
        "Initiated": "true",
        "SourceIsIpv6": "false",
        "SourceIp": host.ip,
        "SourceHostname": host.fqdn,
        "SourcePort": str(tape.integer(49_152, 65_000)),
        "SourcePortName": "-",
        "DestinationIsIpv6": "false",
        "DestinationIp": ip,
        "DestinationHostname": name,
        "DestinationPort": str(port),
        "DestinationPortName": "-",
    }
    emit(tape, time, host, SYSMON, 3, data)


def file(tape: Tape, time: int, host: Host, image: str, target: str, user: str) -> None:
    """Write Sysmon 11, a file created."""
    stamp = spaced(time, millis=True)
    data = {
        "RuleName": "-",
        "UtcTime": stamp,
        "ProcessGuid": guid(tape),
        "ProcessId": str(tape.integer(1_000, 20_000)),
        "Image": image,
        "TargetFilename": target,
        "CreationUtcTime": stamp,
        "User": user,
    }
    emit(tape, time, host, SYSMON, 11, data)


def dns(tape: Tape, time: int, host: Host, image: str, name: str, ip: str, user: str) -> None:
    """Write Sysmon 22, a DNS query and its result."""
    data = {
        "RuleName": "-",
        "UtcTime": spaced(time, millis=True),
        "ProcessGuid": guid(tape),
        "ProcessId": str(tape.integer(1_000, 20_000)),
        "QueryName": name,
        "QueryStatus": "0" if ip else "9003",
        "QueryResults": f"::ffff:{ip};" if ip else "-",
        "Image": image,
        "User": user,
    }
    emit(tape, time, host, SYSMON, 22, data)


def script(tape: Tape, time: int, host: Host, text: str) -> None:
    """Write PowerShell 4104, a script block as it was run, decoded."""
    data = {
        "MessageNumber": "1",
        "MessageTotal": "1",
        "ScriptBlockText": text,
        "ScriptBlockId": guid(tape)[1:-1],
        "Path": "",
    }
    emit(tape, time, host, POWERSHELL, 4104, data)
