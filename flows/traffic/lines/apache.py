"""Apache's access log in the Combined Log Format."""

from __future__ import annotations

from flows.traffic.clock import access as stamp
from flows.traffic.fleet import Host
from flows.traffic.message import Tape

FORMAT = "apache"


def access(
    tape: Tape,
    time: int,
    host: Host,
    client: str,
    method: str,
    uri: str,
    status: int,
    received: int,
    agent: str,
    referrer: str = "-",
) -> None:
    """Write one request; ``uri`` is as sent, percent-encoded; ``received`` is the size of the answer in bytes."""
    line = f'{client} - - [{stamp(time)}] "{method} {uri} HTTP/1.1" {status} {received} "{referrer}" "{agent}"'
    tape.write(time, host.name, FORMAT, line.encode())
