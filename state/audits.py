"""The audit sample: one in so many of the texts that were decided, as they were judged then, and what analysts say.

It is drawn by a seeded hash of the event's id, whatever was decided; so of all that the text judge decided it is an
unbiased part, which alerts are not. The flow writes what was judged, analysts what it truly was.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
import psycopg
from psycopg.rows import class_row

Truth = Literal["malicious", "benign"]


class Audited(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A text of the sample, with everything that decided it."""

    event_id: str
    host: str
    #: Event time, µs.
    time: int
    #: Source of the text (``http``, ``shell`` …), and the text itself, cut.
    source: str
    text: str
    #: The model's most probable label, its probability, and from which probability that label alerts.
    label: str
    malicious: float
    alerts_from: float
    #: What judged: version of the model, windows of a long text, and whether there was a screen before it.
    model: str
    windows: int
    screen: bool
    #: What was decided, and by which calibration; empty: by none.
    said: str
    calibration: str
    #: The sample is one in so many, and its seed.
    one_in: int
    seed: int


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """A text of the sample as an analyst sees it."""

    event_id: str
    host: str
    time: datetime
    source: str
    text: str
    label: str
    malicious: float
    said: str
    #: Empty: nobody has looked.
    truth: str
    author: str
    reason: str


class Sampled(msgspec.Struct, frozen=True):
    """A text of the sample as a calibration takes it in; ``truth`` is empty where nobody has looked."""

    source: str
    truth: str
    malicious: float
    alerts_from: float


_REVIEW = """
    SELECT a.event_id, a.host, a.time, a.source, a.text, a.label, a.malicious, a.said, coalesce(r.truth, '') AS truth,
        coalesce(r.author, '') AS author, coalesce(r.reason, '') AS reason
    FROM audits a LEFT JOIN audit_reviews r USING (event_id)
"""


def waiting(connection: psycopg.Connection[Any], *, all: bool = False, limit: int = 50) -> list[Review]:
    """Return texts of the sample, those that nobody has looked at, or all of them; the oldest first."""
    with connection.cursor(row_factory=class_row(Review)) as cursor:
        return cursor.execute(
            f"{_REVIEW} WHERE %s OR r.truth IS NULL ORDER BY a.time, a.event_id LIMIT %s", (all, limit)
        ).fetchall()


def review(connection: psycopg.Connection[Any], event_id: str, truth: Truth, author: str, reason: str) -> bool:
    """Set what a text of the sample truly was; return whether it is one."""
    return (
        connection.execute(
            "INSERT INTO audit_reviews (event_id, truth, author, reason) SELECT event_id, %s, %s, %s FROM audits "
            "WHERE event_id = %s ON CONFLICT (event_id) DO UPDATE SET truth = excluded.truth, "
            "author = excluded.author, reason = excluded.reason, updated_at = clock_timestamp()",
            (truth, author, reason, event_id),
        ).rowcount
        == 1
    )


def sample(
    connection: psycopg.Connection[Any], model: str, windows: int, screen: bool, one_in: int, seed: int
) -> tuple[list[Sampled], int]:
    """Return the sample of what one model judged in one way, drawn in one way, and how many others there are.

    Probabilities are those of then: another model, or another reading of long texts, says other things.
    """
    key = (model, windows, screen, one_in, seed)
    with connection.cursor(row_factory=class_row(Sampled)) as cursor:
        found = cursor.execute(
            "SELECT a.source, coalesce(r.truth, '') AS truth, a.malicious, a.alerts_from FROM audits a "
            "LEFT JOIN audit_reviews r USING (event_id) WHERE (a.model, a.windows, a.screen, a.one_in, a.seed) = "
            "(%s, %s, %s, %s, %s) ORDER BY a.time, a.event_id",
            key,
        ).fetchall()
    row = connection.execute("SELECT count(*) FROM audits").fetchone()
    assert row is not None
    return found, int(row[0]) - len(found)
