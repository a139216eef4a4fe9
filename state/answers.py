"""Answers of the LLM lane by their question, in Postgres, with Redis before it: a question is paid once.

Who asks holds a lease on the question; others that have the same one wait for the answer. Postgres is the truth; Redis
may be away, empty or wrong at any time: what comes from it is checked like what comes from outside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec
import psycopg
from psycopg_pool import ConnectionPool

from state.postgres import clean, explained


class Remembered(msgspec.Struct, frozen=True):
    """An answer to be remembered, under the digest of its question."""

    question: bytes
    prompt: str
    model: str
    answer: bytes
    #: For how long; 0: not at all.
    seconds: float


class Quick(Protocol):
    """The cache before the table (``state.verdicts.VerdictStore``)."""

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return what is stored under each key."""

    def put(self, items: Mapping[bytes, bytes]) -> None:
        """Store values."""


class Answers:
    """Remembered answers; ``pool`` is of ``state.postgres.pool``. Methods raise ``DatabaseError``, never for Redis."""

    def __init__(self, pool: ConnectionPool, quick: Quick | None = None) -> None:
        self._pool = pool
        self._quick = quick

    def known(self, questions: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the answers there are, by question."""
        found: dict[bytes, bytes] = {}
        if self._quick is not None:
            got = self._quick.get(questions)
            found = {question: raw for question, raw in zip(questions, got, strict=True) if raw is not None}
        missing = [question for question in questions if question not in found]
        if missing:
            with explained(), self._pool.connection() as connection:
                rows = connection.execute(
                    "SELECT question, answer FROM llm_answers WHERE question = ANY(%s) AND expires_at > now()",
                    (missing,),
                ).fetchall()
            stored = {bytes(row[0]): bytes(row[1]) for row in rows}
            self.quicken(stored)
            found |= stored
        return found

    def begin(
        self, question: bytes, prompt: str, model: str, owner: str, lease: float
    ) -> Literal["ours"] | bytes | None:
        """Take a question to ask it: ``ours``, or its answer, or None while another asks it.

        ``lease`` is in seconds; see ``TriageQueue.extend``.
        """
        with explained(), self._pool.connection() as connection:
            ours = connection.execute(
                """
                INSERT INTO llm_answers AS a (question, prompt, model, owner, lease_until)
                VALUES (%s, %s, %s, %s, now() + make_interval(secs => %s))
                ON CONFLICT (question) DO UPDATE SET owner = excluded.owner, lease_until = excluded.lease_until,
                    prompt = excluded.prompt, model = excluded.model, answer = NULL, answered_at = NULL,
                    expires_at = NULL
                WHERE a.lease_until < now() OR a.expires_at <= now() OR a.owner = excluded.owner
                RETURNING 1
                """,
                (question, clean(prompt), clean(model), owner, lease),
            ).fetchone()
            if ours is not None:
                return "ours"
            row = connection.execute("SELECT answer FROM llm_answers WHERE question = %s", (question,)).fetchone()
        return None if row is None or row[0] is None else bytes(row[0])

    def forget(self, question: bytes) -> None:
        """Forget an answer that cannot be used."""
        with explained(), self._pool.connection() as connection:
            connection.execute("DELETE FROM llm_answers WHERE question = %s AND answer IS NOT NULL", (question,))

    def quicken(self, answers: dict[bytes, bytes]) -> None:
        """Put answers into the cache before the table."""
        if self._quick is not None and answers:
            self._quick.put(answers)


def release(connection: psycopg.Connection[Any], owner: str) -> None:
    """Let others ask what ``owner`` has asked and has no answer to, within the caller's transaction."""
    connection.execute("DELETE FROM llm_answers WHERE owner = %s AND answer IS NULL", (owner,))


def remember(connection: psycopg.Connection[Any], told: Remembered) -> None:
    """Store an answer within the caller's transaction."""
    connection.execute(
        """
        INSERT INTO llm_answers AS a (question, prompt, model, answer, answered_at, expires_at)
        VALUES (%(question)s, %(prompt)s, %(model)s, %(answer)s, now(), now() + make_interval(secs => %(seconds)s))
        ON CONFLICT (question) DO UPDATE SET owner = NULL, lease_until = NULL, prompt = excluded.prompt,
            model = excluded.model, answer = excluded.answer, answered_at = excluded.answered_at,
            expires_at = excluded.expires_at
        """,
        {
            "question": told.question,
            "prompt": clean(told.prompt),
            "model": clean(told.model),
            "answer": told.answer,
            "seconds": told.seconds,
        },
    )
