"""What analysts said before of incidents with the same rule, or the same event: a hint for who judges the next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec
from psycopg_pool import ConnectionPool

from state.escalations import Escalation
from state.postgres import explained

#: Reviews that are looked at, the newest ones; and those that one question gets.
NEWEST, MOST = 500, 3
#: Kinds of alerts whose rule tells nothing of what happened.
_VAGUE = ("llm",)

_RANKED = """
    WITH said AS (
        SELECT incident_id, verdict, severity, reason, updated_at FROM incident_reviews WHERE verdict <> ''
        ORDER BY updated_at DESC, incident_id LIMIT {newest}
    ), found AS ({found})
    SELECT key, verdict, severity, reason FROM (
        SELECT f.key, s.*, row_number() OVER (PARTITION BY f.key ORDER BY s.updated_at DESC, s.incident_id) AS place
        FROM said s JOIN found f USING (incident_id)
    ) ranked WHERE place <= {most} ORDER BY key, place
"""
_BY_RULE = _RANKED.format(
    newest=NEWEST,
    most=MOST,
    found="SELECT DISTINCT s.incident_id, ARRAY[a.kind, a.rule] AS key FROM said s "
    "JOIN incident_alerts p USING (incident_id) JOIN alerts a ON a.id = p.alert_id WHERE NOT a.kind = ANY(%(vague)s)",
)
_BY_EVENT = _RANKED.format(
    newest=NEWEST,
    most=MOST,
    found="SELECT DISTINCT s.incident_id, e.subject AS key FROM said s JOIN incident_alerts p USING (incident_id) "
    "JOIN evidence v USING (alert_id) JOIN escalations e USING (event_id) WHERE e.subject IS NOT NULL",
)


KeyOf = TypeVar("KeyOf", bound=Any)


class Precedent(msgspec.Struct, frozen=True):
    """What an analyst said of an incident."""

    #: ``true_positive``, ``false_positive`` or ``benign``.
    verdict: str
    #: How severe the incident was then.
    severity: int
    #: In the analyst's words.
    reason: str


class Precedents:
    """What was said, as it was ``seconds`` ago at most: reviews are few, and read whole when there is a new one.

    Args:
        pool: of ``state.postgres.pool``.
        seconds: how often is looked whether there is a new one.
        again: after how long all is read again, since incidents grow after they were reviewed, seconds.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        seconds: float = 2.0,
        again: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool, self._seconds, self._again, self._clock = pool, seconds, again, clock
        self._lock = threading.Lock()
        self._looked = self._read = float("-inf")
        self._newest: object = None
        self._rules: dict[tuple[str, str], list[Precedent]] = {}
        self._subjects: dict[bytes, list[Precedent]] = {}

    def of(self, escalation: Escalation, subject: bytes, look: bool = True) -> tuple[Precedent, ...]:
        """Return what was said of the like of an escalation, three at most: of the same event, then of its rules.

        Args:
            escalation: what is to be judged.
            subject: its event as questions tell it from others.
            look: whether the database may be asked whether there is something new; raises ``DatabaseError`` then.
        """
        if look:
            self._look()
        found: dict[Precedent, None] = dict.fromkeys(self._subjects.get(subject, ()))
        for key in dict.fromkeys((signal.kind, signal.rule) for signal in escalation.raised):
            found.update(dict.fromkeys(self._rules.get(key, ())))
        return tuple(found)[:MOST]

    def _look(self) -> None:
        with self._lock:
            now = self._clock()
            if now < self._looked + self._seconds:
                return
            with explained(), self._pool.connection() as connection:
                # Written again is updated again; a verdict that was taken back is one the fewer.
                newest = connection.execute(
                    "SELECT count(*) FILTER (WHERE verdict <> ''), max(updated_at) FROM incident_reviews"
                ).fetchone()
                if newest != self._newest or now >= self._read + self._again:
                    rules = connection.execute(_BY_RULE, {"vague": list(_VAGUE)}).fetchall()
                    subjects = connection.execute(_BY_EVENT).fetchall()
                    self._rules = _grouped((tuple(key), Precedent(*said)) for key, *said in rules)
                    self._subjects = _grouped((bytes(key), Precedent(*said)) for key, *said in subjects)
                    self._newest, self._read = newest, now
            self._looked = now


def _grouped(rows: Iterable[tuple[KeyOf, Precedent]]) -> dict[KeyOf, list[Precedent]]:
    found: dict[KeyOf, list[Precedent]] = {}
    for key, precedent in rows:
        found.setdefault(key, []).append(precedent)
    return found
