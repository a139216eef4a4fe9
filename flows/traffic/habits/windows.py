"""Benign activity of Windows servers: domain logons, share access, background connections."""

from __future__ import annotations

from flows.traffic.clock import SECOND
from flows.traffic.fleet import Fleet, Host
from flows.traffic.lines import windows_security
from flows.traffic.message import Tape


def background(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Connect to a server of the company, as services do all day."""
    server = fleet.any_of(tape, "controller", "files")
    windows_security.connection(tape, time, host, server.ip, tape.pick((389, 445, 88, 135, 53)))


def domain_logon(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Log a person or a machine on over the network, and off again soon after."""
    guest = fleet.any_of(tape, "workstation", "files")
    user = guest.user if tape.chance(0.6) else f"{guest.name.upper()}$"
    windows_security.logon(tape, time, host, user, guest.ip, 3)
    if tape.chance(0.2):
        windows_security.privileges(tape, time + 1_000, host, user)
    windows_security.logoff(tape, time + tape.integer(5, 120) * SECOND, host, user, 3)


def share_access(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Log a person on to a file share, and off again."""
    guest = fleet.any_of(tape, "workstation")
    windows_security.logon(tape, time, host, guest.user, guest.ip, 3)
    windows_security.logoff(tape, time + tape.integer(10, 600) * SECOND, host, guest.user, 3)


def stale_credentials(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Fail as a service does whose stored password has changed: a few tries, seconds apart."""
    guest = fleet.any_of(tape, "workstation", "files")
    for _ in range(tape.integer(1, 5)):
        windows_security.logon_failed(tape, time, host, f"svc.{guest.role}", guest.ip, 3)
        time += tape.integer(2, 20) * SECOND
