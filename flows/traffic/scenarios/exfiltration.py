"""Sending much data to a stranger."""

from __future__ import annotations

from typing import ClassVar

from flows.traffic.clock import SECOND
from flows.traffic.fleet import Fleet
from flows.traffic.habits.network import resolve
from flows.traffic.lines import suricata, zeek
from flows.traffic.lines.flow import flow
from flows.traffic.message import Tape
from flows.traffic.scenario import Scenario, stranger


class Exfiltration(Scenario):
    """One host uploads 1 to 2 GB in three minutes to an address that no one else talks to, in chunks of 30 to 70 MB."""

    name: ClassVar[str] = "exfiltration"
    title: ClassVar[str] = "Data exfiltration"
    techniques: ClassVar[tuple[str, ...]] = ("T1048", "T1567")
    expects: ClassVar[tuple[str, ...]] = ("Data exfiltration",)

    def act(self, tape: Tape, fleet: Fleet, start: int) -> None:
        """Upload from a file server, a database or a workstation."""
        victim, drop = fleet.any_of(tape, "files", "database", "workstation"), stranger(tape)
        name = f"{tape.letters(10)}.example.com"
        resolve(tape, fleet, victim, start, name, drop)
        time = start + SECOND
        end = start + tape.integer(170, 200) * SECOND
        while time < end:
            upload = flow(tape, fleet, time, victim, drop, 443)
            sent, seconds = tape.integer(30_000_000, 70_000_000), 3 + 4 * tape.random()
            zeek.conn(tape, upload, "ssl", seconds, sent, sent // 400)
            zeek.ssl(tape, upload, name)
            if tape.chance(0.5):
                suricata.flow_end(tape, upload, "tls", seconds, sent, sent // 400)
            time += tape.integer(4 * SECOND, 8 * SECOND)
