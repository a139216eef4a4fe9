"""The imagined company: its hosts, their roles, addresses and people."""

from __future__ import annotations

from typing import Final

import msgspec

from flows.traffic.message import Tape

#: Roles in the order in which hosts are added; twelve make one block, then it repeats.
_BLOCK: Final = (
    "workstation", "web", "controller", "jump", "workstation", "database",
    "files", "web", "workstation", "application", "workstation", "workstation",
)  # fmt: skip
_PREFIX: Final = {
    "workstation": "ws", "web": "web", "controller": "dc", "jump": "jump", "database": "db", "files": "fs",
    "application": "app",
}  # fmt: skip
_NAMES: Final = (
    "anna.berg", "bruno.keller", "carla.rossi", "david.okafor", "elif.demir", "felix.huber", "grace.lin",
    "henrik.dahl", "ines.costa", "jonas.wolf", "katya.ivanova", "liam.byrne", "mina.park", "noah.meyer",
    "olga.novak", "pavel.horak", "rosa.marin", "sven.lund", "tara.singh", "umut.kaya",
)  # fmt: skip
#: People who administer servers and so log on to them.
ADMINS: Final = ("adm.berg", "adm.keller", "deploy")
#: Where nightly backups go: a host that sends no telemetry itself.
BACKUP_IP: Final = "10.20.250.5"
#: Resolver where the fleet has no domain controller.
RESOLVER_IP: Final = "10.20.250.53"
WINDOWS_ROLES: Final = ("workstation", "controller", "files")
LINUX_ROLES: Final = ("web", "database", "jump", "application")


class Host(msgspec.Struct, frozen=True):
    """One host of the company."""

    #: Canonical name, what the detector should call it.
    name: str
    #: Name with the domain, as Windows writes it.
    fqdn: str
    ip: str
    role: str
    #: Format in which the host ships its own log: a key of ``operators.formats.FORMATS``.
    dialect: str
    #: The person who works at it, or the account its service runs under.
    user: str
    #: Security identifier of that person's account.
    sid: str
    #: How busy it is among hosts of its role, 0.6 to 1.4.
    activity: float
    #: Whether its syslog is RFC 5424 rather than RFC 3164.
    modern_syslog: bool = False
    #: Its clock's zone, hours east of UTC; shows in local time stamps only.
    utc_offset_hours: float = 0.0


class Fleet:
    """All hosts, by role."""

    def __init__(self, hosts: tuple[Host, ...], domain: str) -> None:
        self.hosts = hosts
        self.domain = domain
        self.by_role: dict[str, tuple[Host, ...]] = {
            role: tuple(host for host in hosts if host.role == role) for role in _PREFIX
        }
        self.by_ip = {host.ip: host for host in hosts}
        controllers = self.by_role["controller"]
        self.resolver_ip = controllers[0].ip if controllers else RESOLVER_IP

    @classmethod
    def build(cls, hosts: int, domain: str = "corp.example", utc_offset_hours: float = 0.0) -> Fleet:
        """Return a fleet of the given size; the same size always gives the same hosts.

        >>> [host.name for host in Fleet.build(5).hosts]
        ['ws-01', 'web-01', 'dc-01', 'jump-01', 'ws-02']
        """
        made: list[Host] = []
        count = dict.fromkeys(_PREFIX, 0)
        for number in range(hosts):
            role = _BLOCK[number % len(_BLOCK)]
            count[role] += 1
            name = f"{_PREFIX[role]}-{count[role]:02d}"
            dialect = "syslog"
            if role in WINDOWS_ROLES:
                dialect = "windows_nxlog" if role == "files" or count[role] % 5 in (0, 4) else "windows_ecs"
            person = _NAMES[count[role] % len(_NAMES)] if role == "workstation" else f"svc.{_PREFIX[role]}"
            made.append(
                Host(
                    name=name,
                    fqdn=f"{name}.{domain}" if role in WINDOWS_ROLES else name,
                    ip=f"10.{20 + number // 50_000}.{number // 200}.{10 + number % 200}",
                    role=role,
                    dialect=dialect,
                    user=person,
                    sid=f"S-1-5-21-1004336348-1177238915-682003330-{1100 + number}",
                    activity=0.6 + (number * 37 % 81) / 100,
                    modern_syslog=role in ("database", "application"),
                    utc_offset_hours=utc_offset_hours,
                )
            )
        return cls(tuple(made), domain)

    @property
    def aliases(self) -> dict[str, str]:
        """Return address to host name: what lets network sensors' events fall on the same host as its own log."""
        return {host.ip: host.name for host in self.hosts}

    def any_of(self, tape: Tape, *roles: str) -> Host:
        """Return a random host of one of the roles, or any host where there is none."""
        fitting = [host for role in roles for host in self.by_role[role]]
        return tape.pick(fitting or self.hosts)

    def local(self, ip: str) -> bool:
        """Say whether an address belongs to the company."""
        return ip.startswith("10.")
