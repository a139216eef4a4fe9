"""Zeek's JSON logs: conn, dns, http, ssl, one object a line, dotted keys, times in seconds since the epoch."""

from __future__ import annotations

from typing import Any

import orjson

from flows.traffic.clock import SECOND
from flows.traffic.lines.flow import Flow
from flows.traffic.message import Tape

FORMAT = "zeek_json"
_HISTORY = {"SF": "ShADadFf", "S0": "S", "REJ": "Sr", "RSTO": "ShADaR", "S1": "ShADad"}


def _head(path: str, flow: Flow, delay: int = 0) -> dict[str, Any]:
    return {
        "_path": path,
        "_write_ts": (flow.time + delay) / SECOND,
        "ts": flow.time / SECOND,
        "uid": flow.uid,
        "id.orig_h": flow.client,
        "id.orig_p": flow.client_port,
        "id.resp_h": flow.server,
        "id.resp_p": flow.server_port,
    }


def conn(tape: Tape, flow: Flow, service: str, seconds: float, sent: int, received: int, state: str = "SF") -> None:
    """Write a conn line; ``sent`` and ``received`` are payload bytes of client and server."""
    line = _head("conn", flow, int(seconds * SECOND))
    line["proto"] = flow.proto
    if service:
        line["service"] = service
    up, down = sent // 1_400 + 3, received // 1_400 + 2
    if state in ("S0", "REJ"):
        sent = received = 0
        up, down = 1, int(state == "REJ")
    else:
        line["duration"] = round(seconds, 6)
        line["orig_bytes"] = sent
        line["resp_bytes"] = received
    line["conn_state"] = state
    line["local_orig"] = flow.client_local
    line["local_resp"] = flow.server_local
    line["missed_bytes"] = 0
    line["history"] = _HISTORY[state] if flow.proto == "tcp" else "Dd"
    line["orig_pkts"] = up
    line["orig_ip_bytes"] = sent + 40 * up
    line["resp_pkts"] = down
    line["resp_ip_bytes"] = received + 40 * down
    tape.write(flow.time, flow.host, FORMAT, orjson.dumps(line))


def dns(tape: Tape, flow: Flow, query: str, answers: list[str], record: str = "A", rcode: str = "NOERROR") -> None:
    """Write a dns line for one query and its answers."""
    line = _head("dns", flow)
    line.update(
        {
            "proto": flow.proto,
            "trans_id": tape.integer(1, 65_536),
            "rtt": round(0.0004 + tape.random() * 0.03, 6),
            "query": query,
            "qclass": 1,
            "qclass_name": "C_INTERNET",
            "qtype": {"A": 1, "TXT": 16, "AAAA": 28, "PTR": 12, "MX": 15}[record],
            "qtype_name": record,
            "rcode": 0 if rcode == "NOERROR" else 3,
            "rcode_name": rcode,
            "AA": False,
            "TC": False,
            "RD": True,
            "RA": True,
            "Z": 0,
        }
    )
    if answers:
        line["answers"] = answers
        line["TTLs"] = [300.0] * len(answers)
    line["rejected"] = False
    tape.write(flow.time, flow.host, FORMAT, orjson.dumps(line))


def http(
    tape: Tape, flow: Flow, method: str, site: str, uri: str, agent: str, status: int, sent: int, received: int
) -> None:
    """Write an http line for one request and its answer."""
    line = _head("http", flow)
    line.update(
        {
            "trans_depth": 1,
            "method": method,
            "host": site,
            "uri": uri,
            "version": "1.1",
            "user_agent": agent,
            "request_body_len": sent,
            "response_body_len": received,
            "status_code": status,
            "status_msg": _STATUS.get(status, "OK"),
            "tags": [],
            "resp_mime_types": ["text/html"],
        }
    )
    tape.write(flow.time, flow.host, FORMAT, orjson.dumps(line))


_STATUS = {200: "OK", 301: "Moved Permanently", 304: "Not Modified", 403: "Forbidden", 404: "Not Found",
           500: "Internal Server Error"}  # fmt: skip


def ssl(tape: Tape, flow: Flow, site: str) -> None:
    """Write an ssl line for one handshake."""
    line = _head("ssl", flow)
    line.update(
        {
            "version": "TLSv13",
            "cipher": "TLS_AES_256_GCM_SHA384",
            "curve": "x25519",
            "server_name": site,
            "resumed": False,
            "established": True,
            "ssl_history": "CsiI",
        }
    )
    tape.write(flow.time, flow.host, FORMAT, orjson.dumps(line))
