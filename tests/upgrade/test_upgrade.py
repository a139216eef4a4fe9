"""Whoever upgrades keeps state and tables: what an earlier commit left behind is gone on from, or clearly refused.

A folder here is a commit, its fixture written by ``make.py`` there. It was stopped in the midst of its telemetry. If
this Winnow reads that commit's snapshots, the rest is read from the old store, and the tables are those of a run by
this Winnow over all of it. If not, the store is refused in one line, nothing in the database is lost or changed, and
doing what the line says gives those tables too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka.admin import AdminClient

from flows.recovery import IDENTITY, SNAPSHOTS, Identity, difference
from operators.kafka.topics import identify
from state.embedded import EmbeddedPostgres
from state.postgres import connect
from state.revisions import migrate
from tests.integration.live import create_topic, settings
from tests.integration.load import Load
from tests.integration.supervised import TABLES, Run, content, differences, run, settled, supervised

FIXTURES = sorted(path.parent for path in Path(__file__).parent.glob("*/fixture.tar.xz"))


class Fixture:
    """What a commit left behind, unpacked."""

    def __init__(self, archive: Path, folder: Path) -> None:
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        about = json.loads((folder / "about.json").read_text())
        self.topic: str = about["topic"]
        self.read: int = about["read"]
        self.rows: dict[str, int] = about["rows"]
        self.folder = folder
        lines = [json.loads(line) for line in (folder / "telemetry.jsonl").read_text().splitlines()]
        messages = [(line["partition"], line["key"], line["value"].encode()) for line in lines]
        self.load = Load(messages, {}, 1 + max(partition for partition, _, _ in messages))
        self.settings = about["settings"] | {
            "WINNOW_RULES__BUILTIN": "false",
            "WINNOW_RULES__PATHS": json.dumps([str(folder / "rules")]),
            "WINNOW_METRICS__DEFINITIONS": str(folder / "metrics.yml"),
        }

    def restore(self, dsn: str) -> None:
        """Fill an empty database as it was dumped."""
        with connect(dsn, autocommit=True) as database:
            database.execute((self.folder / "database.sql").read_bytes())

    def move(self, bootstrap: str) -> Identity:
        """Tie the store to the same topic of another broker; return what the commit wrote of it."""
        file = self.folder / "store" / IDENTITY
        written = msgspec.json.decode(file.read_bytes(), type=Identity)
        cluster, topics = identify(settings(bootstrap, self.topic).kafka)
        assert written.topics[self.topic].partitions == topics[self.topic].partitions
        file.write_bytes(msgspec.json.encode(msgspec.structs.replace(written, cluster=cluster, topics=topics)))
        return written


def tables(bootstrap: str, variables: dict[str, str], topic: str) -> dict[str, list[Any]]:
    """Return tables and messages, less the versions of rules and metrics, which name who judged."""
    found = content(bootstrap, variables, topic)
    for message in found["messages"]:
        del message["versions"]
    for name in ("alerts", "ledger"):  # the last column of both
        found[name] = [(*row[:-1], None) for row in found[name]]
    return found


@pytest.mark.parametrize("folder", FIXTURES, ids=lambda folder: folder.name)
def test_an_earlier_store_and_database_are_gone_on_from_or_refused(
    kafka: str, postgres: EmbeddedPostgres, tmp_path: Path, folder: Path
) -> None:
    fixture = Fixture(folder / "fixture.tar.xz", tmp_path)
    topic, load = fixture.topic, fixture.load
    old, new = (postgres.create_database(f"{topic}-{name}") for name in ("old", "new"))
    create_topic(kafka, topic, load.partitions)
    try:
        load.send(kafka, topic)
        written = fixture.move(kafka)
        fixture.restore(old)
        upgraded = supervised(kafka, old, topic, tmp_path, "store", **fixture.settings)
        fresh = supervised(kafka, new, topic, tmp_path, "new", **fixture.settings)
        migrate(old)
        goes_on = not difference(written, msgspec.structs.replace(written, snapshots=SNAPSHOTS))
        with connect(old) as database:
            known = {str(row[0]) for row in database.execute("SELECT id FROM incidents").fetchall()}
        assert counts(old) == fixture.rows
        if not goes_on:
            command = [sys.executable, "-m", "flows.cli", "run", "--workers", "2"]
            refused = subprocess.run(command, env={**os.environ, **upgraded}, capture_output=True, text=True)
            assert refused.returncode == 2
            assert "its snapshots are of another version" in refused.stderr
            assert "move the folder away" in refused.stderr
            assert counts(old) == fixture.rows
            (tmp_path / "store").rename(tmp_path / "away")
        with run(upgraded, 2) as running:
            running.until(lambda: settled(old, load.total))
            # What the old one had read is not read again. Workers say twice a second how far they are.
            rest = load.total - fixture.read if goes_on else load.total
            running.until(lambda: messages_read(running) >= rest)
            assert messages_read(running) == rest
        with run(fresh, 1) as running:
            running.until(lambda: settled(new, load.total))
        found, expected = tables(kafka, upgraded, topic), tables(kafka, fresh, topic)
        # What appeared before the upgrade was told to the old broker, and is not told again.
        told = {message["id"] for message in found["messages"]}
        assert len(expected["messages"]) == len(expected["alerts"])
        assert 0 < len(told) == len(expected["alerts"]) - (fixture.rows["alerts"] if goes_on else 0)
        expected["messages"] = [message for message in expected["messages"] if message["id"] in told]
        assert len(expected["alerts"]) > fixture.rows["alerts"]
        if goes_on:
            # When the one before told of an incident, this one does not know; and what it wrote stays in its words.
            severities = {(message["id"], message["severity"]) for message in expected["incident_messages"]}
            assert {(message["id"], message["severity"]) for message in found["incident_messages"]} <= severities
            words = TABLES["incidents"].split(", ").index("explanation")
            for told_of in (found, expected):
                told_of["incident_messages"] = [
                    message for message in told_of["incident_messages"] if message["id"] not in known
                ]
                told_of["incidents"] = [
                    (*row[:words], None, *row[words + 1 :]) if row[0] in known else row for row in told_of["incidents"]
                ]
        different = differences(found, expected)
        assert not different, "\n".join(different)
    finally:
        admin = AdminClient({"bootstrap.servers": kafka})
        admin.delete_topics([topic])[topic].result(10)


def messages_read(running: Run) -> int:
    return sum(worker["messages_read"] for worker in running.health()[1]["workers"])


def counts(dsn: str) -> dict[str, int]:
    with connect(dsn) as database:
        return {
            table: int((database.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,))[0])
            for table in ("alerts", "evidence", "hosts", "host_windows", "ledger")
        }
