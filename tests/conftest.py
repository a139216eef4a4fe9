"""What tests share: real servers, started once a session, and the real data where it is at hand."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from state.embedded import EmbeddedKafka, EmbeddedPostgres, EmbeddedValkey

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what the chaos suite is told."""
    parser.addoption("--chaos-kills", type=int, default=3, help="workers that the chaos suite kills (default: 3)")
    parser.addoption("--chaos-seed", type=int, default=1, help="seed of the chaos suite (default: 1)")
    parser.addoption("--chaos-messages", type=int, default=0, help="its messages (6,000; from 10 kills on 100,000)")


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """Return ``bootstrap.servers`` of the broker named by WINNOW_TEST_KAFKA, or of an embedded one.

    The broker is shared by all tests of the session: make topics with names of your own (``topic_name``).
    """
    if given := os.environ.get("WINNOW_TEST_KAFKA"):
        yield given
        return
    with EmbeddedKafka() as server:
        yield server.bootstrap_servers


@pytest.fixture
def topic_name(request: pytest.FixtureRequest) -> str:
    """Return a topic name that no other test and no earlier run has used."""
    return f"{request.node.originalname[:80]}-{secrets.token_hex(4)}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """Return the session's Postgres server."""
    with EmbeddedPostgres() as server:
        yield server


@pytest.fixture
def postgres_dsn(postgres: EmbeddedPostgres) -> Iterator[str]:
    """Return the URL of an empty database that is this test's alone (some 30 ms)."""
    name = f"test_{secrets.token_hex(6)}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


@pytest.fixture(scope="module")
def module_postgres_dsn(postgres: EmbeddedPostgres) -> Iterator[str]:
    """Return the URL of an empty database that the tests of one module share."""
    name = f"test_{secrets.token_hex(6)}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[EmbeddedValkey]:
    """Return the session's Valkey server."""
    with EmbeddedValkey() as server:
        yield server


@pytest.fixture
def valkey_url(valkey_server: EmbeddedValkey) -> str:
    """Return the URL of an empty Valkey database."""
    with redis.Redis.from_url(valkey_server.url) as client:
        client.flushall()
    return valkey_server.url


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of the real data sets: WINNOW_DATA, by default ``../shared/data``; skip if it is missing."""
    path = Path(os.environ.get("WINNOW_DATA") or ROOT.parent / "shared" / "data")
    if not path.is_dir():
        pytest.skip(f"NO REAL DATA: {path} is missing; name the data sets' folder in WINNOW_DATA")
    return path


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in the closing lines that tests over real data did not run: a skip alone is easily missed."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if "NO REAL DATA" in str(report.longrepr)]
    if skipped:
        terminalreporter.write_line(
            f"NO REAL DATA: {len(skipped)} tests did not run; set WINNOW_DATA to the data sets' folder", red=True
        )
