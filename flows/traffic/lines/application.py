"""Events of the company's own application: plain JSON with the field names of SecuStreamAI."""

from __future__ import annotations

import orjson

from flows.traffic.clock import iso_millis
from flows.traffic.fleet import Host
from flows.traffic.message import Tape

FORMAT = "json"


def event(
    tape: Tape, time: int, host: Host, kind: str, severity: str, description: str, user: str, source: str
) -> None:
    """Write one event; the host is its ``device_id``."""
    line = {
        "event_type": kind,
        "timestamp": iso_millis(time),
        "source_ip": source,
        "destination_ip": host.ip,
        "severity": severity,
        "description": description,
        "user_id": user,
        "device_id": host.name,
    }
    tape.write(time, host.name, FORMAT, orjson.dumps(line))
