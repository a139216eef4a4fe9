"""What tests share: real servers, started once a session, and the real data where it is at hand."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from state.embedded import EmbeddedKafka, EmbeddedPostgres, EmbeddedServices, EmbeddedValkey

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what the chaos suite and the Sigma differential test are told."""
    parser.addoption("--chaos-kills", type=int, default=3, help="workers that the chaos suite kills (default: 3)")
    parser.addoption("--chaos-seed", type=int, default=1, help="seed of the chaos suite (default: 1)")
    parser.addoption("--chaos-messages", type=int, default=0, help="its messages (6,000; from 10 kills on 100,000)")
    parser.addoption("--chaos-outage-seconds", type=float, default=8, help="how long a server is away (default: 8)")
    parser.addoption(
        "--chaos-outages",
        default="kafka+postgres",
        help="which outages, with commas, or all (default: kafka+postgres)",
    )
    parser.addoption("--sigma-cases", type=int, default=2_000, help="cases of the Sigma differential test (2,000)")
    parser.addoption("--sigma-seed", type=int, default=1, help="its seed (default: 1)")
    parser.addoption("--chaos-swaps", type=int, default=3, help="changes of rules under load (default: 3)")


@pytest.fixture(scope="session", autouse=True)
def cache_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what tests cache out of the home folder of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


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
def services() -> Iterator[EmbeddedServices]:
    """Return servers of this test's own, to be frozen and ended: those of the session, or of others, are not."""
    if os.environ.get("WINNOW_TEST_KAFKA"):
        pytest.skip("the broker that WINNOW_TEST_KAFKA names is not ours to freeze")
    with EmbeddedServices() as found:
        yield found


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
    skipped = [r for r in terminalreporter.stats.get("skipped", []) if "NO LOCAL MODEL" in str(r.longrepr)]
    if skipped:
        terminalreporter.write_line("NO LOCAL MODEL: its test did not run; see README, LLM lane", red=True)
