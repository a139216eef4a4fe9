"""A partition with hours of backlog beside a slower one does not run away from it: what waits in memory is bounded."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

from flows.replay import replay
from flows.settings import Settings
from flows.traffic import Traffic
from flows.traffic.settings import TrafficSettings
from operators.formats import Decoder, FormatSettings
from tests.integration.live import create_topic
from tests.integration.load import START, Load
from tests.integration.supervised import Run, content, run, settled, supervised

HOURS = 6
WORKERS = 2
#: How far a partition may be ahead, and what one batch of 20 messages may hold of the sparser one, seconds.
AHEAD, BATCH = 60 + 120, 1_000
#: The message that lets the last windows close is of this host.
END = "10.99.0.1"


def backlog() -> Load:
    """Return six hours of a few hosts in partition 0; and in partition 1 of one that says more than all of them.

    Without pacing partition 0 is read hours of event time ahead of partition 1.
    """
    traffic = Traffic(4, START, TrafficSettings(hosts=4, rate=0.02, attacks_per_hour=0.5))
    aliases = dict(traffic.fleet.aliases)
    decoder = Decoder("t-0", FormatSettings(host_aliases=aliases, year=2024), default_host="nobody")
    sent = [(0, message.host, message.value) for message in traffic.messages(START + HOURS * 3_600_000_000)]
    # Files have no keys; only messages that say whose they are mean the same in both.
    named = [message for message in sent if decoder.decode_batch([message[2]], [0], START).events[0].host != "nobody"]
    dense = [(1, "10.50.0.1", line(START / 1e6 + second, "10.50.0.1")) for second in range(0, HOURS * 3600, 4)]
    ends = [(number, END, line(START / 1e6 + (HOURS + 2) * 3600, END)) for number in (0, 1)]
    return Load([*named, *dense, *ends], aliases, 2)


def line(seconds: float, host: str) -> bytes:
    return json.dumps(
        {
            "_path": "dns",
            "ts": seconds,
            "uid": f"D{seconds}",
            "id.orig_h": host,
            "id.orig_p": 5353,
            "id.resp_h": "10.0.0.2",
            "id.resp_p": 53,
            "proto": "udp",
            "query": f"a{seconds % 9:.0f}.example",
        }
    ).encode()


def measured(running: Run, workers: int) -> tuple[int, int]:
    """Return how many windows are open, and how many partitions wait, over all workers."""
    pages = ""
    for worker in range(workers):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{running.port + 1 + worker}/metrics", timeout=5) as answer:
                pages += answer.read().decode()
        except OSError:  # not yet there
            return 0, 0
    windows = re.findall(r"^winnow_open_windows\{.*\} (\S+)$", pages, re.MULTILINE)
    paused = re.findall(r"^winnow_partition_paused\{.*\} (\S+)$", pages, re.MULTILINE)
    return sum(int(float(value)) for value in windows), sum(int(float(value)) for value in paused)


def test_a_backlog_read_first_waits_for_the_slower_one_of_another_worker(
    kafka: str, postgres_dsn: str, topic_name: str, tmp_path: Path
) -> None:
    load = backlog()
    create_topic(kafka, topic_name, 2)
    load.send(kafka, topic_name)
    variables = supervised(
        kafka, postgres_dsn, topic_name, tmp_path, "live", **load.settings(topic_name),
        WINNOW_TIME__FUTURE_SECONDS="60", WINNOW_TIME__AHEAD_SECONDS="120", WINNOW_KAFKA__BATCH="20",
    )  # fmt: skip
    most = waited = 0

    def done() -> bool:
        nonlocal most, waited
        windows, paused = measured(running, WORKERS)
        most, waited = max(most, windows), max(waited, paused)
        return settled(postgres_dsn, load.total)

    with run(variables, WORKERS) as running:
        running.until(done, pause=0.2)
        assert running.health()[1]["status"] == "ok"
        assert running.health()[1]["restarts"] == 0
        assert all(worker["messages_read"] for worker in running.health()[1]["workers"])
    print(f"\n{load.total} messages, at most {most} windows open")
    assert waited >= 1
    found = content(kafka, variables, topic_name)
    assert 0 < most <= len(found["hosts"]) * (AHEAD + BATCH) // 60

    files = [tmp_path / name for name in ("sparse.log", "dense.log")]
    for number, path in enumerate(files):
        path.write_bytes(b"\n".join(value for partition, _, value in load.messages if partition == number) + b"\n")
    known = Settings.model_validate(
        {
            "formats": {"host_aliases": load.aliases, "year": 2024},
            "time": {"silent_windows": 10},
            "alerts": {"group_minutes": 1},
        }
    )
    summary = replay(files, tmp_path / "replayed", known)
    alerts = [json.loads(row) for row in (tmp_path / "replayed" / "alerts.jsonl").read_text().splitlines()]
    assert sorted((row[0], row[9], row[10]) for row in found["alerts"]) == sorted(
        (alert["id"], alert["count"], alert["reason"]) for alert in alerts
    )
    assert len(alerts) > 3
    # The end's own window never closes live.
    assert {row[0]: row[1] for row in found["hosts"] if row[0] != END} == {
        host: events for host, events in summary["hosts"].items() if host != END
    }
