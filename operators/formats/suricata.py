"""Suricata's EVE JSON. Fields: https://docs.suricata.io/en/latest/output/eve/eve-json-format.html"""

from __future__ import annotations

from typing import Any, ClassVar, cast

import msgspec

from state.events import Event, Fields, Kind

from . import tolerant
from .base import Format, Malformed, Position, WrongShape, bounded, count, port
from .hosts import NOWHERE
from .kinds import kind, slug
from .times import from_iso

#: Category and action by event type; any other type is network traffic of that protocol.
TYPES: dict[str, tuple[str, str]] = {
    "alert": ("intrusion_detection", "alert"),
    "anomaly": ("network", "protocol-anomaly"),
    "dhcp": ("network", "dhcp-lease"),
    "dns": ("network", "dns-query"),
    "drop": ("network", "packet-blocked"),
    "fileinfo": ("file", "file-transferred"),
    "flow": ("network", "connection"),
    "ftp": ("file", "ftp-command"),
    "ftp_data": ("file", "file-transferred"),
    "http": ("web", "http-request"),
    "http2": ("web", "http-request"),
    "ikev2": ("network", "ike-handshake"),
    "krb5": ("authentication", "logon"),
    "netflow": ("network", "netflow"),
    "nfs": ("file", "nfs-operation"),
    "packet": ("network", "packet"),
    "rdp": ("session", "rdp-connection"),
    "rfb": ("session", "vnc-connection"),
    "sip": ("network", "sip-message"),
    "smb": ("network", "smb-command"),
    "smtp": ("email", "email-sent"),
    "snmp": ("network", "snmp-message"),
    "ssh": ("network", "ssh-connection"),
    "stats": ("host", "sensor-statistics"),
    "tftp": ("file", "tftp-operation"),
    "tls": ("network", "tls-handshake"),
}


class Flow(msgspec.Struct, gc=False):
    """Counters of the flow."""

    bytes_toserver: int = 0
    bytes_toclient: int = 0
    state: str = ""


class Query(msgspec.Struct, gc=False):
    """A question of a DNS message, version 3."""

    rrname: str = ""


class Dns(msgspec.Struct, gc=False):
    """DNS message."""

    type: str = ""
    rrname: str = ""
    rcode: str = ""
    queries: list[Query] = []


class Http(msgspec.Struct, gc=False):
    """HTTP transaction."""

    url: str = ""
    status: int | None = None


class Eve(msgspec.Struct, kw_only=True, gc=False):
    """What is read of the message."""

    essential: ClassVar[frozenset[str]] = frozenset({"timestamp", "event_type", "src_ip", "dest_ip"})

    event_type: str
    timestamp: str | None = None
    flow_id: int | None = None
    src_ip: str | None = None
    src_port: int = 0
    dest_ip: str | None = None
    dest_port: int = 0
    flow: Flow | None = None
    dns: Dns | None = None
    http: Http | None = None


class Suricata(Format):
    """Decode Suricata's EVE JSON."""

    name: ClassVar[str] = "suricata"
    rank: ClassVar[int] = 12
    verbatim: ClassVar[bool] = True
    marker: ClassVar[bytes] = b'"event_type"'

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(Eve)

    def sniff(self, raw: bytes) -> bool:
        """Return whether an unescaped ``event_type`` stands in the line beside one of Suricata's own keys."""
        return raw.find(b'"event_type"') >= 0 and (
            raw.find(b'"src_ip"') >= 0 or raw.find(b'"flow_id"') >= 0 or raw.find(b'"stats"') >= 0
        )

    def decode(self, raw: bytes, at: Position) -> Event:
        """Return the event."""
        record = tolerant.decode(self._decoder, Eve, raw)
        event_type = record.event_type
        if record.flow_id is None and record.src_ip is None and event_type != "stats":
            raise WrongShape("no flow_id, no src_ip")
        if not record.timestamp:
            raise Malformed("missing_time", "no timestamp")
        time = from_iso(record.timestamp, at.zone)
        source = at.hosts.address(record.src_ip) if record.src_ip else NOWHERE
        target = at.hosts.address(record.dest_ip) if record.dest_ip else NOWHERE
        host = target.host if target.local and not source.local else source.host or target.host or at.default_host
        if not host:
            raise Malformed("missing_host", "no address, and the stream has no default host")
        text = text_kind = ""
        if record.dns is not None and event_type == "dns":
            dns = record.dns
            text = dns.rrname or (dns.queries[0].rrname if dns.queries else "")
            text_kind = "dns" if text else ""
        elif record.http is not None and event_type in ("http", "http2", "alert") and record.http.url:
            text, text_kind = record.http.url, "http"
        sent = received = 0
        if record.flow is not None and event_type == "flow":
            sent, received = count(record.flow.bytes_toserver), count(record.flow.bytes_toclient)
        return Event(
            at.origin,
            at.offset,
            time,
            host,
            _kind(record),
            raw,
            "suricata",
            "",
            source.ip,
            port(record.src_port),
            target.ip,
            port(record.dest_port),
            "",
            bounded(text),
            text_kind,
            sent,
            received,
            "",
            host == target.host != source.host,
        )

    def fields(self, event: Event) -> Fields:
        """Return nested objects as dotted keys (``alert.signature``); lists stay lists."""
        return tolerant.flatten(cast("dict[str, Any]", tolerant.whole(event.raw)))


def _kind(record: Eve) -> Kind:
    event_type = slug(record.event_type, also="_")
    category, action = TYPES.get(event_type, ("network", event_type.replace("_", "-")))
    outcome = "unknown"
    if event_type == "dns" and record.dns is not None:
        if record.dns.type in ("answer", "response"):
            action = "dns-answer"
        if record.dns.rcode:
            outcome = "success" if record.dns.rcode == "NOERROR" else "failure"
    elif event_type in ("http", "http2") and record.http is not None and record.http.status:
        outcome = "success" if record.http.status < 400 else "failure"
    elif event_type == "flow" and record.flow is not None and record.flow.state:
        outcome = "failure" if record.flow.state == "new" else "success"
    return kind("suricata." + event_type, category, action, outcome)
