"""Carrying data out in the names of DNS queries."""

from __future__ import annotations

from typing import ClassVar

from flows.traffic.fleet import Fleet
from flows.traffic.lines import suricata, windows_sysmon, zeek
from flows.traffic.lines.flow import flow
from flows.traffic.message import Tape
from flows.traffic.scenario import Scenario

_PROGRAM = "C:\\Users\\Public\\Downloads\\updater.exe"


class DnsTunnelling(Scenario):
    """One host asks for 500 to 900 long random names under one domain, mostly TXT, within three to five minutes."""

    name: ClassVar[str] = "dns_tunnelling"
    title: ClassVar[str] = "DNS tunnelling"
    techniques: ClassVar[tuple[str, ...]] = ("T1071.004", "T1048.003")
    expects: ClassVar[tuple[str, ...]] = ("DNS tunnelling",)

    def act(self, tape: Tape, fleet: Fleet, start: int) -> None:
        """Tunnel from a workstation or a server."""
        victim = fleet.any_of(tape, "workstation", "web", "application")
        domain = f"{tape.letters(7)}.example.org"
        windows = victim.dialect != "syslog"
        time = start
        for number in range(tape.integer(500, 900)):
            query = f"{number:04x}{tape.letters(56)}.{tape.letters(tape.integer(20, 50))}.{domain}"
            asked = flow(tape, fleet, time, victim, fleet.resolver_ip, 53, "udp")
            record = "TXT" if tape.chance(0.85) else "A"
            answer = f"TXT 120 {tape.letters(120)}" if record == "TXT" else "192.0.2.7"
            zeek.dns(tape, asked, query, [answer], record)
            if tape.chance(0.3):
                suricata.dns(tape, asked, query, record)
            if windows and tape.chance(0.3):
                windows_sysmon.dns(tape, time, victim, _PROGRAM, query, "", f"CORP\\{victim.user}")
            time += tape.integer(200_000, 500_000)
