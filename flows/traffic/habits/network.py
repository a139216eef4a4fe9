"""Benign traffic as the network sensors see it: browsing, the directory, page views, backups, updates."""

from __future__ import annotations

from flows.traffic.clock import SECOND
from flows.traffic.fleet import BACKUP_IP, Fleet, Host
from flows.traffic.lines import apache, suricata, windows_sysmon, zeek
from flows.traffic.lines.flow import flow
from flows.traffic.message import Tape
from flows.traffic.words import AGENTS, MISSING_PAGES, PAGES, SITES, UPDATE_SITES

#: Networks of those who visit our web servers: few enough that a busy minute is no sweep.
_VISITORS = ("203.0.113", "198.51.100", "192.0.2")
_BROWSER = "C:\\Program Files\\Mozilla Firefox\\firefox.exe"


def resolve(tape: Tape, fleet: Fleet, host: Host, time: int, name: str, ip: str) -> None:
    """Look a name up at the company's resolver; Suricata keeps a third of what Zeek keeps."""
    asked = flow(tape, fleet, time, host, fleet.resolver_ip, 53, "udp")
    zeek.dns(tape, asked, name, [ip])
    if tape.chance(0.3):
        suricata.dns(tape, asked, name)


def browse(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Open a site: name, connection, handshake, and now and then what Sysmon says about it."""
    name, ip = tape.pick(SITES)
    if tape.chance(0.5):
        resolve(tape, fleet, host, time, name, ip)
    if tape.chance(0.15):
        windows_sysmon.dns(tape, time + 2_000, host, _BROWSER, name, ip, f"CORP\\{host.user}")
        windows_sysmon.connection(tape, time + 30_000, host, _BROWSER, ip, 443, name, f"CORP\\{host.user}")
    opened = flow(tape, fleet, time + 20_000, host, ip, 443)
    seconds, sent, received = 0.1 + 20 * tape.random(), tape.size(1_800, 0.8, 4e5), tape.size(24_000, 1.3)
    zeek.conn(tape, opened, "ssl", seconds, sent, received)
    zeek.ssl(tape, opened, name)
    if tape.chance(0.4):
        suricata.flow_end(tape, opened, "tls", seconds, sent, received)


def directory(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Talk to the domain controller or a file server: Kerberos, LDAP, SMB."""
    port, service, sent, received = tape.pick(
        (
            (88, "krb_tcp", 1_500, 1_600),
            (389, "ldap", 900, 4_000),
            (445, "smb", 4_000, 60_000),
            (135, "dce_rpc", 600, 500),
        )
    )
    server = fleet.any_of(tape, "files") if port == 445 else fleet.any_of(tape, "controller")
    seen = flow(tape, fleet, time, host, server, port)
    zeek.conn(tape, seen, service, 0.05 + tape.random(), tape.size(sent, 0.5), tape.size(received, 0.8))
    if tape.chance(0.1):
        suricata.flow_end(tape, seen, service, 1.0, sent, received)


def page(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Answer a visitor of one of our web servers: access log, Zeek, sometimes Suricata."""
    visitor = f"{tape.pick(_VISITORS)}.{tape.integer(100, 130)}"
    agent = tape.pick(AGENTS)
    if tape.chance(0.02):
        uri, status, size = tape.pick(MISSING_PAGES), 404, 274
    else:
        uri, status, size = tape.pick(PAGES), 304 if tape.chance(0.08) else 200, tape.size(9_000, 1.0, 2e6)
    method = "POST" if uri in ("/login", "/api/v1/cart") and status == 200 else "GET"
    apache.access(tape, time, host, visitor, method, uri, status, size, agent)
    if tape.chance(0.5):
        seen = flow(tape, fleet, time, visitor, host, 80)
        zeek.http(tape, seen, method, "www.corp.example", uri, agent, status, 0 if method == "GET" else 240, size)
        if tape.chance(0.5):
            zeek.conn(tape, seen, "http", 0.02 + tape.random(), 500, size)
        if tape.chance(0.3):
            suricata.http(tape, seen, method, "www.corp.example", uri, agent, status, size)


def from_database(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Query the database from a server."""
    seen = flow(tape, fleet, time, host, fleet.any_of(tape, "database"), 5432)
    zeek.conn(tape, seen, "postgresql", 0.01 + tape.random(), tape.size(2_000, 0.7), tape.size(8_000, 1.2))


def backup(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Send one chunk of the nightly backup, 1 to 4 MB, to the backup server."""
    seen = flow(tape, fleet, time, host, BACKUP_IP, 873)
    sent, seconds = int(1e6 + 3e6 * tape.random()), 5 + 10 * tape.random()
    zeek.conn(tape, seen, "", seconds, sent, sent // 60)
    suricata.flow_end(tape, seen, "failed", seconds, sent, sent // 60)


def system_update(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Fetch packages from a mirror: a short burst of downloads, and apt's lines where the host is Linux."""
    linux = host.dialect == "syslog"
    name, ip = tape.pick(UPDATE_SITES[1:]) if linux else UPDATE_SITES[0]
    agent = "Debian APT-HTTP/1.3 (2.6.1)" if linux else "Microsoft-CryptoAPI/10.0"
    resolve(tape, fleet, host, time, name, ip)
    for part in range(tape.integer(3, 9)):
        uri = f"/pool/main/p/package_{part}.deb" if linux else f"/msdownload/update/v3/part{part}.cab"
        size = tape.size(900_000, 1.0, 3e7)
        seen = flow(tape, fleet, time + (part + 1) * SECOND, host, ip, 80)
        zeek.conn(tape, seen, "http", 1.5, 700, size)
        zeek.http(tape, seen, "GET", name, uri, agent, 200, 0, size)


def noise_alert(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Raise one of the low alerts that every Suricata raises all day."""
    number, signature, category = tape.pick(
        (
            (2230010, "SURICATA TLS invalid record/traffic", "Generic Protocol Command Decode"),
            (2210045, "SURICATA STREAM Packet with invalid ack", "Generic Protocol Command Decode"),
            (2221010, "SURICATA HTTP unable to match response to request", "Generic Protocol Command Decode"),
        )
    )
    visitor = f"203.0.113.{tape.integer(10, 250)}"
    suricata.alert(tape, flow(tape, fleet, time, visitor, host, 443), number, signature, category, 3, "tls")
