"""``winnow migrate`` and ``winnow prune``, as an operator runs them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.cli import main
from state.alerts import Alert, Level
from state.postgres import PostgresSettings, connect
from state.revisions import migrate
from state.store import Store

Winnow = Callable[..., tuple[int, str, str]]


@pytest.fixture
def winnow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Winnow:
    """Return a runner of the command in an empty folder: (arguments, DSN) to (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("WINNOW_")]:
        monkeypatch.delenv(name)

    def run(*args: str, dsn: str = "") -> tuple[int, str, str]:
        if dsn:
            monkeypatch.setenv("WINNOW_POSTGRES__DSN", dsn)
        else:
            monkeypatch.delenv("WINNOW_POSTGRES__DSN", raising=False)
        status = main(list(args))
        return status, *capsys.readouterr()

    return run


def test_migrate_says_what_it_applied_and_then_that_there_is_nothing_left(winnow: Winnow, postgres_dsn: str) -> None:
    status, said, complained = winnow("migrate", dsn=postgres_dsn)
    assert (status, complained) == (0, "")
    applied = [["applied", name] for name in ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009")]
    assert [line.split()[:2] for line in said.splitlines()] == applied
    assert winnow("migrate", dsn=postgres_dsn) == (0, "nothing to apply: the schema is up to date\n", "")


@pytest.mark.parametrize("command", [["migrate"], ["prune", "--days", "3"]])
@pytest.mark.parametrize(
    ("dsn", "says"),
    [
        ("postgresql://kim:hunter2@127.0.0.1:1/winnow", "Connection refused"),
        ("postgresql://kim:hunter2@[127.0.0.1/winnow", "no connection URI"),
        ("", "no database is configured"),
    ],
)
def test_a_database_that_is_away_or_not_set_is_one_line_and_status_2(
    winnow: Winnow, command: list[str], dsn: str, says: str
) -> None:
    status, said, complained = winnow(*command, dsn=dsn)
    assert (status, said) == (2, "")
    assert says in complained
    assert len(complained.splitlines()) == 1
    assert "hunter2" not in complained


def test_prune_says_what_it_removed(winnow: Winnow, postgres_dsn: str) -> None:
    migrate(postgres_dsn)
    with Store(PostgresSettings.model_validate({"dsn": postgres_dsn})) as store:
        store.write_alerts([Alert("a-1", "rule", "r", "n", Level.low, "h", 0, 0, 0, 1, "old")])
    status, said, _ = winnow("prune", "--days", "3", dsn=postgres_dsn)
    removed = "0 days of host windows, 0 incidents, 1 alerts, 0 evidence events, 0 counts of suppressed signals"
    assert (status, said) == (0, f"removed {removed}, 0 escalations\n")
    with connect(postgres_dsn) as connection:
        assert connection.execute("SELECT count(*) FROM alerts").fetchone() == (0,)
    assert winnow("prune", "--days", "0", dsn=postgres_dsn)[0] == 2
