"""Looking for open ports."""

from __future__ import annotations

from typing import ClassVar

from flows.traffic.fleet import Fleet
from flows.traffic.lines import suricata, zeek
from flows.traffic.lines.flow import flow
from flows.traffic.message import Tape
from flows.traffic.scenario import Scenario, stranger


class PortScan(Scenario):
    """One source tries 600 to 900 ports of a server within three minutes, from a taken workstation or from outside."""

    name: ClassVar[str] = "port_scan"
    title: ClassVar[str] = "Port scan"
    techniques: ClassVar[tuple[str, ...]] = ("T1046",)
    expects: ClassVar[tuple[str, ...]] = ("Port scan",)

    def act(self, tape: Tape, fleet: Fleet, start: int) -> None:
        """Scan one server, and from inside its neighbours' file-sharing port as well."""
        inside = tape.chance(0.5)
        source = fleet.any_of(tape, "workstation") if inside else stranger(tape)
        target = fleet.any_of(tape, "web", "files", "database", "controller", "application")
        ports = tape.rng.sample(range(1, 10_000), tape.integer(600, 900))
        time = start
        for port in ports:
            tried = flow(tape, fleet, time, source, target, port)
            state = tape.pick(("S0", "REJ", "REJ"))
            zeek.conn(tape, tried, "", 0.0, 0, 0, state)
            if tape.chance(0.2):
                suricata.flow_end(tape, tried, "", 0.0, 60, 54 if state == "REJ" else 0, "new")
            time += tape.integer(100_000, 260_000)
        if inside:
            for neighbour in fleet.hosts[:40]:
                zeek.conn(tape, flow(tape, fleet, time, source, neighbour, 445), "", 0.0, 0, 0, "S0")
                time += tape.integer(100_000, 260_000)
        seen = flow(tape, fleet, start + 4_000_000, source, target, ports[0])
        suricata.alert(tape, seen, 9_100_001, "Many SYN packets to different ports from one source",
                       "Attempted Information Leak", 2)  # fmt: skip
