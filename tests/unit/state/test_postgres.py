"""What every connection to Postgres is told, whatever the operator's DSN says."""

from __future__ import annotations

from psycopg.conninfo import conninfo_to_dict

from state.postgres import conninfo


def test_a_server_that_is_gone_without_a_word_is_given_up() -> None:
    told = conninfo_to_dict(conninfo("postgresql://winnow@db/winnow"))
    idle, every, probes = (int(told[f"keepalives_{name}"]) for name in ("idle", "interval", "count"))
    assert idle + every * probes <= 30
    assert int(told["tcp_user_timeout"]) <= 30_000


def test_the_dsn_wins_over_our_time_outs_but_never_over_read_only() -> None:
    given = "host=db tcp_user_timeout=5 keepalives_idle=1 connect_timeout=9 options='-c statement_timeout=7'"
    told = conninfo_to_dict(conninfo(given, read_only=True))
    assert (told["tcp_user_timeout"], told["keepalives_idle"], told["connect_timeout"]) == ("5", "1", "9")
    options = str(told["options"])
    assert options.index("statement_timeout=60000") < options.index("statement_timeout=7")
    assert options.endswith("-c default_transaction_read_only=on")
