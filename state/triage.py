"""The queue of the LLM lane in Postgres: what waits, who asks about it, how it ended, and what is yet to be published.

Several processes share it. Who asks holds a lease, which the database's clock ends: what a killed process asked about
is asked again by another. An escalation is stored once, by its id, and ends once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import psycopg
from psycopg_pool import ConnectionPool

from state.answers import Remembered, release, remember
from state.budget import settle
from state.escalations import Escalation, LlmVerdict, decode_escalation
from state.postgres import clean, clean_key, explained

#: Rows that one statement takes.
CHUNK = 200


class Arrived(msgspec.Struct, frozen=True):
    """An escalation as it comes in, with its verdict if there is one already."""

    escalation: Escalation
    message: bytes
    question: bytes
    verdict: LlmVerdict | None = None
    #: Digest of the event as questions tell it from others, see ``state.precedents``.
    subject: bytes | None = None


class Claimed(msgspec.Struct, frozen=True):
    """An escalation that is ours to ask about until the lease ends."""

    id: str
    message: bytes
    #: Who holds it: the process, and this claim alone.
    owner: str
    #: Times that it was claimed, this one included.
    attempts: int


class Settlement(msgspec.Struct, frozen=True):
    """What a reserved call did cost, in billionths of the currency."""

    call: int
    spent: int
    outcome: str


class TriageQueue:
    """The queue; ``pool`` is of ``state.postgres.pool``. Every method raises ``DatabaseError``."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def add(self, arrived: Sequence[Arrived]) -> int:
        """Store escalations, those that are there already excepted; return how many were new."""
        rows = []
        for item in arrived:
            verdict, of = item.verdict, item.escalation
            rows.append(
                (
                    *(of.id, clean_key(of.event_id), clean_key(of.host), of.stakes, item.message, item.question),
                    item.subject,
                    *_outcome(verdict),
                )
            )
        with explained(), self._pool.connection() as connection, connection.transaction():
            cursor = connection.cursor()
            cursor.executemany(
                """
                INSERT INTO escalations (id, event_id, host, stakes, message, question, subject,
                    status, verdict, label, severity, reason, cached, decided_at)
                VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, CASE WHEN %s THEN now() END)
                ON CONFLICT (id) DO NOTHING
                """,
                rows,
            )
            return cursor.rowcount

    def claim(self, most: int, process: str, lease: float) -> list[Claimed]:
        """Take up to ``most`` of what waits, highest stakes first, or was left by who did not extend the lease.

        The lease is in seconds. What others are just taking is passed over.
        """
        with explained(), self._pool.connection() as connection:
            rows = connection.execute(
                """
                WITH waits AS (
                    SELECT id, stakes, received_at FROM escalations WHERE status = 'waiting' AND not_before <= now()
                    ORDER BY stakes DESC, received_at, id LIMIT %(most)s FOR UPDATE SKIP LOCKED
                ), abandoned AS (
                    SELECT id, stakes, received_at FROM escalations WHERE status = 'asking' AND lease_until < now()
                    ORDER BY stakes DESC, received_at, id LIMIT %(most)s FOR UPDATE SKIP LOCKED
                ), next AS (
                    SELECT id FROM (SELECT * FROM waits UNION ALL SELECT * FROM abandoned) both_kinds
                    ORDER BY stakes DESC, received_at, id LIMIT %(most)s
                )
                UPDATE escalations e SET status = 'asking', owner = %(process)s || '/' || e.id || '/' || e.attempts,
                    lease_until = now() + make_interval(secs => %(lease)s), attempts = e.attempts + 1
                FROM next WHERE e.id = next.id
                RETURNING e.id, e.message, e.owner, e.attempts, e.stakes, e.received_at
                """,
                {"most": most, "process": clean(process), "lease": lease},
            ).fetchall()
        rows.sort(key=lambda row: (-row[4], row[5], row[0]))
        return [Claimed(row[0], bytes(row[1]), row[2], row[3]) for row in rows]

    def extend(self, owners: Sequence[str], lease: float) -> None:
        """Hold what these owners hold for ``lease`` seconds from now: escalations, and the questions that they ask."""
        # A transaction each: ``finish`` locks the two tables in the other order.
        with explained(), self._pool.connection() as connection:
            for table in ("escalations", "llm_answers"):
                connection.execute(
                    f"UPDATE {table} SET lease_until = now() + make_interval(secs => %s) WHERE owner = ANY(%s)",  # noqa: S608 - our names
                    (lease, list(owners)),
                )

    def put_back(self, claimed: Claimed, seconds: float, fault: str, *, counted: bool = True) -> None:
        """Let an escalation wait again, for ``seconds`` at least, and its question be asked by others.

        ``counted``: whether this attempt counts.
        """
        with explained(), self._pool.connection() as connection, connection.transaction():
            connection.execute(
                "UPDATE escalations SET status = 'waiting', owner = NULL, lease_until = NULL, fault = %s, "
                "attempts = attempts - %s, not_before = now() + make_interval(secs => %s) WHERE owner = %s",
                (clean(fault)[:200], 0 if counted else 1, seconds, claimed.owner),
            )
            release(connection, claimed.owner)

    def finish(
        self,
        claimed: Claimed,
        verdict: LlmVerdict,
        settlement: Settlement | None = None,
        remembered: Remembered | None = None,
    ) -> bool:
        """Store how an escalation ended, what the call did cost, and the answer, all or nothing.

        Return whether it was still ours: another may have it after our lease ended; then its end counts, not this one.
        """
        with explained(), self._pool.connection() as connection, connection.transaction():
            if settlement is not None:
                settle(connection, settlement.call, settlement.spent, settlement.outcome)
            if remembered is not None:
                remember(connection, remembered)
            release(connection, claimed.owner)
            return _decide(connection, "owner = %s", claimed.owner, verdict)

    def finish_waiting(self, which: str, value: Any, decide: Callable[[Escalation, str], LlmVerdict | None]) -> int:
        """Decide escalations that wait, by ``decide(escalation, fault)``; None leaves one waiting. Return how many.

        Args:
            which: ``question`` (those of this question), ``older`` (received over so many seconds ago), or ``beyond``
                (the lowest stakes of more than so many).
            value: the question's key, the seconds, or the number.
            decide: tells the verdict.
        """
        query = {
            "question": "SELECT id, message, fault FROM escalations WHERE status = 'waiting' AND question = %s",
            "older": "SELECT id, message, fault FROM escalations WHERE status = 'waiting' "
            "AND received_at < now() - make_interval(secs => %s)",
            "beyond": "SELECT id, message, fault FROM escalations WHERE status = 'waiting' AND id IN (SELECT id FROM "
            "escalations WHERE status = 'waiting' ORDER BY stakes DESC, received_at, id OFFSET %s)",
        }[which]
        done = 0
        while True:
            with explained(), self._pool.connection() as connection, connection.transaction():
                rows = connection.execute(
                    f"{query} LIMIT {CHUNK} FOR UPDATE SKIP LOCKED",
                    (value,),
                ).fetchall()
                decided = 0
                for name, message, fault in rows:
                    verdict = decide(decode_escalation(bytes(message)), fault)
                    if verdict is not None:
                        decided += _decide(connection, "id = %s AND status = 'waiting'", name, verdict)
            done += decided
            if len(rows) < CHUNK or not decided:
                return done

    def publish(self, send: Callable[[Sequence[tuple[str, bytes]]], None]) -> int:
        """Give verdicts that are not published to ``send``, oldest first, and mark them once it returns.

        ``send`` gets (id, message) and returns when the messages are safe. Return how many. A crash between sends them
        again.
        """
        with explained(), self._pool.connection() as connection, connection.transaction():
            rows = connection.execute(
                "SELECT id, verdict FROM escalations WHERE verdict IS NOT NULL AND NOT published "  # noqa: S608 - a number
                f"ORDER BY decided_at LIMIT {CHUNK} FOR UPDATE SKIP LOCKED"
            ).fetchall()
            if rows:
                send([(row[0], bytes(row[1])) for row in rows])
                connection.execute(
                    "UPDATE escalations SET published = true WHERE id = ANY(%s)", ([r[0] for r in rows],)
                )
        return len(rows)

    def message(self, escalation_id: str) -> bytes | None:
        """Return an escalation as it was read; None: there is none of this id."""
        with explained(), self._pool.connection() as connection:
            row = connection.execute(
                "SELECT message FROM escalations WHERE id = %s", (clean(escalation_id),)
            ).fetchone()
        return None if row is None else bytes(row[0])

    def counts(self) -> dict[str, Any]:
        """Return how many escalations stand where, why some were refused, and how long the oldest waits, seconds."""
        with explained(), self._pool.connection() as connection:
            row = connection.execute(
                """
                SELECT count(*) FILTER (WHERE status = 'waiting'), count(*) FILTER (WHERE status = 'asking'),
                    count(*) FILTER (WHERE status = 'answered'), count(*) FILTER (WHERE status = 'refused'),
                    count(*) FILTER (WHERE cached), count(*) FILTER (WHERE verdict IS NOT NULL AND NOT published),
                    coalesce(extract(epoch FROM now() - min(received_at) FILTER (WHERE verdict IS NULL)), 0)
                FROM escalations
                """
            ).fetchone()
            reasons = connection.execute(
                "SELECT split_part(reason, ':', 1), count(*) FROM escalations WHERE status = 'refused' GROUP BY 1 "
                "ORDER BY 2 DESC LIMIT 50"
            ).fetchall()
            labels = connection.execute(
                "SELECT label, count(*) FROM escalations WHERE status = 'answered' GROUP BY 1 ORDER BY 1"
            ).fetchall()
        assert row is not None
        names = ("waiting", "asking", "answered", "refused", "cached", "unpublished")
        return {
            **dict(zip(names, row[:6], strict=True)),
            "oldest_waiting_seconds": round(float(row[6]), 1),
            "verdicts": dict(labels),
            "reasons": dict(reasons),
        }

    def depth(self) -> dict[str, int]:
        """Return how many wait, are asked about, and are to be published: cheap, for metrics."""
        with explained(), self._pool.connection() as connection:
            row = connection.execute(
                "SELECT (SELECT count(*) FROM escalations WHERE status = 'waiting'), "
                "(SELECT count(*) FROM escalations WHERE status = 'asking'), "
                "(SELECT count(*) FROM escalations WHERE verdict IS NOT NULL AND NOT published)"
            ).fetchone()
        assert row is not None
        return dict(zip(("waiting", "asking", "unpublished"), row, strict=True))

    def prune(self, days: int) -> int:
        """Remove escalations published over ``days`` days ago, their calls, expired answers, summaries left over."""
        with explained(), self._pool.connection() as connection, connection.transaction():
            connection.execute("SET LOCAL statement_timeout = 0")
            gone = connection.execute(
                "DELETE FROM escalations WHERE published AND decided_at < now() - make_interval(days => %s)", (days,)
            ).rowcount
            connection.execute("DELETE FROM llm_calls WHERE asked_at < now() - make_interval(days => %s)", (days,))
            # The newest hour stays: it is in force until the clock has passed it.
            connection.execute(
                "DELETE FROM llm_budget WHERE hour < now() - make_interval(days => %s) "
                "AND hour < (SELECT max(hour) FROM llm_budget)",
                (days,),
            )
            connection.execute("DELETE FROM llm_answers WHERE expires_at < now()")
            connection.execute(
                "DELETE FROM incident_summaries s WHERE received_at < now() - make_interval(days => %s) "
                "AND NOT EXISTS (SELECT FROM incidents i WHERE i.id = s.incident_id)",
                (days,),
            )
        return gone


def _decide(connection: psycopg.Connection[Any], which: str, value: Any, verdict: LlmVerdict) -> bool:
    return (
        connection.execute(
            "UPDATE escalations SET status = %s, verdict = %s, label = %s, severity = %s, reason = %s, cached = %s, "  # noqa: S608 - ours
            "owner = NULL, lease_until = NULL, decided_at = CASE WHEN %s THEN now() END, published = false "
            f"WHERE {which}",
            (*_outcome(verdict), value),
        ).rowcount
        > 0
    )


def _outcome(verdict: LlmVerdict | None) -> tuple[Any, ...]:
    if verdict is None:
        return ("waiting", None, "", "", "", False, False)
    return (
        verdict.status,
        verdict.encode(),
        verdict.verdict,
        verdict.severity,
        clean(verdict.reason),
        verdict.cached,
        True,
    )
