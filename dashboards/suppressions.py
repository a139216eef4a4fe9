"""The console's list of what is not wanted as an alert, and how much of it there was."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit

from dashboards import panels
from dashboards.plain import visible
from state.suppressions import KeptSuppression

#: Suppressions that the list shows, and rows in sight.
LISTED, ROWS = 50, 6


def listed(rows: Sequence[KeptSuppression]) -> None:
    """Show the suppressions in force; nothing if there are none."""
    if not rows:
        return
    with streamlit.container(key="panel-suppressions"):
        panels.title("suppressions", "Suppressed: no alerts of these")
        panels.table(
            {
                "Rule": [visible(row.rule or "any") for row in rows],
                "On": [visible(row.entity or "any") for row in rows],
                "Where": [visible(", ".join(f"{name}={value}" for name, value in row.fields.items())) for row in rows],
                "Held back": [row.count for row in rows],
                "Last": [row.last_seen for row in rows],
                "Until": [row.until_time for row in rows],
                "State": [row.status for row in rows],
                "By": [visible(row.author or "") for row in rows],
                "Why": [visible(row.reason or "") for row in rows],
                "Id": [row.id for row in rows],
            },
            {
                "Rule": streamlit.column_config.TextColumn(width=220),
                "Held back": streamlit.column_config.NumberColumn(
                    width=76, format="localized", help="Signals that made no alert"
                ),
                "Last": panels.clock(),
                "Until": panels.clock("Event time; empty: until it is removed"),
                "State": streamlit.column_config.TextColumn(
                    width=76, help="unsure: Kafka did not confirm it; unknown: told by another than winnow suppress"
                ),
                "Why": streamlit.column_config.TextColumn(width=300),
            },
            key="suppressions",
            rows=ROWS,
        )
