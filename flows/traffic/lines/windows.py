"""Windows events in the format that the host ships them in: Winlogbeat 7 (ECS) or NXLog (flat)."""

from __future__ import annotations

import orjson

from flows.traffic.clock import HOUR, iso_millis, spaced
from flows.traffic.fleet import Host
from flows.traffic.message import Tape

SYSMON = "Microsoft-Windows-Sysmon"
AUDITING = "Microsoft-Windows-Security-Auditing"
POWERSHELL = "Microsoft-Windows-PowerShell"
_CHANNEL = {
    SYSMON: "Microsoft-Windows-Sysmon/Operational",
    AUDITING: "Security",
    POWERSHELL: "Microsoft-Windows-PowerShell/Operational",
}
_GUID = {
    SYSMON: "{5770385F-C22A-43E0-BF4C-06F5698FFBD9}",
    AUDITING: "{54849625-5478-4994-A5BA-3E3B0328C30D}",
    POWERSHELL: "{A0C1853B-5C40-4B15-8766-3CF1C58F985A}",
}
#: Event ids with the name of their task and the first line of their message.
_TASKS = {
    1: ("Process Create (rule: ProcessCreate)", "Process Create:"),
    3: ("Network connection detected (rule: NetworkConnect)", "Network connection detected:"),
    11: ("File created (rule: FileCreate)", "File created:"),
    22: ("Dns query (rule: DnsQuery)", "Dns query:"),
    4104: ("Execute a Remote Command", "Creating Scriptblock text (1 of 1):"),
    4624: ("Logon", "An account was successfully logged on."),
    4625: ("Logon", "An account failed to log on."),
    4634: ("Logoff", "An account was logged off."),
    4672: ("Special Logon", "Special privileges assigned to new logon."),
    4688: ("Process Creation", "A new process has been created."),
    5156: ("Filtering Platform Connection", "The Windows Filtering Platform has permitted a connection."),
}


def emit(tape: Tape, time: int, host: Host, provider: str, code: int, data: dict[str, str]) -> None:
    """Write one event with its named data; Sysmon's and PowerShell's messages repeat the data, as the originals do."""
    task, head = _TASKS[code]
    message = head
    if provider == SYSMON:
        message = head + "\r\n" + "\r\n".join([f"{key}: {value}" for key, value in data.items()])
    elif provider == POWERSHELL:
        message = f"{head}\r\n{data['ScriptBlockText']}\r\n\r\nScriptBlock ID: {data['ScriptBlockId']}\r\nPath: "
    record = tape.integer(10_000, 9_999_999)
    if host.dialect == "windows_nxlog":
        value = _nxlog(tape, time, host, provider, code, data, task, message, record)
    else:
        value = _winlogbeat(tape, time, host, provider, code, data, task, message, record)
    tape.write(time, host.name, host.dialect, value)


def _winlogbeat(
    tape: Tape,
    time: int,
    host: Host,
    provider: str,
    code: int,
    data: dict[str, str],
    task: str,
    message: str,
    record: int,
) -> bytes:
    stamp = iso_millis(time)
    return orjson.dumps(
        {
            "@timestamp": stamp,
            "@metadata": {"beat": "winlogbeat", "type": "_doc", "version": "7.17.9"},
            "event": {"kind": "event", "code": str(code), "provider": provider, "action": task, "created": stamp,
                      **({"outcome": "failure" if code == 4625 else "success"} if provider == AUDITING else {})},
            "host": {"name": host.fqdn},
            "log": {"level": "information"},
            "winlog": {
                "channel": _CHANNEL[provider],
                "computer_name": host.fqdn,
                "event_id": code,
                "provider_name": provider,
                "provider_guid": _GUID[provider],
                "record_id": record,
                "opcode": "Info",
                "task": task,
                "api": "wineventlog",
                "process": {"pid": 4, "thread": {"id": tape.integer(100, 9_000)}},
                "event_data": data,
            },
            "message": message,
            "agent": {"type": "winlogbeat", "version": "7.17.9", "hostname": host.name, "name": host.name},
            "ecs": {"version": "1.12.0"},
        }
    )  # fmt: skip


def _nxlog(
    tape: Tape,
    time: int,
    host: Host,
    provider: str,
    code: int,
    data: dict[str, str],
    task: str,
    message: str,
    record: int,
) -> bytes:
    local = spaced(time + int(host.utc_offset_hours * HOUR))
    return orjson.dumps(
        {
            "@timestamp": iso_millis(time),
            "EventTime": local,
            "EventReceivedTime": local,
            "Hostname": host.fqdn,
            "Keywords": -9214364837600034816,
            "EventType": "AUDIT_FAILURE" if code == 4625 else "AUDIT_SUCCESS" if provider == AUDITING else "INFO",
            "SeverityValue": 2,
            "Severity": "INFO",
            "EventID": code,
            "SourceName": provider,
            "ProviderGuid": _GUID[provider],
            "Version": 5,
            "Task": 1,
            "OpcodeValue": 0,
            "RecordNumber": record,
            "ProcessID": 4,
            "ThreadID": tape.integer(100, 9_000),
            "Channel": _CHANNEL[provider],
            "Category": task,
            "Opcode": "Info",
            "Message": message,
            "SourceModuleName": "eventlog",
            "SourceModuleType": "im_msvistalog",
            **data,
        }
    )


def guid(tape: Tape) -> str:
    """Return a random GUID in braces."""
    text = tape.letters(32, "0123456789abcdef")
    return f"{{{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}}}"
