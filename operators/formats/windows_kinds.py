"""What the events of each Windows channel are in ECS words."""

from __future__ import annotations

from state.events import Kind

from .kinds import kind, slug

#: Source type of the channels that rules name most; any other channel is ``windows.<its name>``.
CHANNELS: dict[str, str] = {
    "microsoft-windows-sysmon/operational": "windows.sysmon",
    "security": "windows.security",
    "system": "windows.system",
    "application": "windows.application",
    "windows powershell": "windows.powershell-classic",
    "microsoft-windows-powershell/operational": "windows.powershell",
    "powershellcore/operational": "windows.powershell",
    "microsoft-windows-dns-client/operational": "windows.dns-client",
    "dns server": "windows.dns-server",
    "microsoft-windows-wmi-activity/operational": "windows.wmi",
    "microsoft-windows-taskscheduler/operational": "windows.taskscheduler",
    "microsoft-windows-windows defender/operational": "windows.windefend",
    "microsoft-windows-windows firewall with advanced security/firewall": "windows.firewall",
    "microsoft-windows-bits-client/operational": "windows.bits-client",
    "microsoft-windows-terminalservices-localsessionmanager/operational": "windows.terminalservices",
    "microsoft-windows-terminalservices-remoteconnectionmanager/operational": "windows.rdp",
    "microsoft-windows-ntlm/operational": "windows.ntlm",
    "microsoft-windows-codeintegrity/operational": "windows.codeintegrity",
    "microsoft-windows-applocker/exe and dll": "windows.applocker",
    "microsoft-windows-applocker/msi and script": "windows.applocker",
}
#: Category of a channel's events that the tables below do not list.
DEFAULTS: dict[str, str] = {
    "windows.sysmon": "host",
    "windows.security": "host",
    "windows.powershell": "process",
    "windows.powershell-classic": "process",
    "windows.dns-client": "network",
    "windows.dns-server": "network",
    "windows.wmi": "process",
    "windows.taskscheduler": "configuration",
    "windows.windefend": "host",
    "windows.firewall": "configuration",
    "windows.bits-client": "network",
    "windows.terminalservices": "session",
    "windows.rdp": "session",
    "windows.ntlm": "authentication",
    "windows.codeintegrity": "driver",
    "windows.applocker": "process",
}

#: Event id to category, action and, where the id tells it, outcome.
SYSMON: dict[int, tuple[str, ...]] = {
    1: ("process", "process-created"),
    2: ("file", "file-time-changed"),
    3: ("network", "connection"),
    4: ("configuration", "sysmon-state-changed"),
    5: ("process", "process-terminated"),
    6: ("driver", "driver-loaded"),
    7: ("process", "image-loaded"),
    8: ("process", "remote-thread-created"),
    9: ("file", "raw-disk-read"),
    10: ("process", "process-accessed"),
    11: ("file", "file-created"),
    12: ("registry", "registry-key-changed"),
    13: ("registry", "registry-value-set"),
    14: ("registry", "registry-renamed"),
    15: ("file", "file-stream-created"),
    16: ("configuration", "sysmon-configuration-changed"),
    17: ("file", "pipe-created"),
    18: ("file", "pipe-connected"),
    19: ("configuration", "wmi-filter-registered"),
    20: ("configuration", "wmi-consumer-registered"),
    21: ("configuration", "wmi-binding-registered"),
    22: ("network", "dns-query"),
    23: ("file", "file-deleted"),
    24: ("process", "clipboard-changed"),
    25: ("process", "process-tampered"),
    26: ("file", "file-deleted"),
    27: ("file", "file-blocked"),
    28: ("file", "file-blocked"),
    29: ("file", "executable-created"),
    255: ("host", "sysmon-error"),
}
SECURITY: dict[int, tuple[str, ...]] = {
    1100: ("configuration", "event-log-stopped"),
    1102: ("configuration", "audit-log-cleared"),
    4608: ("host", "system-started"),
    4610: ("configuration", "authentication-package-loaded"),
    4611: ("configuration", "logon-process-registered"),
    4616: ("host", "system-time-changed"),
    4624: ("authentication", "logon-succeeded", "success"),
    4625: ("authentication", "logon-failed", "failure"),
    4627: ("authentication", "group-membership"),
    4634: ("session", "logged-off"),
    4647: ("session", "logged-off"),
    4648: ("authentication", "logon-explicit-credentials", "success"),
    4656: ("file", "object-handle-requested"),
    4657: ("registry", "registry-value-set"),
    4658: ("file", "object-handle-closed"),
    4660: ("file", "object-deleted"),
    4661: ("iam", "object-handle-requested"),
    4662: ("iam", "directory-object-accessed"),
    4663: ("file", "object-accessed"),
    4670: ("iam", "permissions-changed"),
    4672: ("iam", "special-privileges-assigned"),
    4673: ("process", "privileged-service-called"),
    4674: ("process", "privileged-object-operation"),
    4688: ("process", "process-created"),
    4689: ("process", "process-terminated"),
    4690: ("file", "object-handle-duplicated"),
    4696: ("process", "primary-token-assigned"),
    4697: ("configuration", "service-installed"),
    4698: ("configuration", "scheduled-task-created"),
    4699: ("configuration", "scheduled-task-deleted"),
    4700: ("configuration", "scheduled-task-enabled"),
    4701: ("configuration", "scheduled-task-disabled"),
    4702: ("configuration", "scheduled-task-updated"),
    4703: ("iam", "token-right-adjusted"),
    4704: ("iam", "user-right-assigned"),
    4719: ("configuration", "audit-policy-changed"),
    4720: ("iam", "user-created"),
    4722: ("iam", "user-enabled"),
    4723: ("iam", "password-changed"),
    4724: ("iam", "password-reset"),
    4725: ("iam", "user-disabled"),
    4726: ("iam", "user-deleted"),
    4727: ("iam", "group-created"),
    4728: ("iam", "group-member-added"),
    4729: ("iam", "group-member-removed"),
    4731: ("iam", "group-created"),
    4732: ("iam", "group-member-added"),
    4733: ("iam", "group-member-removed"),
    4738: ("iam", "user-changed"),
    4740: ("iam", "user-locked-out"),
    4741: ("iam", "computer-account-created"),
    4742: ("iam", "computer-account-changed"),
    4743: ("iam", "computer-account-deleted"),
    4756: ("iam", "group-member-added"),
    4757: ("iam", "group-member-removed"),
    4765: ("iam", "sid-history-added"),
    4767: ("iam", "user-unlocked"),
    4768: ("authentication", "kerberos-ticket-granted"),
    4769: ("authentication", "kerberos-service-ticket"),
    4770: ("authentication", "kerberos-ticket-renewed", "success"),
    4771: ("authentication", "logon-failed", "failure"),
    4776: ("authentication", "logon"),
    4778: ("session", "session-reconnected"),
    4779: ("session", "session-disconnected"),
    4781: ("iam", "account-renamed"),
    4798: ("iam", "user-groups-enumerated"),
    4799: ("iam", "group-members-enumerated"),
    4800: ("session", "workstation-locked"),
    4801: ("session", "workstation-unlocked"),
    4826: ("configuration", "boot-configuration-loaded"),
    4907: ("configuration", "audit-settings-changed"),
    4946: ("configuration", "firewall-rule-added"),
    4947: ("configuration", "firewall-rule-changed"),
    4948: ("configuration", "firewall-rule-deleted"),
    4964: ("authentication", "special-group-logon", "success"),
    4985: ("file", "transaction-state-changed"),
    5136: ("iam", "directory-object-changed"),
    5137: ("iam", "directory-object-created"),
    5140: ("file", "share-accessed"),
    5142: ("configuration", "share-created"),
    5145: ("file", "share-object-checked"),
    5152: ("network", "packet-blocked", "failure"),
    5154: ("network", "port-listening"),
    5156: ("network", "connection", "success"),
    5157: ("network", "connection", "failure"),
    5158: ("network", "port-bound"),
    5379: ("iam", "credentials-read"),
    5381: ("iam", "credentials-read"),
    5382: ("iam", "credentials-read"),
    5447: ("configuration", "filter-changed"),
    6416: ("host", "device-attached"),
}
SYSTEM: dict[int, tuple[str, ...]] = {
    104: ("configuration", "event-log-cleared"),
    1074: ("host", "system-shut-down"),
    6005: ("host", "event-log-started"),
    6006: ("host", "event-log-stopped"),
    7000: ("configuration", "service-failed", "failure"),
    7034: ("configuration", "service-crashed", "failure"),
    7036: ("configuration", "service-state-changed"),
    7040: ("configuration", "service-start-type-changed"),
    7045: ("configuration", "service-installed"),
}
POWERSHELL: dict[int, tuple[str, ...]] = {
    4100: ("process", "powershell-error"),
    4103: ("process", "powershell-pipeline"),
    4104: ("process", "script-block-logged"),
    4105: ("process", "script-block-started"),
    4106: ("process", "script-block-stopped"),
    40961: ("process", "powershell-console-started"),
    40962: ("process", "powershell-console-started"),
    53504: ("process", "powershell-pipe-listening"),
}
POWERSHELL_CLASSIC: dict[int, tuple[str, ...]] = {
    400: ("process", "powershell-engine-started"),
    403: ("process", "powershell-engine-stopped"),
    500: ("process", "powershell-command-started"),
    501: ("process", "powershell-command-stopped"),
    600: ("process", "powershell-provider-started"),
    800: ("process", "powershell-pipeline"),
}
RDP: dict[int, tuple[str, ...]] = {
    21: ("session", "session-opened"),
    22: ("session", "shell-started"),
    23: ("session", "session-closed"),
    24: ("session", "session-disconnected"),
    25: ("session", "session-reconnected"),
    1149: ("authentication", "rdp-network-logon"),
}
WINDEFEND: dict[int, tuple[str, ...]] = {
    1116: ("malware", "malware-detected"),
    1117: ("malware", "malware-acted-on"),
    5001: ("configuration", "antivirus-disabled"),
}
OTHERS: dict[str, dict[int, tuple[str, ...]]] = {
    "windows.sysmon": SYSMON,
    "windows.security": SECURITY,
    "windows.system": SYSTEM,
    "windows.powershell": POWERSHELL,
    "windows.powershell-classic": POWERSHELL_CLASSIC,
    "windows.terminalservices": RDP,
    "windows.rdp": RDP,
    "windows.windefend": WINDEFEND,
    "windows.dns-client": {3006: ("network", "dns-query"), 3008: ("network", "dns-answer")},
    "windows.taskscheduler": {
        106: ("configuration", "scheduled-task-created"),
        140: ("configuration", "scheduled-task-updated"),
        141: ("configuration", "scheduled-task-deleted"),
        200: ("process", "scheduled-task-started"),
    },
    "windows.wmi": {5861: ("configuration", "wmi-binding-registered")},
    "windows.firewall": {
        2004: ("configuration", "firewall-rule-added"),
        2005: ("configuration", "firewall-rule-changed"),
        2006: ("configuration", "firewall-rule-deleted"),
    },
}

_known: dict[tuple[str, int], Kind] = {}
#: Combinations kept by the pair before the slower way is taken; only hostile input gets there.
MAX_KNOWN = 16_384


def source_type(channel: str) -> str:
    """Return the source type of a channel.

    >>> source_type("Microsoft-Windows-Sysmon/Operational"), source_type("MSExchange Management")
    ('windows.sysmon', 'windows.msexchange-management')
    """
    found = CHANNELS.get(channel.lower())
    if found is not None:
        return found
    return "windows." + slug(channel.lower().removesuffix("/operational").removeprefix("microsoft-windows-"))


def classify(channel: str, code: int) -> Kind:
    """Return the kind of an event by its channel and event id; the channel is kept as it is written."""
    found = _known.get((channel, code))
    if found is None:
        source = source_type(channel)
        entry = OTHERS.get(source, {}).get(code)
        if entry is None:
            entry = (DEFAULTS.get(source, "host"), f"{source.removeprefix('windows.')}-{code}")
        found = kind(source, entry[0], entry[1], entry[2] if len(entry) > 2 else "unknown", channel[:200], code)
        if len(_known) < MAX_KNOWN:
            _known[(channel, code)] = found
    return found
