"""Other systems' alerts: what they call themselves decides what an analyst reads, and what is counted as one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from operators.formats import Decoder, FormatSettings
from operators.formats.told import alerted, is_alert
from state.alerts import Level

SURICATA = {
    "timestamp": "2026-02-02T02:40:00.000000+0000", "flow_id": 1, "event_type": "alert", "src_ip": "10.0.0.1",
    "dest_ip": "192.0.2.7",
    "alert": {
        "signature_id": 2019876, "signature": "ET SCAN Nmap", "severity": 1,
        "metadata": {"mitre_technique_id": ["T1046"], "mitre_tactic_name": ["Network_Service_Discovery"]},
    },
}  # fmt: skip
NOTICE = {"_path": "notice", "ts": 1770000000.0, "id.orig_h": "10.0.0.1", "id.resp_h": "192.0.2.7",
          "note": "Scan::Port_Scan", "msg": "10.0.0.1 scanned at least 15 ports"}  # fmt: skip
WAZUH = {
    "timestamp": "2026-02-02T02:40:00.000+0000", "agent": {"id": "001", "name": "mail.lab.example"},
    "rule": {"level": 10, "id": "5712", "description": "sshd: brute force trying to get access to the system.",
             "mitre": {"id": ["T1110"], "tactic": ["Credential Access"], "technique": ["Brute Force"]}},
    "data": {"srcip": "192.0.2.7"},
}  # fmt: skip
GENERIC = {"timestamp": "2026-02-02T02:40:00Z", "host": "mail", "source_ip": "10.0.0.1", "event_type": "alert",
           "rule_id": "W-Aut-Ssh2", "description": "sshd: insecure connection attempt"}  # fmt: skip


def decode(message: dict[str, Any]) -> Any:
    decoded = Decoder("t-0", FormatSettings()).decode_batch([json.dumps(message).encode()], [0], 0)
    assert decoded.rejected == []
    return decoded.events[0]


@pytest.mark.parametrize(
    ("message", "host", "expected"),
    [
        (SURICATA, "10.0.0.1", ("2019876", "ET SCAN Nmap", Level.high, ("T1046",), ("network-service-discovery",))),
        (
            NOTICE,
            "10.0.0.1",
            ("Scan::Port_Scan", "10.0.0.1 scanned at least 15 ports", Level.medium, ("T1046",), ("discovery",)),
        ),
        (
            {**NOTICE, "note": "SSL::Invalid_Server_Cert"},
            "10.0.0.1",
            ("SSL::Invalid_Server_Cert", NOTICE["msg"], None, (), ()),
        ),
        (WAZUH, "mail", ("5712", WAZUH["rule"]["description"], Level.medium, ("T1110",), ("credential-access",))),  # type: ignore[index]
        (GENERIC, "mail", ("W-Aut-Ssh2", "sshd: insecure connection attempt", None, (), ())),
        ({**GENERIC, "severity": "High"}, "mail", ("W-Aut-Ssh2", GENERIC["description"], Level.high, (), ())),
        ({**GENERIC, "severity": 99}, "mail", ("W-Aut-Ssh2", GENERIC["description"], None, (), ())),
    ],
)
def test_an_alert_is_known_by_its_rule_and_says_what_it_is(message: Any, host: str, expected: tuple[Any, ...]) -> None:
    event = decode(message)
    assert is_alert(event.kind)
    found = alerted(event).told
    assert (event.host, (found.rule, found.name, found.level, found.techniques, found.tactics)) == (host, expected)


@pytest.mark.parametrize(
    "wild",
    [
        {"rule_id": {"a": 1}, "description": ["x"]},
        {"rule_id": "x" * 10_000, "description": "y" * 10_000},
        {"rule_id": True, "rule.level": "high", "techniques": {"T1": 1}, "tactics": [1, None]},
        {"rule_id": 10**400, "severity": [1]},
    ],
)
def test_a_hostile_alert_is_an_alert_with_bounded_words(wild: dict[str, Any]) -> None:
    found = alerted(decode({**GENERIC, **wild})).told
    assert 0 < len(found.rule) <= 200
    assert 0 < len(found.name) <= 300


def test_other_events_are_no_alerts() -> None:
    assert not is_alert(decode({**GENERIC, "event_type": "login"}).kind)
