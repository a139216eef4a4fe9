"""Zeek log records, shared by the JSON and the TSV format: what is read of each log, and how it becomes an Event.

Field names: https://docs.zeek.org/en/master/script-reference/log-files.html
"""

from __future__ import annotations

from typing import Any, ClassVar, Union, cast

import msgspec

from state.events import Event, Kind

from .base import MAX_COUNT, Malformed, Position, bounded, count, port
from .hosts import NOWHERE
from .kinds import kind, slug
from .times import EARLIEST, LATEST, from_number, from_stamp

#: Category and action of logs that have no record of their own below.
PATHS: dict[str, tuple[str, str]] = {
    "capture_loss": ("host", "sensor-statistics"),
    "dce_rpc": ("network", "rpc-call"),
    "dhcp": ("network", "dhcp-lease"),
    "dnp3": ("network", "ics-message"),
    "dpd": ("network", "protocol-anomaly"),
    "analyzer": ("network", "protocol-anomaly"),
    "ftp": ("file", "ftp-command"),
    "intel": ("threat", "threat-indicator-seen"),
    "irc": ("network", "irc-command"),
    "known_certs": ("network", "certificate-seen"),
    "known_devices": ("host", "host-seen"),
    "known_hosts": ("host", "host-seen"),
    "known_services": ("host", "service-seen"),
    "ldap": ("network", "ldap-request"),
    "ldap_search": ("network", "ldap-search"),
    "modbus": ("network", "ics-message"),
    "mqtt_connect": ("network", "mqtt-connection"),
    "mysql": ("database", "database-query"),
    "netcontrol": ("configuration", "network-control"),
    "ntp": ("network", "ntp-message"),
    "ocsp": ("network", "certificate-seen"),
    "pe": ("file", "file-analysed"),
    "radius": ("authentication", "logon"),
    "rdp": ("session", "rdp-connection"),
    "reporter": ("host", "sensor-statistics"),
    "rfb": ("session", "vnc-connection"),
    "signatures": ("intrusion_detection", "alert"),
    "sip": ("network", "sip-message"),
    "smb_cmd": ("network", "smb-command"),
    "smb_files": ("file", "smb-file-access"),
    "smb_mapping": ("network", "smb-share-mapped"),
    "smtp": ("email", "email-sent"),
    "snmp": ("network", "snmp-message"),
    "socks": ("network", "proxy-request"),
    "software": ("host", "software-seen"),
    "ssl": ("network", "tls-handshake"),
    "stats": ("host", "sensor-statistics"),
    "syslog": ("network", "syslog-message"),
    "telemetry": ("host", "sensor-statistics"),
    "traceroute": ("network", "traceroute"),
    "tunnel": ("network", "tunnel"),
    "weird": ("network", "protocol-anomaly"),
    "x509": ("network", "certificate-seen"),
}
#: The bounds of time in seconds, as Zeek writes it.
FIRST_SECOND, LAST_SECOND = EARLIEST / 1e6, LATEST / 1e6
#: Connection states in which no connection came about.
REFUSED = frozenset({"S0", "REJ", "RSTOS0", "RSTRH", "SH", "SHR"})

_CONN = {
    "": kind("zeek.conn", "network", "connection"),
    "success": kind("zeek.conn", "network", "connection", "success"),
    "failure": kind("zeek.conn", "network", "connection", "failure"),
}
_DNS = {
    "": kind("zeek.dns", "network", "dns-query"),
    "success": kind("zeek.dns", "network", "dns-query", "success"),
    "failure": kind("zeek.dns", "network", "dns-query", "failure"),
}
_HTTP = {
    "": kind("zeek.http", "web", "http-request"),
    "success": kind("zeek.http", "web", "http-request", "success"),
    "failure": kind("zeek.http", "web", "http-request", "failure"),
}
_CONNECTED = _CONN["success"]
_CONN_STATES: dict[str, Kind] = {"": _CONN[""], "OTH": _CONN[""], **dict.fromkeys(REFUSED, _CONN["failure"])}


class Ids(msgspec.Struct, gc=False):
    """The connection's four-tuple where it is written as a nested object."""

    orig_h: str = ""
    orig_p: int = 0
    resp_h: str = ""
    resp_p: int = 0


class Record(msgspec.Struct, tag_field="_path", gc=False):
    """What every Zeek log may have."""

    essential: ClassVar[frozenset[str]] = frozenset({"ts", "id.orig_h", "id.resp_h"})

    ts: float | str
    orig_h: str = msgspec.field(name="id.orig_h", default="")
    orig_p: int = msgspec.field(name="id.orig_p", default=0)
    resp_h: str = msgspec.field(name="id.resp_h", default="")
    resp_p: int = msgspec.field(name="id.resp_p", default=0)
    id: Ids | None = None


class Conn(Record, tag="conn", gc=False):
    """conn.log: one connection."""

    orig_bytes: int | None = None
    resp_bytes: int | None = None
    conn_state: str = ""
    local_orig: bool | None = None
    local_resp: bool | None = None


class Dns(Record, tag="dns", gc=False):
    """dns.log: one query with its answer."""

    query: str = ""
    rcode: int | None = None


class Http(Record, tag="http", gc=False):
    """http.log: one request with its response."""

    uri: str = ""
    username: str = ""
    status_code: int | None = None


class Files(Record, tag="files", gc=False):
    """files.log: one file seen on the wire; older versions name the hosts, newer ones the connection."""

    tx_hosts: list[str] | None = None
    rx_hosts: list[str] | None = None
    local_orig: bool | None = None


class Notice(Record, tag="notice", gc=False):
    """notice.log: what a Zeek script found remarkable."""

    src: str = ""
    dst: str = ""
    p: int = 0


class Ssh(Record, tag="ssh", gc=False):
    """ssh.log: one SSH connection, with the guess whether log-on succeeded."""

    auth_success: bool | None = None


class Kerberos(Record, tag="kerberos", gc=False):
    """kerberos.log: one ticket request."""

    success: bool | None = None
    client: str = ""


class Ntlm(Record, tag="ntlm", gc=False):
    """ntlm.log: one NTLM authentication."""

    success: bool | None = None
    username: str = ""


class Other(Record, tag="", gc=False):
    """Any other log."""

    host: str | msgspec.UnsetType | None = msgspec.UNSET
    user: str = ""
    client_addr: str = ""
    src: str = ""
    dst: str = ""


#: The record of every known log by its path; the rarer ones differ from Other in nothing but the tag.
BY_PATH: dict[str, type[Record]] = {
    **{path: cast("type[Record]", msgspec.defstruct(path, [], bases=(Other,), tag=path, gc=False)) for path in PATHS},
    "conn": Conn,
    "dns": Dns,
    "http": Http,
    "files": Files,
    "notice": Notice,
    "ssh": Ssh,
    "kerberos": Kerberos,
    "ntlm": Ntlm,
}
#: All of them as one type, told apart by ``_path``.
Records: Any = Union[tuple(BY_PATH.values())]  # noqa: UP007 - made of a dict's values
_KINDS = {BY_PATH[path]: kind("zeek." + path, *words) for path, words in PATHS.items()}


def to_event(record: Record, raw: bytes, at: Position, name: str, path: str = "", header: str = "") -> Event:
    """Return the record as an event of format ``name``; ``path`` names the log of an Other. Raises Malformed."""
    if type(record) is Conn and record.id is None:
        event = _connection(record, raw, at, name, header)
        if event is not None:
            return event
    ts = record.ts
    if type(ts) is float:
        time = int(ts * 1_000_000 + 0.5) if FIRST_SECOND <= ts < LAST_SECOND else from_number(ts)
    else:
        time = from_stamp(ts, at.zone)
    ids: Record | Ids = record if record.id is None else record.id
    hosts = at.hosts
    known = hosts.addresses
    source = known.get(ids.orig_h) or (hosts.address(ids.orig_h) if ids.orig_h else NOWHERE)
    target = known.get(ids.resp_h) or (hosts.address(ids.resp_h) if ids.resp_h else NOWHERE)
    source_port, target_port = ids.orig_p, ids.resp_p
    user = text = text_kind = ""
    sent = received = 0
    local_orig: bool | None = None
    local_resp: bool | None = None
    host = ""

    if type(record) is Conn:
        found = _CONN_STATES.get(record.conn_state, _CONN["success"])
        sent, received = record.orig_bytes or 0, record.resp_bytes or 0
        if not (0 <= sent < MAX_COUNT and 0 <= received < MAX_COUNT):
            sent, received = count(sent), count(received)
        local_orig, local_resp = record.local_orig, record.local_resp
    elif type(record) is Dns:
        found = _DNS["" if record.rcode is None else "success" if record.rcode == 0 else "failure"]
        if record.query and record.query != "-":
            text, text_kind = bounded(record.query), "dns"
    elif type(record) is Http:
        status = record.status_code
        found = _HTTP["" if status is None else "success" if status < 400 else "failure"]
        user = record.username
        if record.uri:
            text, text_kind = bounded(record.uri), "http"
    else:
        found, user, host, source, target = _rarer(record, path, at, source, target)

    if not host:
        if local_orig is None or local_resp is None or local_orig is local_resp:
            local_orig, local_resp = source.local, target.local
        host = target.host if local_resp and not local_orig else source.host or target.host or at.default_host
        if not host:
            raise Malformed("missing_host", "no address, and the stream has no default host")
    if not (0 <= source_port < 65536 and 0 <= target_port < 65536):
        source_port, target_port = port(source_port), port(target_port)
    return Event(
        at.origin,
        at.offset,
        time,
        host,
        found,
        raw,
        name,
        user,
        source.ip,
        source_port,
        target.ip,
        target_port,
        "",
        text,
        text_kind,
        sent,
        received,
        header,
        host == target.host != source.host,
    )


def _connection(record: Conn, raw: bytes, at: Position, name: str, header: str) -> Event | None:
    """Return what nearly every message of a busy sensor is, without the detours that any other needs; else None."""
    ts = record.ts
    known = at.hosts.addresses
    source, target = known.get(record.orig_h), known.get(record.resp_h)
    if source is None or target is None or type(ts) is not float or not FIRST_SECOND <= ts < LAST_SECOND:
        return None
    source_port, target_port = record.orig_p, record.resp_p
    sent, received = record.orig_bytes or 0, record.resp_bytes or 0
    if not (
        0 <= source_port < 65536 and 0 <= target_port < 65536 and 0 <= sent < MAX_COUNT and 0 <= received < MAX_COUNT
    ):
        return None
    local_orig, local_resp = record.local_orig, record.local_resp
    if local_orig is None or local_resp is None or local_orig is local_resp:
        local_orig, local_resp = source.local, target.local
    source_host, target_host = source.host, target.host
    host = target_host if local_resp and not local_orig else source_host
    if not host:
        return None
    return Event(
        at.origin,
        at.offset,
        int(ts * 1_000_000 + 0.5),
        host,
        _CONN_STATES.get(record.conn_state, _CONNECTED),
        raw,
        name,
        "",
        source.ip,
        source_port,
        target.ip,
        target_port,
        "",
        "",
        "",
        sent,
        received,
        header,
        host == target_host != source_host,
    )


def _rarer(record: Record, path: str, at: Position, source: Any, target: Any) -> tuple[Kind, str, str, Any, Any]:
    """Return kind, user, host (empty: by the addresses), source and destination of the logs that are not hot."""
    hosts = at.hosts
    user = host = ""
    if isinstance(record, Notice):
        found = kind("zeek.notice", "intrusion_detection", "alert")
        if not source.ip:
            source, target = hosts.address(record.src), hosts.address(record.dst)
    elif isinstance(record, Files):
        found = kind("zeek.files", "file", "file-transferred")
        if not source.ip:
            source = hosts.address(record.tx_hosts[0]) if record.tx_hosts else NOWHERE
            target = hosts.address(record.rx_hosts[0]) if record.rx_hosts else NOWHERE
    elif isinstance(record, Ssh):
        found = _logon("zeek.ssh", record.auth_success)
    elif isinstance(record, Kerberos):
        found = _logon("zeek.kerberos", record.success)
        user = record.client.partition("/")[0]
    elif isinstance(record, Ntlm):
        found = _logon("zeek.ntlm", record.success)
        user = record.username
    else:
        assert isinstance(record, Other)
        known = _KINDS.get(type(record))
        if known is None:
            path = slug(path, also="_")
            known = kind("zeek." + path, "network", path.replace("_", "-"))
        found = known
        user = record.user
        if not source.ip:
            source = hosts.address(record.client_addr or record.src)
            target = hosts.address(record.dst) if record.dst else target
        if record.host is None:
            raise Malformed("missing_host", "host is null")
        if record.host is not msgspec.UNSET and not source.ip and not target.ip:
            host = hosts.name(record.host)
    return found, user, host, source, target


def _logon(source: str, success: bool | None) -> Kind:
    if success is None:
        return kind(source, "authentication", "logon")
    if success:
        return kind(source, "authentication", "logon-succeeded", "success")
    return kind(source, "authentication", "logon-failed", "failure")
