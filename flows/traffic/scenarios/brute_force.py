"""Guessing passwords until one fits."""

from __future__ import annotations

from typing import ClassVar

from flows.traffic.clock import SECOND
from flows.traffic.fleet import Fleet, Host
from flows.traffic.lines import syslog, windows_security, zeek
from flows.traffic.lines.flow import flow
from flows.traffic.message import Tape
from flows.traffic.scenario import Scenario, stranger


class BruteForce(Scenario):
    """One source guesses a user's password over SSH or the network, one to two tries a second, then gets in."""

    name: ClassVar[str] = "brute_force"
    title: ClassVar[str] = "Password brute force, then success"
    techniques: ClassVar[tuple[str, ...]] = ("T1110.001", "T1078")
    expects: ClassVar[tuple[str, ...]] = ("Password brute force",)

    def act(self, tape: Tape, fleet: Fleet, start: int) -> None:
        """Attack any host that people log on to."""
        victim = fleet.any_of(tape, "web", "jump", "database", "controller", "files", "workstation")
        if victim.dialect == "syslog":
            self._ssh(tape, fleet, victim, start)
        else:
            self._windows(tape, fleet, victim, start)

    def _ssh(self, tape: Tape, fleet: Fleet, victim: Host, time: int) -> None:
        source, user = stranger(tape), tape.pick(("root", "deploy", "admin"))
        for _ in range(tape.integer(150, 260)):
            attempt = flow(tape, fleet, time, source, victim, 22)
            syslog.failed_password(tape, time, victim, user, source, attempt.client_port, known=user != "admin")
            if tape.chance(0.3):
                zeek.conn(tape, attempt, "ssh", 1.2, 1_800, 2_400)
            time += tape.integer(500_000, 1_100_000)
        got_in = "deploy" if user == "admin" else user
        syslog.accepted(tape, time, victim, got_in, source, tape.integer(32_768, 60_999), "password")

    def _windows(self, tape: Tape, fleet: Fleet, victim: Host, time: int) -> None:
        origin = fleet.any_of(tape, "workstation").ip
        for _ in range(tape.integer(150, 260)):
            windows_security.logon_failed(tape, time, victim, "Administrator", origin, 3)
            if tape.chance(0.3):
                zeek.conn(tape, flow(tape, fleet, time, origin, victim, 445), "smb", 0.2, 1_900, 1_100)
            time += tape.integer(500_000, 1_100_000)
        windows_security.logon(tape, time, victim, "Administrator", origin, 3)
        windows_security.privileges(tape, time + SECOND // 100, victim, "Administrator")
