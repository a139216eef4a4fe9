"""A rule is asked only about the events that its log source means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from analyzers.rules import LogSource, RuleSet
from analyzers.rules.logsources import routes
from state.events import Kind

SYSMON = "Microsoft-Windows-Sysmon/Operational"


def windows(channel: str, code: int) -> Kind:
    return Kind("windows.any", "host", "any", channel=channel, code=code)


def source(name: str, category: str = "host") -> Kind:
    return Kind(name, category, "any")


def sysmon_for_linux(code: int) -> Kind:
    return Kind("linux.sysmon", "host", "any", channel="Linux-Sysmon/Operational", code=code)


def win(category: str = "", service: str = "") -> LogSource:
    return LogSource("windows", category, service)


@pytest.mark.parametrize(
    ("logsource", "kind", "expected"),
    [
        (win("process_creation"), windows(SYSMON, 1), True),
        (win("process_creation"), windows(SYSMON, 5), False),
        (win("process_creation"), windows("Security", 4688), True),
        (win("process_creation"), windows("Security", 4624), False),
        (win("process_creation"), windows("Application", 1), False),
        (win("process_creation", "sysmon"), windows(SYSMON, 1), True),
        (win("process_creation", "sysmon"), windows("Security", 4688), False),
        (win("network_connection"), windows(SYSMON, 3), True),
        (win("registry_event"), windows(SYSMON, 12), True),
        (win("registry_event"), windows(SYSMON, 14), True),
        (win("registry_set"), windows(SYSMON, 12), False),
        (win("registry_set"), windows(SYSMON, 13), True),
        (win("file_delete"), windows(SYSMON, 26), True),
        (win("pipe_created"), windows(SYSMON, 18), True),
        (win("dns_query"), windows(SYSMON, 22), True),
        (win("ps_script"), windows("Microsoft-Windows-PowerShell/Operational", 4104), True),
        (win("ps_script"), windows("PowerShellCore/Operational", 4104), True),
        (win("ps_script"), windows("Microsoft-Windows-PowerShell/Operational", 4103), False),
        (win("ps_module"), windows("Microsoft-Windows-PowerShell/Operational", 4103), True),
        (win("ps_classic_start"), windows("Windows PowerShell", 400), True),
        (win("ps_classic_provider_start"), windows("Windows PowerShell", 600), True),
        (win(service="security"), windows("security", 4624), True),
        (win(service="security"), windows("System", 4624), False),
        (win(service="system"), windows("System", 7045), True),
        (win(service="windefend"), windows("Microsoft-Windows-Windows Defender/Operational", 1116), True),
        (win(service="sysmon"), windows(SYSMON, 255), True),
        (win(service="applocker"), windows("Microsoft-Windows-AppLocker/EXE and DLL", 8004), True),
        (win(), windows("Anything", 1), True),
        (win(), source("linux.sshd"), False),
        (LogSource(category="process_creation"), windows(SYSMON, 1), True),
        (LogSource(category="antivirus"), windows("Microsoft-Windows-Windows Defender/Operational", 1116), True),
        (LogSource("linux"), source("linux.kernel"), True),
        (LogSource("linux"), windows("Security", 4624), False),
        (LogSource("linux", "", "sshd"), source("linux.sshd"), True),
        (LogSource("linux", "", "sshd"), source("linux.cron"), False),
        (LogSource("linux", "", "auth"), source("linux.sudo"), True),
        (LogSource("linux", "", "auth"), source("linux.ftpd", "authentication"), True),
        (LogSource("linux", "", "auth"), source("linux.kernel"), False),
        (LogSource("linux", "", "cron"), source("linux.crond"), True),
        (LogSource("linux", "process_creation"), sysmon_for_linux(1), True),
        (LogSource("linux", "process_creation"), sysmon_for_linux(5), False),
        (LogSource("linux", "process_creation"), windows(SYSMON, 1), False),
        (LogSource("linux", "process_creation", "sysmon"), sysmon_for_linux(1), True),
        (LogSource("linux", "file_event"), sysmon_for_linux(11), True),
        (LogSource("linux", "network_connection"), sysmon_for_linux(3), True),
        (LogSource("linux", "", "sysmon"), sysmon_for_linux(23), True),
        (LogSource(category="process_creation"), sysmon_for_linux(1), True),
        (win("process_creation"), sysmon_for_linux(1), False),
        (win(), sysmon_for_linux(1), False),
        (LogSource("linux", "", "auditd"), source("auditd.execve"), True),
        (LogSource("linux", "", "auditd"), source("linux.auditd"), False),
        (LogSource("linux", "", "auditd"), source("linux.sshd"), False),
        (LogSource("linux", "", "syslog"), source("auditd.user_auth"), False),
        (LogSource("linux", "", "auth"), source("auditd.user_auth", "authentication"), False),
        (LogSource("linux"), source("auditd.syscall"), True),
        (LogSource("zeek", "", "dns"), source("zeek.dns"), True),
        (LogSource("zeek", "", "dns"), source("zeek.conn"), False),
        (LogSource("zeek", "", "smb_files"), source("zeek.smb_files"), True),
        (LogSource("zeek"), source("zeek.anything"), True),
        (LogSource("suricata", "", "alert"), source("suricata.alert"), True),
        (LogSource("zeek", "dns"), source("zeek.dns"), True),
        (LogSource("zeek", "dns"), source("suricata.dns"), False),
        (LogSource(category="dns"), source("suricata.dns"), True),
        (LogSource(category="webserver"), source("apache.access"), True),
        (LogSource(category="webserver"), source("zeek.http"), True),
        (LogSource(category="proxy"), source("suricata.http"), True),
        (LogSource(category="proxy"), source("apache.access"), False),
        (LogSource(category="firewall"), source("zeek.conn"), True),
        (LogSource(service="apache"), source("apache.error"), True),
        (LogSource("apache"), source("apache.access"), True),
        (LogSource("windows", "PROCESS_CREATION"), windows(SYSMON, 1), True),
    ],
)
def test_route(logsource: LogSource, kind: Kind, expected: bool) -> None:
    assert any(route.accepts(kind) for route in routes(logsource)) is expected


@pytest.mark.parametrize(
    "logsource",
    [
        LogSource("aws", "", "cloudtrail"),
        LogSource("linux", "image_load"),
        LogSource("linux", "process_creation", "auditd"),
        LogSource("macos", "process_creation"),
        LogSource("windows", "file_access"),
        LogSource("windows", "", "no-such-service"),
        LogSource("opencanary", "application"),
        LogSource("cisco", "", "syslog"),
        LogSource(category="database"),
    ],
)
def test_a_log_source_that_no_format_yields_is_listed(
    rule_set: Callable[..., RuleSet], make_rule: Callable[..., dict[str, Any]], logsource: LogSource
) -> None:
    wanted = {
        name: value
        for name, value in (
            ("product", logsource.product),
            ("category", logsource.category),
            ("service", logsource.service),
        )
        if value
    }
    rules = rule_set(make_rule({"sel": {"A": 1}, "condition": "sel"}, wanted))
    assert not rules.problems
    assert rules.unserved() == {logsource: rules.rules}


PROCESS_4688 = {
    "EventID": 4688,
    "NewProcessName": "C:\\Windows\\System32\\whoami.exe",
    "ParentProcessName": "C:\\Windows\\cmd.exe",
    "NewProcessId": "0x10",
    "ProcessId": "0x20",
    "CommandLine": "whoami /all",
    "SubjectUserName": "jane",
    "SubjectDomainName": "CORP",
    "TargetUserName": "-",
    "MandatoryLabel": "S-1-16-12288",
}


@pytest.mark.parametrize(
    ("detection", "expected"),
    [
        ({"Image|endswith": "\\whoami.exe"}, True),
        ({"ParentImage|endswith": "\\cmd.exe"}, True),
        ({"image|endswith": "\\whoami.exe"}, True),
        ({"User": "CORP\\jane"}, True),
        ({"IntegrityLevel": "High"}, True),
        ({"IntegrityLevel": "S-1-16-12288"}, True),
        ({"ProcessId": "0x10"}, True),
        ({"ParentProcessId": "0x20"}, True),
        ({"CommandLine|contains": "/all"}, True),
        ({"OriginalFileName": "whoami.exe"}, False),
    ],
)
def test_security_4688_is_read_in_the_words_of_process_creation(
    matches: Callable[..., bool], detection: dict[str, Any], expected: bool
) -> None:
    kind, category = windows("Security", 4688), {"product": "windows", "category": "process_creation"}
    assert matches(detection, PROCESS_4688, kind=kind, logsource=category) is expected


def test_a_rule_on_the_security_log_sees_4688_in_its_own_words(matches: Callable[..., bool]) -> None:
    kind, service = windows("Security", 4688), {"product": "windows", "service": "security"}
    own = {"EventID": 4688, "NewProcessName|endswith": "\\whoami.exe", "ProcessId": "0x20"}
    assert matches(own, PROCESS_4688, kind=kind, logsource=service)
    assert not matches({"Image|endswith": "\\whoami.exe"}, PROCESS_4688, kind=kind, logsource=service)


def test_sysmon_12_is_told_apart_by_its_event_type(matches: Callable[..., bool]) -> None:
    kind, key = windows(SYSMON, 12), {"TargetObject": "HKLM\\x"}
    for category, event_type, expected in (
        ("registry_add", "CreateKey", True),
        ("registry_add", "DeleteValue", False),
        ("registry_delete", "DeleteKey", True),
        ("registry_delete", "CreateKey", False),
        ("registry_delete", "INFO", True),
        ("registry_event", "CreateKey", True),
    ):
        fields = {**key, "EventType": event_type}
        logsource = {"product": "windows", "category": category}
        assert matches(key, fields, kind=kind, logsource=logsource) is expected, (category, event_type)


@pytest.mark.parametrize(
    ("category", "kind", "detection", "fields"),
    [
        ("webserver", "apache.access", {"cs-uri-query|contains": "/a?x="}, {"c-uri": "/a?x=1", "cs-uri-query": "x=1"}),
        ("webserver", "zeek.http", {"cs-method": "GET", "sc-status": 200}, {"method": "GET", "status_code": 200}),
        ("webserver", "zeek.http", {"cs-uri-stem|endswith": "/a"}, {"uri": "/a?x=1"}),
        ("proxy", "zeek.http", {"c-uri|startswith": "http://host/"}, {"host": "host", "uri": "/x"}),
        ("proxy", "zeek.http", {"c-uri-extension": "exe"}, {"uri": "/a/b.exe?x=.y"}),
        ("proxy", "suricata.http", {"c-useragent": "curl"}, {"http.http_user_agent": "curl"}),
        ("dns", "zeek.dns", {"query|endswith": ".x", "record_type": "TXT"}, {"query": "a.x", "qtype_name": "TXT"}),
        ("dns", "suricata.dns", {"query": "a.x"}, {"dns.rrname": "a.x"}),
        (
            "firewall",
            "zeek.conn",
            {"dst_port": 22, "src_ip|cidr": "10.0.0.0/8"},
            {"id.resp_p": 22, "id.orig_h": "10.0.0.1"},
        ),
        ("firewall", "suricata.flow", {"dst_ip": "10.0.0.1"}, {"dest_ip": "10.0.0.1"}),
    ],
)
def test_fields_of_generic_categories_are_found_under_the_formats_names(
    matches: Callable[..., bool], category: str, kind: str, detection: dict[str, Any], fields: dict[str, Any]
) -> None:
    assert matches(detection, fields, kind=source(kind), logsource={"category": category})
    assert not matches(detection, dict.fromkeys(fields, "other"), kind=source(kind), logsource={"category": category})
