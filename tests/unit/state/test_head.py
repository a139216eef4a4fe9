"""The newest revision that is named without Alembic is Alembic's."""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

import state.migrations
from state.head import NEWEST, at_newest
from state.postgres import connect
from state.revisions import migrate


def test_the_newest_revision_is_the_one_that_alembic_upgrades_to() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(state.migrations.__path__[0])).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == NEWEST


def test_a_database_that_misses_or_is_ahead_of_the_newest_revision_is_not_taken_for_it(postgres_dsn: str) -> None:
    assert not at_newest(postgres_dsn)
    migrate(postgres_dsn)
    assert at_newest(postgres_dsn)
    for other in ("0001", "9999"):
        with connect(postgres_dsn, autocommit=True) as database:
            database.execute("UPDATE alembic_version SET version_num = %s", (other,))
        assert not at_newest(postgres_dsn)
