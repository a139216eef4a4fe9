"""One network conversation, as both network sensors see it."""

from __future__ import annotations

import msgspec

from flows.traffic.fleet import Fleet, Host
from flows.traffic.message import Tape

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class Flow(msgspec.Struct, frozen=True):
    """Who talks to whom, under which identifiers."""

    time: int
    #: Name of the host that it is about: the local side, or the client where both are local.
    host: str
    client: str
    client_port: int
    server: str
    server_port: int
    proto: str
    #: Zeek's connection identifier and Suricata's.
    uid: str
    flow_id: int
    client_local: bool
    server_local: bool


def flow(
    tape: Tape,
    fleet: Fleet,
    time: int,
    client: str | Host,
    server: str | Host,
    server_port: int,
    proto: str = "tcp",
    client_port: int = 0,
) -> Flow:
    """Return a new conversation; ``client`` and ``server`` are hosts or outside addresses."""
    client_ip = client if isinstance(client, str) else client.ip
    server_ip = server if isinstance(server, str) else server.ip
    about = fleet.by_ip.get(client_ip) or fleet.by_ip.get(server_ip)
    return Flow(
        time=time,
        host=about.name if about else "sensor",
        client=client_ip,
        client_port=client_port or tape.integer(32_768, 60_999),
        server=server_ip,
        server_port=server_port,
        proto=proto,
        uid="C" + tape.letters(17, _ALPHABET),
        flow_id=tape.integer(10**14, 2 * 10**15),
        client_local=fleet.local(client_ip),
        server_local=fleet.local(server_ip),
    )
