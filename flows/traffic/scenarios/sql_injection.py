"""Injecting SQL through a web page's parameters."""

from __future__ import annotations

from typing import ClassVar, Final
from urllib.parse import quote, quote_plus

from flows.traffic.fleet import Fleet
from flows.traffic.lines import apache, suricata, zeek
from flows.traffic.lines.flow import flow
from flows.traffic.message import Tape
from flows.traffic.scenario import Scenario, stranger

_PAYLOADS: Final = (
    "1' OR '1'='1",
    "1' OR 1=1-- -",
    "-1 UNION SELECT NULL,NULL,NULL-- -",
    "-1' UNION ALL SELECT username,password,3 FROM users-- -",
    "17 AND (SELECT COUNT(*) FROM information_schema.tables)>0",
    "17; WAITFOR DELAY '0:0:5'--",
    "17' AND SLEEP(5)-- -",
    "17 AND 4=(SELECT 4 FROM PG_SLEEP(5))",
    "-1 UNION SELECT LOAD_FILE('/etc/passwd'),2,3",
    "17' AND EXTRACTVALUE(1,CONCAT(0x7e,VERSION()))-- -",
    "admin'--",
    "1'; DROP TABLE sessions;-- -",
)
_PAGES: Final = ("/products?id=", "/search?q=", "/news?from=", "/download?file=", "/api/v1/orders?customer=")
_AGENTS: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
    "sqlmap/1.7.11#stable (https://sqlmap.org)",
    "python-requests/2.31.0",
)


def encode(tape: Tape, payload: str) -> str:
    """Return the payload as an attacker may send it: one of five encodings."""
    way = tape.integer(0, 5)
    if way == 1:
        return quote_plus(payload)
    if way == 2:
        return quote(quote(payload, safe=""), safe="")
    if way == 3:
        return quote(payload.replace(" ", "/**/"), safe="/*(),=")
    if way == 4:
        mixed = "".join(char.upper() if tape.chance(0.5) else char.lower() for char in payload)
        return quote(mixed, safe="(),=-")
    return quote(payload, safe="")


class SqlInjection(Scenario):
    """One source sends 30 to 60 requests with SQL in a parameter, in several encodings, within two minutes."""

    name: ClassVar[str] = "sql_injection"
    title: ClassVar[str] = "SQL injection"
    techniques: ClassVar[tuple[str, ...]] = ("T1190",)
    expects: ClassVar[tuple[str, ...]] = ("SQL injection in a URL",)

    def act(self, tape: Tape, fleet: Fleet, start: int) -> None:
        """Probe one page of one web server."""
        victim, source = fleet.any_of(tape, "web"), stranger(tape)
        page, agent = tape.pick(_PAGES), tape.pick(_AGENTS)
        time = start
        for number in range(tape.integer(30, 60)):
            payload = _PAYLOADS[number % len(_PAYLOADS)]
            uri = page + encode(tape, payload)
            status, size = tape.pick(((200, 8_400), (200, 9_100), (500, 612), (403, 274)))
            seen = flow(tape, fleet, time, source, victim, 80)
            apache.access(tape, time, victim, source, "GET", uri, status, size, agent)
            zeek.http(tape, seen, "GET", "www.corp.example", uri, agent, status, 0, size)
            zeek.conn(tape, seen, "http", 0.3, 600, size)
            suricata.http(tape, seen, "GET", "www.corp.example", uri, agent, status, size)
            if "UNION" in payload:
                suricata.alert(tape, seen, 9_100_002, "UNION SELECT in a request's URI",
                               "Web Application Attack", 1, "http", 600, size)  # fmt: skip
            time += tape.integer(800_000, 3_000_000)
