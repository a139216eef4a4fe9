"""Benign activity of Linux servers: sessions, sudo, cron, services, the application's own events."""

from __future__ import annotations

from flows.traffic.clock import MINUTE, SECOND
from flows.traffic.fleet import ADMINS, Fleet, Host
from flows.traffic.lines import application as events
from flows.traffic.lines import syslog, zeek
from flows.traffic.lines.flow import flow
from flows.traffic.message import Tape
from flows.traffic.words import APPLICATION_EVENTS, CRON_COMMANDS, GUESSED_USERS, SUDO_COMMANDS


def cron(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Run a cron job."""
    syslog.cron(tape, time, host, "root", tape.pick(CRON_COMMANDS))


def administration(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Log on from the jump host with a key, use sudo a few times, leave."""
    admin, origin = tape.pick(ADMINS), fleet.any_of(tape, "jump").ip
    session = flow(tape, fleet, time, origin, host, 22)
    syslog.accepted(tape, time, host, admin, origin, session.client_port)
    length = tape.integer(2, 20) * MINUTE
    zeek.conn(tape, session, "ssh", length / SECOND, tape.size(9_000, 0.6), tape.size(30_000, 0.8))
    for _ in range(tape.integer(1, 4)):
        syslog.sudo(tape, time + tape.integer(10, 110) * SECOND, host, admin, tape.pick(SUDO_COMMANDS))
    syslog.closed(tape, time + length, host, admin, origin, session.client_port)


def jump_session(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Log on to the jump host from a workstation."""
    admin, origin = tape.pick(ADMINS), fleet.any_of(tape, "workstation")
    session = flow(tape, fleet, time, origin, host, 22)
    length = tape.integer(2, 50) * MINUTE
    syslog.accepted(tape, time, host, admin, origin.ip, session.client_port, tape.pick(("publickey", "password")))
    zeek.conn(tape, session, "ssh", length / SECOND, tape.size(12_000, 0.6), tape.size(60_000, 0.8))
    syslog.closed(tape, time + length, host, admin, origin.ip, session.client_port)


def mistyped_password(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Mistype the password once or twice, then get in."""
    admin, origin = tape.pick(ADMINS), fleet.any_of(tape, "workstation").ip
    port = tape.integer(32_768, 60_999)
    for _ in range(tape.integer(1, 3)):
        syslog.failed_password(tape, time, host, admin, origin, port)
        time += tape.integer(3, 10) * SECOND
    syslog.accepted(tape, time, host, admin, origin, port, "password")


def stranger(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Fail as the internet's background noise does on any open SSH port: a try or two, then gone."""
    ip, user = f"192.0.2.{tape.integer(10, 250)}", tape.pick(GUESSED_USERS)
    for _ in range(2 if tape.chance(0.2) else 1):
        attempt = flow(tape, fleet, time, ip, host, 22)
        syslog.invalid_user(tape, time, host, user, ip, attempt.client_port)
        syslog.failed_password(tape, time + SECOND, host, user, ip, attempt.client_port, known=False)
        zeek.conn(tape, attempt, "ssh", 2.5, 1_900, 2_600, "RSTO")
        time += tape.integer(2, 8) * SECOND


def database_log(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Log a statement or a checkpoint."""
    syslog.daemon(
        tape, time, host, "postgres",
        tape.pick(
            (
                f"[{tape.integer(2, 90)}-1] LOG:  checkpoint complete: wrote {tape.integer(20, 900)} buffers",
                f"[{tape.integer(2, 90)}-1] LOG:  connection authorized: user=shop database=shop",
                f"[{tape.integer(2, 90)}-1] LOG:  duration: {tape.integer(200, 900)}.112 ms",
            )
        ),
    )  # fmt: skip


def service_log(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Log what systemd starts and stops."""
    unit = tape.pick(("sysstat-collect", "logrotate", "apt-daily", "man-db", "fstrim"))
    syslog.daemon(tape, time, host, "systemd", f"{tape.pick(('Starting', 'Finished'))} {unit}.service.")


def application(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Record what a customer does in the application."""
    kind, severity, description = tape.pick(APPLICATION_EVENTS)
    customer = f"user-{tape.integer(1_000, 1_024)}"
    events.event(tape, time, host, kind, severity, description, customer, f"203.0.113.{tape.integer(10, 250)}")
