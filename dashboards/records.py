"""What the queries return: frozen records for the console and the API. Times are aware datetimes, UTC."""

from __future__ import annotations

from datetime import datetime

import msgspec

from state.alerts import Level


class Totals(msgspec.Struct, frozen=True):
    """What became of all that was read, from the ledger."""

    #: Messages read: events, rejected ones and skipped header lines.
    consumed: int
    events: int
    rejected: int
    late: int
    future: int
    rule: int
    bert: int
    llm: int
    hosts: int
    #: When the flow last wrote to the ledger; none if it never did.
    updated_at: datetime | None
    #: The database's clock when this was read.
    read_at: datetime


class Lanes(msgspec.Struct, frozen=True):
    """How the router decides, and where the LLM lane stands."""

    #: Version of the calibration that texts were last settled by; ``uncalibrated``, or empty if none was judged.
    calibration: str
    #: Escalations that wait for an answer, that have one, and that were refused one.
    waiting: int
    answered: int
    refused: int


class Source(msgspec.Struct, frozen=True):
    """Events of one source type."""

    name: str
    events: int


class Minute(msgspec.Struct, frozen=True):
    """Events of all hosts in one minute of event time."""

    start: datetime
    events: float


class Partition(msgspec.Struct, frozen=True):
    """What was read of one partition."""

    topic: str
    partition: int
    consumed: int
    rejected: int
    late: int
    updated_at: datetime


class AlertRow(msgspec.Struct, frozen=True):
    """An alert as a list shows it, with its status from the analysts' table."""

    id: str
    kind: str
    rule: str
    name: str
    level: Level
    entity: str
    first_seen: datetime
    last_seen: datetime
    count: int
    reason: str
    techniques: tuple[str, ...]
    tactics: tuple[str, ...]
    #: ``open`` until an analyst says otherwise.
    status: str


class AlertFilter(msgspec.Struct, frozen=True):
    """Which alerts are wanted; what is empty does not restrict."""

    level: Level = Level.informational
    entity: str = ""
    kind: str = ""
    technique: str = ""
    status: str = ""
    since: datetime | None = None
    #: Part of name, entity, rule or reason, in any case.
    text: str = ""


class Cursor(msgspec.Struct, frozen=True):
    """Where a page of alerts ended: the next begins after it."""

    last_seen: datetime
    id: str


class AlertPage(msgspec.Struct, frozen=True):
    """Some alerts, newest first, and where to go on; no cursor after the last."""

    alerts: tuple[AlertRow, ...]
    next: Cursor | None


class EvidenceRow(msgspec.Struct, frozen=True):
    """A copied event. ``raw`` is hostile: show it as text, never as markup."""

    event_id: str
    time: datetime
    raw: bytes


class AlertDetail(msgspec.Struct, frozen=True):
    """One alert with all that explains it."""

    alert: AlertRow
    #: Ids of the events that it cites; of some the copy may be missing.
    evidence_ids: tuple[str, ...]
    evidence: tuple[EvidenceRow, ...]
    versions: dict[str, str]
    updated_at: datetime


class MetricPoint(msgspec.Struct, frozen=True):
    """A metric's value in one window, and its anomaly score; -1 while the scorer warms up."""

    start: datetime
    value: float
    score: float


class HostRow(msgspec.Struct, frozen=True):
    """A host with its totals, its open alerts and the metrics of its newest window."""

    host: str
    events: int
    first_seen: datetime
    last_seen: datetime
    #: Until when the host is new, and its metrics tell no anomaly; none once it is judged.
    warming_until: datetime | None
    alerts: int
    #: Alerts that no analyst closed, and the highest level among them.
    open_alerts: int
    worst: Level | None
    window: datetime | None
    metrics: dict[str, float]
    #: Highest anomaly score in that window; none while scorers warm up.
    score: float | None
