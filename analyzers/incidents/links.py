"""What links hosts, and the signals of one process tree: when it was last seen, where, and in which incident. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import NamedTuple

from analyzers.incidents.settings import IncidentSettings
from analyzers.incidents.sightings import Sighting

MINUTE = 60_000_000
HOUR = 60 * MINUTE
#: How long the same rare rule links.
NEAR = 10 * MINUTE
#: How long a shared user or address links. A file or a process does for as long as its incident takes in.
LINKED = HOUR
#: Least risk of what links hosts.
LINKS_FROM = 0.5
#: Rules, users, addresses, files and processes that are remembered to link by.
MAX_RECENT = 20_000
#: Files, and our own addresses spoken to, of which it is remembered on how many hosts they are.
MAX_FILES = 20_000
_FILE, _PROCESS, _ADDRESS, _TO = "hash:", "process:", "address:", "to:"

Network = IPv4Network | IPv6Network


class Bond(NamedTuple):
    """An incident that a sighting is linked to, by what, and where that was seen."""

    cluster: str
    by: str
    host: str


class _Way(NamedTuple):
    """A way in which a sighting links: the key it is found by, those it seeks, how long (µs), and what it is called."""

    key: str
    sought: tuple[str, ...]
    within: int
    by: str


class Links:
    """The memory of what links. What is met on many hosts is common, and a common file links nothing.

    An address links whom it acted upon, and, if it is not ours, who spoke to it. Two who only speak to the same server
    of ours have that in common with everybody; it links them to what it did itself, unless many speak to it.

    Args:
        settings: how long an incident takes in, and from how many hosts on a file or a server is common.
        home: networks that are ours.
    """

    def __init__(
        self,
        settings: IncidentSettings,
        recent: dict[str, tuple[int, str, str]] | None = None,
        files: dict[str, list[str]] | None = None,
        home: Sequence[Network] = (),
    ) -> None:
        self._home = home
        self._idle = int(settings.idle_hours * HOUR)
        self._common = settings.file_hosts
        #: By what is shared: when it was last seen, on which host, and in which incident; the oldest first.
        self.recent: dict[str, tuple[int, str, str]] = {} if recent is None else recent
        #: Hosts on which signals named a file, or spoke to a server of ours, at most one more than make it common; the
        #: oldest first.
        self.files: dict[str, list[str]] = {} if files is None else files

    def learn(self, sightings: Iterable[Sighting]) -> None:
        """Take in on which hosts a minute's signals name which files and servers, before any of them links by one."""
        for sighting in sightings:
            for link in sighting.links:
                if sighting.suppressed or not (link.startswith(_FILE) or (link.startswith(_TO) and self._ours(link))):
                    continue
                hosts = self.files.pop(link, [])
                if sighting.host not in hosts and len(hosts) <= self._common:
                    hosts.append(sighting.host)
                self.files[link] = hosts
        while len(self.files) > MAX_FILES:
            del self.files[next(iter(self.files))]

    def find(self, sighting: Sighting, weight: float, t: int) -> Iterator[Bond]:
        """Yield what a sighting of ``weight`` at ``t`` (µs) is linked to: on other hosts, or by its process tree."""
        for way in self._ways(sighting, weight):
            for key in way.sought:
                known = self.recent.get(key)
                if known is None or t - known[0] > way.within:
                    continue
                if known[1] != sighting.host or key.startswith(_PROCESS):
                    yield Bond(known[2], way.by, known[1])

    def remember(self, sighting: Sighting, weight: float, t: int, cluster: str) -> None:
        """Take in that a sighting of ``weight`` at ``t`` (µs) is part of an incident."""
        for key, *_ in self._ways(sighting, weight):
            self.recent.pop(key, None)
            self.recent[key] = (t, sighting.host, cluster)
        while len(self.recent) > MAX_RECENT:
            del self.recent[next(iter(self.recent))]

    def move(self, young: str, old: str) -> None:
        """Take in that one incident is now part of another."""
        for shared, (t, host, name) in self.recent.items():
            if name == young:
                self.recent[shared] = (t, host, old)

    def forget(self, now: int) -> None:
        """Drop what no longer links at ``now``, µs."""
        self.recent = {
            key: known
            for key, known in self.recent.items()
            if now - known[0] <= (self._idle if key.startswith((_FILE, _PROCESS)) else LINKED)
        }

    def _ways(self, sighting: Sighting, weight: float) -> Iterator[_Way]:
        """Yield by what a sighting links, and how long."""
        for link in sighting.links:
            if link.startswith(_PROCESS):
                # Ids of processes are unique on their host only; there whatever weighs is of the tree.
                key = f"{link}@{sighting.host}"
                yield _Way(key, (key,), self._idle, link)
        if weight < LINKS_FROM:
            return
        yield _Way(sighting.value, (sighting.value,), NEAR, sighting.value)
        for link in sighting.links:
            if link.startswith(_FILE):
                if not self._is_common(link):
                    yield _Way(link, (link,), self._idle, link)
            elif link.startswith((_ADDRESS, _TO)):
                yield from self._by_address(sighting, link)
            elif not link.startswith(_PROCESS):
                yield _Way(link, (link,), LINKED, link)

    def _by_address(self, sighting: Sighting, link: str) -> Iterator[_Way]:
        """Yield how an address links: as who acted, whom both sides seek, or as a server of ours, by what it did."""
        address = link.partition(":")[2]
        actor, server = _ADDRESS + address, _TO + address
        if not self._ours(link):
            yield _Way(actor, (actor,), LINKED, actor)
        elif link == actor:
            # Who spoke to it before, each of them, may have taken it; not if it is what many speak to.
            spoke = () if self._is_common(server) else self.files.get(server, ())
            yield _Way(actor, (actor, *(f"{server}@{host}" for host in spoke)), LINKED, actor)
        elif not self._is_common(server):
            yield _Way(f"{server}@{sighting.host}", (actor,), LINKED, actor)

    def _is_common(self, link: str) -> bool:
        return len(self.files.get(link, ())) > self._common

    def _ours(self, link: str) -> bool:
        try:
            address = ip_address(link.partition(":")[2])
        except ValueError:
            return False
        return any(address in network for network in self._home)
