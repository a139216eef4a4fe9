"""Messages that raise alerts of every kind there is, minute by minute, to be mixed into a load of traffic.

What each is to raise follows from the settings that come with them, not from chance:

- *quiet* hosts, known for some hours, send one large transfer in a quarter of an hour, below the limit: ``anomaly``;
- *loud* hosts pass the limit of bytes sent every minute: ``threshold``;
- *crowded* hosts ask for a suspicious name every minute, having done so in as many earlier minutes as alerts are
  remembered of a host, and each time another one follows that is older than all of those: ``rule``, ``_overflow``;
- *asked* hosts get a request every minute whose text is malicious and which no rule knows: ``text``;
- *guarded* hosts are named by another system's alert every minute: ``alert``;
- *visited* hosts get three requests within seconds every minute, which a rule of the test counts: ``correlation``;
- *wanderers* come from a new address each, more than there are places for: ``hosts:overflow``;
- a few messages in each partition and minute are gone before they are read: ``loss``.

Of each kind with a host of its own one host is suppressed, and of the rule that alerts at once a part, for a while.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from operators.control import create, write
from state.control import Suppression, new_id
from tests.integration.live import settings
from tests.integration.load import START, Load, Sent, partition_of

MINUTE = 60_000_000
QUIET, LOUD, CROWDED, ASKED, GUARDED, VISITED = (
    [f"10.30.{block}.{number}" for number in range(1, count + 1)]
    for block, count in ((0, 80), (1, 6), (2, 6), (4, 5), (5, 5), (6, 5))
)
#: Minutes for which the quiet ones are known before the traffic, long enough for a scorer.
KNOWN = 168
#: Wanderers in a minute.
WANDERERS = 12
#: Alerts that are remembered of a host; the crowded ones are brought to it, none with alerts of level high may be.
MAX_OPEN = 200
#: Hosts that are kept apart; a shard has places for nine.
PLACES = 32 * 9
#: Messages of a partition that are gone in a minute.
GONE = 2
_GONE_UID = b'"uid":"Cgone"'
#: The rule that knows the other one.
_INJECTION = "c3cc5d83-b12a-4c82-8c54-8dfa2fe75bf1"
#: What is suppressed: rule, host, fields.
_SUPPRESSED: tuple[tuple[str | None, str | None, dict[str, str]], ...] = (
    ("bytes_out", LOUD[0], {}),
    (None, QUIET[0], {}),
    (None, ASKED[0], {}),
    (None, GUARDED[0], {}),
    (None, VISITED[0], {}),
    (_INJECTION, None, {"uri": "*union*users*", "destination.port": "80"}),
)
#: Injected SQL that the text judge knows and no rule does.
_UNKNOWN = b"/item?q=1%20rlike%20(case%20when%201%3D1%20then%201%20else%200x28%20end)"

SETTINGS = {
    "WINNOW_RULES__PATHS": json.dumps([str(Path(__file__).parent / "rules")]),
    "WINNOW_ALERTS__MAX_OPEN": str(MAX_OPEN),
    "WINNOW_LIMITS__HOSTS": str(PLACES),
    # Every large transfer is to be said. River's scorer does not get used to them, the light one does.
    "WINNOW_ANOMALY": json.dumps(
        {
            "per_day": 1_000,
            "warm_hours": 0,
            "step": 0,
            "open_minutes": 0,
            "mute_minutes": 0,
            "habituation": 0,
            "scorers": {"bytes_out": "gaussian"},
            # So many hosts at once are no shift of this fleet.
            "shift": {"share": 1.0},
            "least": 3.0,
        }
    ),
}


@dataclass(frozen=True)
class Alarms:
    """The messages of a number of partitions, decided by a seed."""

    seed: int
    partitions: int

    def __call__(self, first: int, last: int) -> Iterator[Sent]:
        """Yield what is sent from ``first`` to ``last`` (µs), in no order."""
        chance = Random(f"{self.seed}:alarms")
        for host in QUIET:
            # Before that: often enough for them not to be taken for gone.
            for minute in range(0, KNOWN, 8):
                yield _conn(first - minute * MINUTE, host, 1)
        for host in (*ASKED, *GUARDED, *VISITED):
            # Before the wanderers take all places.
            yield _conn(first - MINUTE, host, 1)
        for host in CROWDED:
            for minute in range(1, MAX_OPEN + 1):
                yield _query(first + MINUTE, host, first - minute * MINUTE)
        anyone = [_key(number, self.partitions) for number in range(self.partitions)]
        for minute in range((last - first) // MINUTE):
            start = first + minute * MINUTE
            for number, host in enumerate(QUIET):
                if (minute + number) % 15 == 0:
                    yield _conn(start + chance.randrange(MINUTE), host, chance.randint(60_000_000, 150_000_000))
            for host in LOUD:
                yield _conn(start + chance.randrange(MINUTE), host, chance.randint(200_000_000, 900_000_000))
            for host in CROWDED:
                now = start + chance.randrange(MINUTE)
                yield _query(now, host, now)
                if minute > 1:
                    yield _query(now, host, first - (MAX_OPEN + chance.randint(2, 60)) * MINUTE)
            for host in ASKED:
                yield _request(start + chance.randrange(MINUTE), host, _UNKNOWN)
            for host in GUARDED:
                yield _alert(start + chance.randrange(MINUTE), host)
            for host in VISITED:
                now = start + chance.randrange(MINUTE - 3_000_000)
                yield from (_request(now + second * 1_000_000, host, b"/beacon") for second in range(3))
            for number in range(WANDERERS):
                now = start + chance.randrange(MINUTE)
                host = f"10.{chance.randint(64, 127)}.{chance.randint(0, 255)}.{chance.randint(1, 254)}"
                yield (_conn(now, host, 100), _query(now, host, now), _injection(now, host))[number % 3]
            for key in anyone:
                now = start + chance.randrange(MINUTE)
                yield from (_conn(now, key, 1, uid=_GONE_UID) for _ in range(GONE))


def suppress(bootstrap: str, topic: str) -> None:
    """Tell the flow what is suppressed: from some minutes after the traffic begins, for a quarter of an hour."""
    told = settings(bootstrap, topic).kafka
    create(told)
    for rule, entity, fields in _SUPPRESSED:
        since = START + 5 * MINUTE + 30_000_000
        message = Suppression(
            version=1, id=new_id(), author="chaos", reason="test", written_at=START, from_time=since, rule=rule,
            entity=entity, until_time=since + 15 * MINUTE, fields=fields,
        )  # fmt: skip
        write(told, message)


def kinds(alerts: list[Any]) -> Counter[str]:
    """Count rows of the table of alerts by kind; the two that stand for what had no place are kinds of their own."""
    return Counter(rule if rule in ("hosts:overflow", "_overflow") else kind for _, kind, rule, *_ in alerts)


def gone(load: Load, topic: str) -> dict[str, list[tuple[int, int]]]:
    """Return of each partition which offsets are to be gone: the first, and past the last."""
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    offsets: Counter[int] = Counter()
    for partition, _, value in load.messages:
        offset = offsets[partition]
        offsets[partition] += 1
        if _GONE_UID in value:
            ranges = found[f"{topic}-{partition}"]
            if ranges and ranges[-1][1] == offset:
                ranges[-1] = (ranges[-1][0], offset + 1)
            else:
                ranges.append((offset, offset + 1))
    return dict(found)


def retention(gone_by_partition: dict[str, list[tuple[int, int]]], path: Path) -> dict[str, str]:
    """Write down what is gone; return the variables of an environment in which it is."""
    path.write_text(json.dumps(gone_by_partition))
    paths = [str(Path(__file__).parent / "retention"), os.environ.get("PYTHONPATH", "")]
    return {"CHAOS_RETENTION": str(path), "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _key(partition: int, partitions: int) -> str:
    hosts = (f"10.30.3.{number}" for number in range(1, 255))
    return next(host for host in hosts if partition_of(host, partitions) == partition)


def _conn(now: int, host: str, sent: int, uid: bytes = b'"uid":"Cbytes"') -> Sent:
    value = (
        b'{"_path":"conn","ts":%.6f,%b,"id.orig_h":"%b","id.orig_p":40000,"id.resp_h":"192.0.2.9","id.resp_p":443,'
        b'"proto":"tcp","orig_bytes":%d,"resp_bytes":1,"conn_state":"SF"}'
    )
    return Sent(now, host, value % (now / 1e6, uid, host.encode(), sent))


def _query(now: int, host: str, time: int) -> Sent:
    """Return a query as tunnels make them, of its own time."""
    value = (
        b'{"_path":"dns","ts":%.6f,"uid":"Cdns","id.orig_h":"%b","id.orig_p":40000,"id.resp_h":"10.0.0.53",'
        b'"id.resp_p":53,"proto":"udp","query":"%b.%b.t.example.net","qtype":1,"rcode":0}'
    )
    return Sent(now, host, value % (time / 1e6, host.encode(), b"a" * 30, b"b" * 60))


def _injection(now: int, host: str) -> Sent:
    """Return a request of level high, which no exchange orders: it alerts under its host's true name."""
    return _request(now, host, b"/item?id=1%27%20UNION%20SELECT%20name,password%20FROM%20users--")


def _request(now: int, host: str, uri: bytes) -> Sent:
    value = (
        b'{"_path":"http","ts":%.6f,"uid":"Chttp","id.orig_h":"198.51.100.7","id.orig_p":40000,"id.resp_h":"%b",'
        b'"id.resp_p":80,"trans_depth":1,"method":"GET","host":"shop.example","uri":"%b","status_code":200}'
    )
    return Sent(now, host, value % (now / 1e6, host.encode(), uri))


def _alert(now: int, host: str) -> Sent:
    value = (
        b'{"timestamp":%.6f,"host":"%b","event_type":"alert","rule_id":"41","description":"Beacon","severity":"medium"}'
    )
    return Sent(now, host, value % (now / 1e6, host.encode()))
