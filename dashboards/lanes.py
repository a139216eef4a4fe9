"""The console's panel of who decides: rules, text model, LLM; and whether what settles texts is calibrated."""

from __future__ import annotations

import streamlit

from dashboards import panels
from dashboards.plain import count, visible
from dashboards.records import Lanes, Totals

UNCALIBRATED = "uncalibrated"


def decided(totals: Totals, lanes: Lanes) -> None:
    """Show how many events each lane decided, and what is behind the last two."""
    with streamlit.container(key="panel-lanes"):
        panels.title("lanes", "Decided by")
        whole = totals.rule + totals.bert + totals.llm or 1
        figures = {"Rules": totals.rule, "Text model": totals.bert, "LLM": totals.llm}
        panels.table(
            {
                "Lane": list(figures),
                "Events": list(figures.values()),
                "Share": [100 * events / whole for events in figures.values()],
            },
            {
                "Events": streamlit.column_config.NumberColumn(format="localized"),
                "Share": streamlit.column_config.ProgressColumn(format="%.2f %%", min_value=0.0, max_value=100.0),
            },
            key="lanes",
            rows=3,
        )
        if lanes.calibration == UNCALIBRATED:
            streamlit.text("Texts: uncalibrated. Nothing is promised of what is missed; see winnow calibrate.")
        elif lanes.calibration:
            streamlit.text(f"Texts: calibration {visible(lanes.calibration)}")
        if lanes.waiting or lanes.answered or lanes.refused:
            streamlit.text(
                f"LLM: {count(lanes.answered)} answered, {count(lanes.refused)} refused, {count(lanes.waiting)} waiting"
            )
