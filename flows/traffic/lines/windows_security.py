"""Windows Security events: logons and their failures, privileges, processes, connections."""

from __future__ import annotations

from flows.traffic.fleet import Host
from flows.traffic.lines.windows import AUDITING, emit
from flows.traffic.message import Tape
from flows.traffic.words import Program

_DOMAIN = "CORP"
_PRIVILEGES = ("SeSecurityPrivilege", "SeBackupPrivilege", "SeRestorePrivilege", "SeDebugPrivilege")
_NOBODY = {"SubjectUserSid": "S-1-0-0", "SubjectUserName": "-", "SubjectDomainName": "-", "SubjectLogonId": "0x0"}


def _logon_id(tape: Tape) -> str:
    return hex(tape.integer(0x10000, 0xFFFFFFF))


def logon(tape: Tape, time: int, host: Host, user: str, ip: str, kind: int) -> None:
    """Write 4624; ``kind`` is the logon type: 2 interactive, 3 network, 5 service, 7 unlock, 10 remote desktop."""
    data = {
        **_NOBODY,
        "TargetUserSid": host.sid,
        "TargetUserName": user,
        "TargetDomainName": _DOMAIN,
        "TargetLogonId": _logon_id(tape),
        "LogonType": str(kind),
        "LogonProcessName": "Kerberos" if kind == 3 else "User32 ",
        "AuthenticationPackageName": "Kerberos" if kind == 3 else "Negotiate",
        "WorkstationName": "-",
        "LogonGuid": "{00000000-0000-0000-0000-000000000000}",
        "TransmittedServices": "-",
        "LmPackageName": "-",
        "KeyLength": "0",
        "ProcessId": "0x0",
        "ProcessName": "-",
        "IpAddress": ip or "-",
        "IpPort": str(tape.integer(49_152, 65_000)) if ip else "-",
        "ImpersonationLevel": "%%1833",
        "ElevatedToken": "%%1843",
    }
    emit(tape, time, host, AUDITING, 4624, data)


def logon_failed(tape: Tape, time: int, host: Host, user: str, ip: str, kind: int, known: bool = True) -> None:
    """Write 4625: a wrong password, or a user that does not exist."""
    data = {
        **_NOBODY,
        "TargetUserSid": "S-1-0-0",
        "TargetUserName": user,
        "TargetDomainName": _DOMAIN,
        "Status": "0xc000006d",
        "FailureReason": "%%2313",
        "SubStatus": "0xc000006a" if known else "0xc0000064",
        "LogonType": str(kind),
        "LogonProcessName": "NtLmSsp ",
        "AuthenticationPackageName": "NTLM",
        "WorkstationName": "-",
        "TransmittedServices": "-",
        "LmPackageName": "-",
        "KeyLength": "0",
        "ProcessId": "0x0",
        "ProcessName": "-",
        "IpAddress": ip or "-",
        "IpPort": str(tape.integer(49_152, 65_000)) if ip else "-",
    }
    emit(tape, time, host, AUDITING, 4625, data)


def logoff(tape: Tape, time: int, host: Host, user: str, kind: int) -> None:
    """Write 4634."""
    data = {
        "TargetUserSid": host.sid,
        "TargetUserName": user,
        "TargetDomainName": _DOMAIN,
        "TargetLogonId": _logon_id(tape),
        "LogonType": str(kind),
    }
    emit(tape, time, host, AUDITING, 4634, data)


def privileges(tape: Tape, time: int, host: Host, user: str = "SYSTEM") -> None:
    """Write 4672: a logon with special privileges."""
    data = {
        "SubjectUserSid": "S-1-5-18" if user == "SYSTEM" else host.sid,
        "SubjectUserName": user,
        "SubjectDomainName": "NT AUTHORITY" if user == "SYSTEM" else _DOMAIN,
        "SubjectLogonId": "0x3e7" if user == "SYSTEM" else _logon_id(tape),
        "PrivilegeList": "\n\t\t\t".join(_PRIVILEGES),
    }
    emit(tape, time, host, AUDITING, 4672, data)


def process(tape: Tape, time: int, host: Host, program: Program, user: str) -> None:
    """Write 4688 with its command line."""
    data = {
        "SubjectUserSid": host.sid,
        "SubjectUserName": user,
        "SubjectDomainName": _DOMAIN,
        "SubjectLogonId": _logon_id(tape),
        "NewProcessId": hex(tape.integer(1_000, 20_000)),
        "NewProcessName": program.image,
        "TokenElevationType": "%%1936",
        "ProcessId": hex(tape.integer(400, 9_000)),
        "CommandLine": program.command_line,
        "TargetUserSid": "S-1-0-0",
        "TargetUserName": "-",
        "TargetDomainName": "-",
        "TargetLogonId": "0x0",
        "ParentProcessName": program.parent.image,
        "MandatoryLabel": "S-1-16-8192",
    }
    emit(tape, time, host, AUDITING, 4688, data)


def connection(tape: Tape, time: int, host: Host, ip: str, port: int) -> None:
    """Write 5156: the filtering platform permitted an outgoing connection."""
    data = {
        "ProcessID": str(tape.integer(400, 9_000)),
        "Application": "\\device\\harddiskvolume2\\windows\\system32\\svchost.exe",
        "Direction": "%%14593",
        "SourceAddress": host.ip,
        "SourcePort": str(tape.integer(49_152, 65_000)),
        "DestAddress": ip,
        "DestPort": str(port),
        "Protocol": "6",
        "FilterRTID": "69895",
        "LayerName": "%%14611",
        "LayerRTID": "48",
        "RemoteUserID": "S-1-0-0",
        "RemoteMachineID": "S-1-0-0",
    }
    emit(tape, time, host, AUDITING, 5156, data)
