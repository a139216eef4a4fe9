"""The budget of the LLM lane: money and calls an hour for all workers together, kept by the database and by its clock.

An hour is one of the database's wall clock, in UTC. A call's worst-case price is taken out of the budget before the
call is sent, by one statement that takes nothing if it does not fit; when the answer came, what it did cost takes its
place. A call that was never settled, because its process died or no answer came, has cost its worst case. So what all
workers spend in an hour never passes the budget, as long as no call costs more than its worst case.

Hours never go back: while the database's clock is behind the newest hour that something was spent in, that hour is the
one in force. So a clock that jumps ahead opens one hour early, and setting it back opens none; until it gets there
again there is only what that hour has left.
"""

from __future__ import annotations

from typing import Any

import msgspec
import psycopg
from psycopg_pool import ConnectionPool

from state.postgres import clean, explained

#: Units of money that the tables count in, for each unit of the settings' currency.
NANO = 1_000_000_000
#: Most that one amount may be, to stay within the column when summed.
_MOST = 2**60


#: The hour in force; ``now`` is the database's.
_HOUR = "greatest(date_trunc('hour', now(), 'UTC'), (SELECT max(hour) FROM llm_budget))"


class Spending(msgspec.Struct, frozen=True):
    """What the current hour has cost so far, worst cases of calls under way included."""

    money: float
    calls: int
    #: Seconds until the next hour begins.
    remaining: float


class Budget:
    """The budget, in a database.

    Args:
        pool: of ``state.postgres.pool``.
        money: most that an hour may cost, in the settings' currency.
        calls: most calls an hour.
    """

    def __init__(self, pool: ConnectionPool, money: float, calls: int) -> None:
        self._pool = pool
        self.money = nano(money)
        self.calls = calls

    def reserve(self, price: int, escalation_id: str) -> int | None:
        """Take a call's worst-case price, in billionths, out of the hour's budget; return the call's number.

        None: the hour has not so much left, and nothing was taken. Raises ``DatabaseError``: then nothing may be sent.
        """
        if price < 0:
            raise ValueError("a price is not negative")
        if price > self.money or self.calls < 1:
            return None
        with explained(), self._pool.connection() as connection:
            row = connection.execute(
                f"""
                WITH room AS (
                    INSERT INTO llm_budget AS b (hour, spent, calls) VALUES ({_HOUR}, %(price)s, 1)
                    ON CONFLICT (hour) DO UPDATE SET spent = b.spent + excluded.spent, calls = b.calls + 1
                    WHERE b.spent + excluded.spent <= %(money)s AND b.calls + 1 <= %(calls)s
                    RETURNING hour
                )
                INSERT INTO llm_calls (hour, escalation_id, reserved)
                SELECT hour, %(id)s, %(price)s FROM room RETURNING id
                """,  # noqa: S608 - ours
                {"price": price, "money": self.money, "calls": self.calls, "id": clean(escalation_id)},
            ).fetchone()
        return None if row is None else int(row[0])

    def settle(self, call: int, spent: int, outcome: str) -> None:
        """Put what a call did cost, in billionths, in the place of its worst case; a repeat changes nothing."""
        with explained(), self._pool.connection() as connection:
            settle(connection, call, spent, outcome)

    def release(self, call: int) -> None:
        """Give back what was taken for a call that was never sent."""
        with explained(), self._pool.connection() as connection:
            connection.execute(
                """
                WITH gone AS (DELETE FROM llm_calls WHERE id = %s AND settled_at IS NULL RETURNING hour, reserved)
                UPDATE llm_budget b SET spent = greatest(0, b.spent - g.reserved), calls = greatest(0, b.calls - 1)
                FROM gone g WHERE b.hour = g.hour
                """,
                (call,),
            )

    def spending(self) -> Spending:
        """Return what the current hour has cost so far. Raises ``DatabaseError``."""
        with explained(), self._pool.connection() as connection:
            row = connection.execute(
                f"""
                SELECT coalesce(b.spent, 0), coalesce(b.calls, 0),
                    extract(epoch FROM o.hour + interval '1 hour' - now())
                FROM (SELECT {_HOUR} AS hour) o LEFT JOIN llm_budget b ON b.hour = o.hour
                """  # noqa: S608 - ours
            ).fetchone()
        assert row is not None
        return Spending(money=int(row[0]) / NANO, calls=int(row[1]), remaining=float(row[2]))


def settle(connection: psycopg.Connection[Any], call: int, spent: int, outcome: str) -> None:
    """Settle a call within the caller's transaction, see ``Budget.settle``."""
    connection.execute(
        """
        WITH done AS (
            UPDATE llm_calls SET spent = %s, settled_at = now(), outcome = %s WHERE id = %s AND settled_at IS NULL
            RETURNING hour, reserved, spent
        )
        UPDATE llm_budget b SET spent = greatest(0, b.spent - d.reserved + d.spent) FROM done d WHERE b.hour = d.hour
        """,
        (min(spent, _MOST), clean(outcome)[:64], call),
    )


def nano(money: float) -> int:
    """Return an amount of money in billionths, within what the tables hold.

    >>> nano(0.25)
    250000000
    """
    return min(round(money * NANO), _MOST)
