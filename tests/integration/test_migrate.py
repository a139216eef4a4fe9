"""``winnow migrate`` and ``winnow prune``, as an operator runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from state.alerts import Alert, Level
from state.postgres import PostgresSettings, connect, migrate
from state.store import Store

ROOT = Path(__file__).resolve().parents[2]


def winnow(*args: str, folder: Path, dsn: str = "") -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WINNOW_")}
    if dsn:
        environment["WINNOW_POSTGRES__DSN"] = dsn
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *args],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_migrate_says_what_it_applied_and_then_that_there_is_nothing_left(postgres_dsn: str, tmp_path: Path) -> None:
    first, second = (winnow("migrate", folder=tmp_path, dsn=postgres_dsn) for _ in range(2))
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("applied 0001 ")
    assert (second.returncode, second.stdout) == (0, "nothing to apply: the schema is up to date\n")


def test_a_database_that_is_away_or_not_set_is_one_line_and_status_2(tmp_path: Path) -> None:
    away = "postgresql://kim:hunter2@127.0.0.1:1/winnow"
    for command in (["migrate"], ["prune", "--days", "3"]):
        for dsn, says in ((away, "Connection refused"), ("", "no database is configured")):
            done = winnow(*command, folder=tmp_path, dsn=dsn)
            assert (done.returncode, done.stdout) == (2, "")
            assert says in done.stderr
            assert len(done.stderr.splitlines()) == 1
            assert "hunter2" not in done.stderr


def test_prune_says_what_it_removed(postgres_dsn: str, tmp_path: Path) -> None:
    migrate(postgres_dsn)
    with Store(PostgresSettings.model_validate({"dsn": postgres_dsn})) as store:
        store.write_alerts([Alert("a-1", "rule", "r", "n", Level.low, "h", 0, 0, 0, 1, "old")])
    done = winnow("prune", "--days", "3", folder=tmp_path, dsn=postgres_dsn)
    assert (done.returncode, done.stdout) == (0, "removed 0 days of host windows, 1 alerts, 0 evidence events\n")
    with connect(postgres_dsn) as connection:
        assert connection.execute("SELECT count(*) FROM alerts").fetchone() == (0,)
    assert winnow("prune", "--days", "0", folder=tmp_path, dsn=postgres_dsn).returncode == 2
