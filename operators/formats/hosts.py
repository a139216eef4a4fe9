"""Who a host is: one canonical name for every way it is written."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address

import msgspec

from .base import Malformed
from .settings import FormatSettings

#: Names and addresses each cache holds before it starts afresh.
CACHE = 65_536
#: Longest host name accepted, characters (RFC 1035).
MAX_NAME = 255


class Address(msgspec.Struct, frozen=True, gc=False):
    """An IP address as events carry it. ``ip`` and ``host`` are empty if the text was no address."""

    ip: str
    #: Canonical name of the host that has it: its alias, or the address itself.
    host: str
    #: Whether it lies in a home network.
    local: bool


#: What is no address: empty, ``-``, ``LOCAL``, a name.
NOWHERE = Address("", "", False)


class Hosts:
    """Resolve host names and addresses by one deployment's settings. Caches, bounded; no lookups on the network."""

    def __init__(self, settings: FormatSettings) -> None:
        self._aliases = {k.strip().lower().rstrip("."): v.strip().lower() for k, v in settings.host_aliases.items()}
        self._first_label = "*" in settings.domain_suffixes
        suffixes = {"." + s.strip().lower().strip(".") for s in settings.domain_suffixes if s != "*"}
        # The longest first, so that b.example.com wins over example.com.
        self._suffixes = tuple(sorted(suffixes, key=lambda s: (-len(s), s)))
        self._home = settings.home_networks
        self._names: dict[str, str] = {}
        #: Addresses met so far, for hot paths that look here before they call ``address``.
        self.addresses: dict[str, Address] = {}

    def name(self, text: str) -> str:
        """Return the canonical name: lower case, no trailing dot, suffix stripped, aliases followed.

        Addresses stay whole. Raises Malformed ``missing_host`` for an empty name and ``bad_host`` for one that no
        host can have.

        >>> Hosts(FormatSettings()).name("WORKSTATION5.theshire.local.")
        'workstation5'
        """
        known = self._names.get(text)
        if known is not None:
            return known
        name = self._resolve(text)
        if len(self._names) >= CACHE:
            self._names.clear()
        self._names[text] = name
        return name

    def address(self, text: str) -> Address:
        """Return the address in canonical form (IPv4-mapped IPv6 as IPv4, no zone index), NOWHERE if it is none.

        >>> Hosts(FormatSettings()).address("::ffff:10.0.0.1").ip
        '10.0.0.1'
        """
        known = self.addresses.get(text)
        if known is not None:
            return known
        address = self._parse(text)
        if len(self.addresses) >= CACHE:
            self.addresses.clear()
        self.addresses[text] = address
        return address

    def _resolve(self, text: str) -> str:
        name = text.strip().lower().rstrip(".")
        if name in ("", "-", "(null)", "null"):
            raise Malformed("missing_host", f"host is {text[:40]!r}")
        if len(name) > MAX_NAME or not name.isprintable() or " " in name:
            raise Malformed("bad_host", f"no host has this name: {text[:80]!r}")
        if (alias := self._aliases.get(name)) is not None:
            return alias
        if (ip := _ip(name)) is not None:
            name = str(ip)
        elif self._first_label:
            name = name.partition(".")[0] or name
        else:
            for suffix in self._suffixes:
                if name.endswith(suffix) and len(name) > len(suffix):
                    name = name[: -len(suffix)]
                    break
        return self._aliases.get(name, name)

    def _parse(self, text: str) -> Address:
        ip = _ip(text.strip().lower())
        if ip is None:
            return NOWHERE
        name = str(ip)
        return Address(name, self._aliases.get(name, name), any(ip in net for net in self._home))


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    # Only these characters can begin one: most names leave here without an exception being raised.
    if not text or len(text) > 64 or not (text[0] in "0123456789abcdef:" and ("." in text or ":" in text)):
        return None
    try:
        ip = ip_address(text.partition("%")[0])
    except (AddressValueError, ValueError):
        return None
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip
