"""All six real data sets, through replay and through the live flow: nothing is lost, and it is read right.

In the suite windows_events goes in by every tenth line, and the live flow reads the first lines of each file.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import orjson
import pytest
import zstandard

from flows.replay import replay
from flows.settings import Settings
from operators.formats import Decoder, FormatSettings
from operators.formats.generic_json import CATEGORIES
from state.events import Event
from state.postgres import connect
from tests.integration.live import create_topic, environment, running, send, until

pytestmark = pytest.mark.data

#: Lines of each file that the live flow reads.
LIVE_LINES = 20_000
#: Share of lines that may be rejected, and of events that must be whole.
MAX_REJECTED, MIN_WHOLE = 0.001, 0.99


class DataSet(msgspec.Struct, frozen=True):
    """One folder of real telemetry and what is known of it."""

    folder: str
    #: Of how many lines one is replayed.
    every: int
    #: Lines that must have been there, at least.
    lines: int
    #: What its events' hosts are, all of them or at least some of them.
    hosts: frozenset[str]
    #: Whether ``hosts`` are all there are.
    closed: bool = False


DATA_SETS = (
    DataSet(
        "windows_events",
        10,
        21_900,
        # Fourteen spellings in the raw lines: upper case, with and without one of four domains.
        frozenset(
            {"workstation5", "workstation6", "mordordc", "mxs01", "it001", "hr001", "hfdc01", "acct001", "file001"}
        ),
        closed=True,
    ),
    DataSet(
        "windows_attack_samples", 1, 13_947, frozenset({"desktop-m5sn04r", "pc01", "fs03", "msedgewin10", "rootdc1"})
    ),
    DataSet("zeek_wrccdc", 1, 138_086, frozenset({"10.47.1.208", "10.47.2.100", "10.128.0.241", "10.164.94.120"})),
    DataSet("zeek_flows_labelled", 1, 11_000, frozenset({"147.32.81.167", "147.32.83.234"})),
    DataSet("suricata_eve", 1, 368, frozenset({"10.192.91.91", "10.128.0.221", "10.47.44.68"})),
    DataSet("syslog", 1, 6_000, frozenset({"combo", "labsz", "apache_2k"}), closed=True),
)


def unpack(data_dir: Path, folder: str, into: Path, every: int = 1, first: int | None = None) -> list[Path]:
    """Write a data set's log files as plain lines; return them. Files of one name get their folder's before it."""
    into.mkdir(parents=True)
    written = []
    for name, lines in _streams(data_dir / folder):
        path = into / name
        with path.open("wb") as file:
            for number, line in enumerate(lines):
                if first is not None and number >= first:
                    break
                # A TSV header is part of its file, whatever is left out.
                if number % every == 0 or line.startswith(b"#"):
                    file.write(line)
        written.append(path)
    assert written, f"no log files in {data_dir / folder}"
    return written


def _streams(folder: Path) -> Iterator[tuple[str, Iterator[bytes]]]:
    for path in sorted(folder.iterdir()):
        if path.name.endswith(".tar.zst"):
            with zstandard.open(path, "rb") as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
                for member in tar:
                    if member.name.endswith(".log.labeled") and (inner := tar.extractfile(member)):
                        data_set, log = Path(member.name).parts[-3], Path(member.name).name
                        yield f"{data_set}.{log}", iter(inner.read().splitlines(keepends=True))
        elif path.name.endswith(".jsonl.zst"):
            with zstandard.open(path, "rb") as plain:
                yield path.stem, iter(io.BufferedReader(plain, 1 << 20))
        elif path.suffix in (".jsonl", ".log"):
            with path.open("rb") as file:
                yield path.name, iter(file)


# What each format itself says about time, read by other means than ours.


def _said_windows(event: Event) -> datetime | None:
    # EventTime is local time, four to five hours behind; one recording has Sysmon's UtcTime instead of @timestamp,
    # and a TimeCreated of a twelve-hour clock without its AM and PM, which nothing can be made of.
    fields = orjson.loads(event.raw)
    if stamp := fields.get("@timestamp"):
        return datetime.fromisoformat(stamp)
    return datetime.fromisoformat(fields["UtcTime"]).replace(tzinfo=UTC) if "UtcTime" in fields else None


def _said_evtx(event: Event) -> datetime | None:
    system = orjson.loads(event.raw)["event"]["System"]
    return datetime.fromisoformat(system["TimeCreated"]["#attributes"]["SystemTime"])


def _said_zeek(event: Event) -> datetime | None:
    return datetime.fromisoformat(orjson.loads(event.raw)["ts"])


def _said_zeek_tsv(event: Event) -> datetime | None:
    return datetime.fromtimestamp(float(event.raw.split(b"\t")[0]), UTC)


def _said_suricata(event: Event) -> datetime | None:
    # Half of the captures were made six hours west of Greenwich.
    return datetime.fromisoformat(orjson.loads(event.raw)["timestamp"])


def _said_syslog(event: Event) -> datetime | None:
    found = re.match(rb"\[?(?:\w{3} )?(\w{3} +\d+ \d\d:\d\d:\d\d)(?: (\d{4}))?", event.raw)
    assert found, event.raw
    # These lines name no zone and most of them no year; the zone is UTC unless a setting says otherwise.
    year = found[2] or str(datetime.fromtimestamp(event.time / 1e6, UTC).year).encode()
    return datetime.strptime(f"{found[1].decode()} {year.decode()}", "%b %d %H:%M:%S %Y").replace(tzinfo=UTC)


SAID: dict[str, Callable[[Event], datetime | None]] = {
    "windows_events": _said_windows,
    "windows_attack_samples": _said_evtx,
    "zeek_wrccdc": _said_zeek,
    "zeek_flows_labelled": _said_zeek_tsv,
    "suricata_eve": _said_suricata,
    "syslog": _said_syslog,
}


class Seen:
    """What the decoder makes of a data set."""

    def __init__(self, folder: str, files: list[Path]) -> None:
        self.lines = self.skipped = self.whole = self.events = self.timed = 0
        self.reasons: Counter[str] = Counter()
        self.hosts: Counter[str] = Counter()
        self.wrong_times: list[tuple[str, str]] = []
        for path in files:
            decoder = Decoder(f"{path.name}-0", FormatSettings(), default_host=path.stem)
            reference = int(path.stat().st_mtime * 1e6)
            with path.open("rb") as file:
                batch: list[bytes] = []
                for line in file:
                    batch.append(line.rstrip(b"\r\n"))
                    if len(batch) == 2_000:
                        self._take(folder, decoder, batch, reference)
                        batch = []
                self._take(folder, decoder, batch, reference)

    def _take(self, folder: str, decoder: Decoder, batch: list[bytes], reference: int) -> None:
        done = decoder.decode_batch(batch, range(len(batch)), reference)
        self.lines += len(batch)
        self.skipped += len(done.skipped)
        self.events += len(done.events)
        self.reasons.update(rejected.reason for rejected in done.rejected)
        for event in done.events:
            self.hosts[event.host] += 1
            self.whole += bool(event.host) and event.time > 0 and event.kind.category in CATEGORIES
        for event in done.events[::10]:
            said = SAID[folder](event)
            if said is not None:
                self.timed += 1
                if abs(said.timestamp() - event.time / 1e6) > 0.002:
                    self.wrong_times.append((str(said), event.raw[:200].decode()))


@pytest.mark.parametrize("data_set", DATA_SETS, ids=lambda data_set: data_set.folder)
def test_replay_of_real_telemetry_accounts_for_every_line(data_dir: Path, tmp_path: Path, data_set: DataSet) -> None:
    files = unpack(data_dir, data_set.folder, tmp_path / "in", data_set.every)
    seen = Seen(data_set.folder, files)
    assert seen.lines >= data_set.lines
    assert seen.whole >= seen.events * MIN_WHOLE
    assert not seen.wrong_times[:3]
    assert seen.timed >= seen.events // 12
    _check_hosts(data_set, set(seen.hosts))

    summary = replay(files, tmp_path / "out", Settings())
    rejected = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()]
    assert len(rejected) == summary["rejected"] <= seen.lines * MAX_REJECTED, seen.reasons
    assert all(line["reason"] and line["detail"] for line in rejected)
    assert summary["events"] + summary["rejected"] + summary["skipped"] == seen.lines
    assert sum(summary["lanes"].values()) == summary["events"] == seen.events
    assert summary["hosts"] == dict(seen.hosts)
    alerts = [json.loads(line) for line in (tmp_path / "out" / "alerts.jsonl").read_text().splitlines()]
    assert {alert["entity"] for alert in alerts} <= seen.hosts.keys()


def test_the_live_flow_accounts_for_every_offset_of_real_telemetry(
    data_dir: Path, tmp_path: Path, kafka: str, postgres_dsn: str, topic_name: str
) -> None:
    sent: dict[tuple[str, int], int] = {}
    for data_set in DATA_SETS:
        topic = f"{topic_name}-{data_set.folder}"
        files = unpack(data_dir, data_set.folder, tmp_path / data_set.folder, first=LIVE_LINES)
        # A file a partition: a header of Zeek's is about the lines that follow it.
        create_topic(kafka, topic, len(files))
        for number, path in enumerate(files):
            lines = path.read_bytes().splitlines()
            send(kafka, topic, lines, number)
            sent[topic, number] = len(lines)
    topics = sorted({topic for topic, _ in sent})
    # Recordings of several years, read within minutes: no host is to be forgotten between two of them.
    variables = environment(
        kafka,
        postgres_dsn,
        topic_name,
        WINNOW_KAFKA__TELEMETRY=json.dumps(topics),
        WINNOW_LIMITS__FORGET_DAYS="36500",
    )
    with running(variables) as flow:
        until(lambda: _settled(postgres_dsn, sent), flow, patience=240.0)
        # Then the partitions fall idle, their clocks follow the wall, and the last windows close.
        events = sum(row[lane] for row in _ledger(postgres_dsn).values() for lane in ("rule", "bert", "llm"))
        until(lambda: sum(_hosts(postgres_dsn).values()) == events, flow)
    rows = _ledger(postgres_dsn)
    for place, count in sent.items():
        row = rows[place]
        assert row["consumed"] + row["absent"] == count, place
        assert row["consumed"] == row["rejected"] + row["skipped"] + row["rule"] + row["bert"] + row["llm"], place
    hosts = _hosts(postgres_dsn)
    with connect(postgres_dsn) as database:
        entities = {row[0] for row in database.execute("SELECT entity FROM alerts")}
    for data_set in DATA_SETS:
        own = [row for (topic, _), row in rows.items() if topic == f"{topic_name}-{data_set.folder}"]
        consumed, rejected = sum(row["consumed"] for row in own), sum(row["rejected"] for row in own)
        assert rejected <= consumed * MAX_REJECTED, data_set.folder
    assert "wecserver" not in hosts
    assert [host for host in hosts if host.startswith("workstation5")] == ["workstation5"]
    assert entities and entities <= hosts.keys()


def _check_hosts(data_set: DataSet, hosts: set[str]) -> None:
    assert data_set.hosts <= hosts
    if data_set.closed:
        assert hosts == data_set.hosts
    assert "wecserver" not in hosts  # the collector
    assert all(host == host.lower() for host in hosts)


def _ledger(dsn: str) -> dict[tuple[str, int], dict[str, int]]:
    names = ("consumed", "rejected", "skipped", "absent", "rule", "bert", "llm", "late", "future")
    query = f"SELECT topic, partition, {', '.join(f'sum({n})' for n in names)} FROM ledger GROUP BY 1, 2"
    with connect(dsn) as database:
        rows = database.execute(query).fetchall()
    return {(row[0], row[1]): dict(zip(names, map(int, row[2:]), strict=True)) for row in rows}


def _hosts(dsn: str) -> dict[str, int]:
    with connect(dsn) as database:
        return dict(database.execute("SELECT host, events FROM hosts").fetchall())


def _settled(dsn: str, sent: dict[tuple[str, int], int]) -> bool:
    rows = _ledger(dsn)
    return sum(row["consumed"] + row["absent"] for row in rows.values()) >= sum(sent.values()) and all(
        row["consumed"] == row["rejected"] + row["skipped"] + row["rule"] + row["bert"] + row["llm"]
        for row in rows.values()
    )
