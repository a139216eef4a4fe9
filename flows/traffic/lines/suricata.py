"""Suricata's EVE JSON: alert, dns, flow, http."""

from __future__ import annotations

from typing import Any

import orjson

from flows.traffic.clock import SECOND, iso_micros
from flows.traffic.lines.flow import Flow
from flows.traffic.message import Tape

FORMAT = "suricata"


def _head(kind: str, flow: Flow) -> dict[str, Any]:
    return {
        "timestamp": iso_micros(flow.time),
        "flow_id": flow.flow_id,
        "in_iface": "eth1",
        "event_type": kind,
        "src_ip": flow.client,
        "src_port": flow.client_port,
        "dest_ip": flow.server,
        "dest_port": flow.server_port,
        "proto": flow.proto.upper(),
    }


def _counts(flow: Flow, sent: int, received: int) -> dict[str, Any]:
    return {
        "pkts_toserver": sent // 1_400 + 3,
        "pkts_toclient": received // 1_400 + 2,
        "bytes_toserver": sent,
        "bytes_toclient": received,
        "start": iso_micros(flow.time),
    }


def flow_end(tape: Tape, flow: Flow, app: str, seconds: float, sent: int, received: int, state: str = "closed") -> None:
    """Write a flow record; bytes are those sent by client and server."""
    line = _head("flow", flow)
    line["app_proto"] = app or "failed"
    counts = _counts(flow, sent, received)
    counts["end"] = iso_micros(flow.time + int(seconds * SECOND))
    counts["age"] = int(seconds)
    counts["state"] = state
    counts["reason"] = "timeout"
    counts["alerted"] = False
    line["flow"] = counts
    tape.write(flow.time, flow.host, FORMAT, orjson.dumps(line))


def dns(tape: Tape, flow: Flow, query: str, record: str = "A") -> None:
    """Write a dns record of one query."""
    line = _head("dns", flow)
    line["dns"] = {"type": "query", "id": tape.integer(1, 65_536), "rrname": query, "rrtype": record, "tx_id": 0}
    tape.write(flow.time, flow.host, FORMAT, orjson.dumps(line))


def _http(method: str, site: str, url: str, agent: str, status: int, received: int) -> dict[str, Any]:
    return {
        "hostname": site,
        "url": url,
        "http_user_agent": agent,
        "http_content_type": "text/html",
        "http_method": method,
        "protocol": "HTTP/1.1",
        "status": status,
        "length": received,
    }


def http(tape: Tape, flow: Flow, method: str, site: str, url: str, agent: str, status: int, received: int) -> None:
    """Write an http record of one request and its answer."""
    line = _head("http", flow)
    line["tx_id"] = 0
    line["http"] = _http(method, site, url, agent, status, received)
    tape.write(flow.time, flow.host, FORMAT, orjson.dumps(line))


def alert(
    tape: Tape,
    flow: Flow,
    signature_id: int,
    signature: str,
    category: str,
    severity: int,
    app: str = "failed",
    sent: int = 300,
    received: int = 0,
) -> None:
    """Write an alert; severity 1 is the gravest."""
    line = _head("alert", flow)
    line["alert"] = {
        "action": "allowed",
        "gid": 1,
        "signature_id": signature_id,
        "rev": 1,
        "signature": signature,
        "category": category,
        "severity": severity,
    }
    line["app_proto"] = app
    line["flow"] = _counts(flow, sent, received)
    tape.write(flow.time, flow.host, FORMAT, orjson.dumps(line))
