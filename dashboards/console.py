"""The console's first page: incidents, what was alerted and why, what is arriving, the hosts.

Run it by ``dashboards.server``.

It reads Postgres through ``dashboards.queries`` and nothing else, and writes nothing.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

import streamlit
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from dashboards import incidents, panels, queries, suppressions
from dashboards.rate import RateMeter
from dashboards.records import AlertDetail, AlertFilter, AlertRow, MetricPoint, Minute, Partition, Source, Totals
from dashboards.settings import DSN_VARIABLE
from dashboards.theme import STYLE
from state.alerts import Level
from state.postgres import DatabaseError, PostgresSettings, pool

#: Seconds between two readings.
REFRESH = 2.0
#: Seconds for which the charts, which cost more to read and change once a minute, are kept.
SLOW_REFRESH = 8.0
#: Alerts that the list shows.
LISTED = 100
#: Rows of the list that are in sight while an alert is open below it, and while none is.
OPEN_ROWS, CLOSED_ROWS = 9, 26
#: Around an alert's time: how much of its metric is shown.
BEFORE, AFTER = timedelta(minutes=60), timedelta(minutes=15)

LEVELS = {"All": Level.informational, "Medium and up": Level.medium, "High and up": Level.high}


@streamlit.cache_resource(show_spinner=False)
def database() -> ConnectionPool:
    """Return the process's one pool of read-only connections."""
    dsn = os.environ.get(DSN_VARIABLE)
    if not dsn:
        raise DatabaseError("no database is configured")
    settings = PostgresSettings(dsn=SecretStr(dsn), pool_size=4, connect_timeout=3.0, statement_timeout=15.0)
    return pool(settings, read_only=True)


@streamlit.cache_resource(show_spinner=False)
def meter() -> RateMeter:
    """Return the process's one meter of events a second, fed by all open pages."""
    return RateMeter()


@streamlit.cache_data(ttl=SLOW_REFRESH, max_entries=1, show_spinner=False)
def arriving(_connection: queries.Connection) -> tuple[list[Minute], list[Source], list[Partition]]:
    """Return what is arriving; read for all open pages together, since it goes through an hour of windows."""
    return queries.minutes(_connection), queries.sources(_connection), queries.partitions(_connection)


@streamlit.fragment(run_every=REFRESH)
def page() -> None:
    """Show everything as of one moment."""
    state = streamlit.session_state
    try:
        with queries.snapshot(database()) as connection:
            totals = queries.totals(connection)
            fresh = queries.freshness(connection)
            levels = queries.levels(connection)
            minutes, sources, partitions = arriving(connection)
            hosts = queries.hosts(connection)
            queue, hidden = queries.incidents(connection, limit=incidents.LISTED)
            if state.get("queue_pinned"):
                queue = queries.incidents_by_id(connection, state["queue_pinned"])
            opened = queries.incident(connection, state["incident"]) if state.get("incident") else None
            wanted = AlertFilter(level=LEVELS[state.get("level") or "All"], text=state.get("text") or "")
            newest = queries.alerts(connection, wanted, limit=LISTED).alerts
            # While one is open its list stands still, so that it does not slip from under the reader.
            listed = queries.alerts_by_id(connection, state["pinned"]) if state.get("pinned") else list(newest)
            detail = queries.alert(connection, state["selected"]) if state.get("selected") else None
            history = _history(connection, detail) if detail else []
            suppressed = queries.suppressions(connection, limit=suppressions.LISTED)
    except DatabaseError as error:
        _heading("the database is away")
        with streamlit.container(key="panel-away"):
            streamlit.error("The database cannot be read. This page tries again every few seconds.")
            streamlit.text(str(error)[:300])
        return

    _heading(_freshness(fresh, totals.read_at))
    panels.tiles(totals, levels, _rate(totals, minutes))
    if fresh is None:
        with streamlit.container(key="panel-empty"):
            panels.title("empty", "Nothing yet")
            streamlit.text("No event has been read. Once the flow runs, this page fills by itself within seconds.")
        return
    left, right = streamlit.columns([2, 1], gap="small")
    with left:
        incidents.queue(queue, hidden=hidden)
        if opened is not None:
            incidents.story(*opened)
        _alerts(listed, unseen=len({a.id for a in newest} - {a.id for a in listed}))
        if detail is not None:
            panels.why(detail, history)
        elif listed:
            with streamlit.container(key="panel-hint"):
                streamlit.text("Select an alert to see why it was raised.")
        suppressions.listed(suppressed)
    with right:
        panels.arriving(minutes, sources, partitions)
        panels.hosts(hosts)


def _heading(fresh: str) -> None:
    left, right = streamlit.columns([1, 2])
    with left, streamlit.container(key="wordmark"):
        streamlit.title("Winnow", anchor=False)
    with right, streamlit.container(key="fresh"):
        streamlit.text(fresh)


def _freshness(fresh: datetime | None, now: datetime) -> str:
    clock = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if fresh is None:
        return f"waiting for the flow · {clock}"
    seconds = max(0, round((now - fresh).total_seconds()))
    ago = f"{seconds} s" if seconds < 120 else f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
    return f"{'written' if seconds < 60 else 'nothing written since'} {ago} ago · {clock}"


def _rate(totals: Totals, minutes: list[Minute]) -> float | None:
    if totals.updated_at is None:
        return None
    meter().add(totals.consumed, totals.updated_at)
    rate = meter().per_second(totals.read_at)
    if rate is None and minutes:
        return minutes[-1].events / queries.MINUTE
    return rate


def _alerts(listed: list[AlertRow], *, unseen: int) -> None:
    state = streamlit.session_state
    with streamlit.container(key="panel-alerts"):
        heading, newer, levels, text = streamlit.columns([3, 3, 5, 5], vertical_alignment="center")
        with heading:
            panels.title("alerts", "Alerts, newest first")
        with newer:
            if unseen and state.get("pinned"):
                streamlit.button(f"{unseen} newer, show them", key="newer", on_click=_unpin, type="tertiary")
        with levels:
            streamlit.segmented_control(
                "Level", list(LEVELS), default="All", key="level", label_visibility="collapsed", on_change=_unpin
            )
        with text:
            streamlit.text_input(
                "Search", key="text", placeholder="Name, host or reason", label_visibility="collapsed", on_change=_unpin
            )
        if not listed:
            streamlit.text("No alert matches." if state.get("text") or state.get("level") != "All" else "No alerts.")
            return
        state["shown"] = [alert.id for alert in listed]
        streamlit.dataframe(
            panels.alert_frame(listed),
            hide_index=True,
            column_config=panels.alert_columns(),
            height=panels.height(OPEN_ROWS if state.get("selected") else CLOSED_ROWS),
            row_height=panels.ROW,
            key=_table_key(),
            on_select=_select,
            selection_mode="single-row",
        )


def _table_key() -> str:
    # A new key is a new table without a selection.
    return f"alerts-{streamlit.session_state.get('generation', 0)}"


def _select() -> None:
    state = streamlit.session_state
    rows = state[_table_key()].selection.rows
    shown = state.get("shown", [])
    if rows and rows[0] < len(shown):
        state["pinned"], state["selected"] = shown, shown[rows[0]]
    else:
        state["pinned"] = state["selected"] = None


def _unpin() -> None:
    state = streamlit.session_state
    state["pinned"] = state["selected"] = None
    state["generation"] = state.get("generation", 0) + 1


def _history(connection: queries.Connection, detail: AlertDetail) -> list[MetricPoint]:
    alert = detail.alert
    if alert.kind in ("rule", "correlation"):
        return []
    name = alert.rule.partition(":")[0]
    since, until = alert.first_seen - BEFORE, alert.last_seen + AFTER
    return queries.metric(connection, alert.entity, name, since=since, until=until)


streamlit.set_page_config(page_title="Winnow", layout="wide", initial_sidebar_state="collapsed")
streamlit.html(STYLE)
page()
