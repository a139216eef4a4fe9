"""The console's queue of incidents, and one of them: where, when along the tactics, why, and what analysts said."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit

from dashboards import panels
from dashboards.plain import visible
from dashboards.records import AlertRow
from state.alerts import Level
from state.reviews import QueuedIncident
from state.summaries import Summary, told

#: Incidents that the queue shows.
LISTED = 50
#: Rows in sight at most.
ROWS = 8
_KEY = "incidents"


def queue(listed: Sequence[QueuedIncident], *, hidden: int) -> None:
    """Show the queue; selecting a row puts its id into the session's ``incident``, the list into ``queue``."""
    state = streamlit.session_state
    with streamlit.container(key="panel-incidents"):
        panels.title("incidents", "Incidents, the most severe first")
        if not listed:
            streamlit.text("No incident is open. Alerts that weigh little on their own are in the list below.")
            return
        state["queue_shown"] = [incident.id for incident in listed]
        streamlit.dataframe(
            panels.coloured(
                {
                    "Severity": [Level(incident.severity).name for incident in listed],
                    "Incident": [visible(incident.title) for incident in listed],
                    "State": [incident.status for incident in listed],
                    "Score": [incident.score for incident in listed],
                    "Alerts": [incident.alert_count for incident in listed],
                    "Last": [incident.last_seen for incident in listed],
                    "First": [incident.first_seen for incident in listed],
                    "Tactics": [visible(" → ".join(incident.tactics)) for incident in listed],
                    "Where": [visible(", ".join(incident.entities)) for incident in listed],
                },
                "Severity",
            ),
            hide_index=True,
            column_config={
                "Severity": streamlit.column_config.TextColumn(width=80),
                "Incident": streamlit.column_config.TextColumn(width=330),
                "State": streamlit.column_config.TextColumn(width=90, help="over: takes in no more, nobody looked"),
                "Score": streamlit.column_config.NumberColumn(width=54, format="%.1f", help="The highest risk it had"),
                "Alerts": streamlit.column_config.NumberColumn(width=56, format="localized"),
                "Last": panels.clock(),
                "First": panels.clock(),
                "Tactics": streamlit.column_config.TextColumn(width=240),
                "Where": streamlit.column_config.TextColumn(width=260),
            },
            height=panels.height(min(len(listed), ROWS)),
            row_height=panels.ROW,
            key=_KEY,
            on_select=_select,
            selection_mode="single-row",
        )
        if hidden:
            streamlit.text(f"and {hidden:,} more: winnow incidents list")


def story(incident: QueuedIncident, alerts: Sequence[AlertRow], summary: Summary | None = None) -> None:
    """Show one incident: its explanation, a model's summary, its alerts in order of time, and its review."""
    level = Level(incident.severity)
    with streamlit.container(key="panel-incident"):
        panels.title("incident", "Incident")
        with streamlit.container(key=f"name-{level.name}-incident"):
            streamlit.text(f"{level.name.upper()}  {visible(incident.title)}")
        with streamlit.container(key="explanation"):
            streamlit.text(visible(incident.explanation, lines=True))
        if summary is not None:
            with streamlit.container(key="summary"):
                streamlit.text(visible("\n".join(told(summary)), lines=True))
        facts = {
            "Id": incident.id,
            "State": incident.status,
            "First seen": panels.moment(incident.first_seen),
            "Last seen": panels.moment(incident.last_seen),
            "Medium since": panels.moment(incident.opened) if incident.opened else "–",
            "Techniques": " ".join(incident.techniques) or "–",
            "Reviewed by": incident.author or "nobody yet",
        }
        if incident.author:
            facts["Review"] = f"{incident.verdict or incident.status}: {incident.reason}"
        panels.facts(facts, "incident")
        panels.title("timeline", f"Timeline, {len(alerts)} alerts")
        panels.table(
            {
                "First": [alert.first_seen for alert in alerts],
                "Level": [alert.level.name for alert in alerts],
                "Tactics": [visible(" ".join(alert.tactics)) for alert in alerts],
                "Host": [visible(alert.entity) for alert in alerts],
                "Alert": [visible(alert.name) for alert in alerts],
                "Signals": [alert.count for alert in alerts],
                "ATT&CK": [visible(" ".join(alert.techniques)) for alert in alerts],
                "Why": [visible(alert.reason) for alert in alerts],
            },
            {
                "First": panels.clock(),
                "Level": streamlit.column_config.TextColumn(width=82),
                "Alert": streamlit.column_config.TextColumn(width=250),
                "Why": streamlit.column_config.TextColumn(width=420),
            },
            key="timeline",
            rows=10,
            level="Level",
        )
        with streamlit.container(key="say"):
            streamlit.text(f"Say what it is: winnow incidents ack|close|reopen {incident.id} --reason …")


def _select() -> None:
    state = streamlit.session_state
    rows = state[_KEY].selection.rows
    shown = state.get("queue_shown", [])
    if rows and rows[0] < len(shown):
        state["queue_pinned"], state["incident"] = shown, shown[rows[0]]
    else:
        state["queue_pinned"] = state["incident"] = None
