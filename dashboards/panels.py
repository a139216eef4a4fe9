"""The console's panels. All that comes from events is hostile: it goes only where Streamlit takes plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import altair
import pandas  # type: ignore[import-untyped]
import streamlit

from dashboards import theme
from dashboards.plain import count, pretty, visible
from dashboards.queries import EVENTS_METRIC
from dashboards.records import AlertDetail, AlertRow, HostRow, MetricPoint, Minute, Partition, Source, Totals
from state.alerts import Level

#: Copies of events that a page shows of one alert.
SHOWN_EVIDENCE = 8
#: Facts of an alert that stand side by side.
FACTS = 5
#: Metrics that the list of hosts shows.
MAX_METRICS = 12


def tiles(totals: Totals, levels: Mapping[Level, int], rate: float | None) -> None:
    """Show the figures of the header."""
    figures = [
        ("rate", "Events a second", "–" if rate is None else count(rate)),
        ("events", "Events", count(totals.events)),
        ("hosts", "Hosts", count(totals.hosts)),
        *((level.name, f"{level.name.capitalize()} alerts", count(levels[level])) for level in reversed(Level)),
        ("rejected", "Rejected", count(totals.rejected)),
        ("late", "Late", count(totals.late)),
    ]
    for column, (key, label, value) in zip(streamlit.columns(len(figures), gap="small"), figures, strict=True):
        with column, streamlit.container(key=f"tile-{key}"):
            streamlit.metric(label, value)


def title(key: str, text: str) -> None:
    """Show a panel's title; ``text`` is ours."""
    with streamlit.container(key=f"title-{key}"):
        streamlit.text(text)


def arriving(minutes: Sequence[Minute], sources: Sequence[Source], partitions: Sequence[Partition]) -> None:
    """Show what is arriving: events a minute, by source type, and by partition."""
    with streamlit.container(key="panel-arriving"):
        title("arriving", "Arriving, events a minute")
        if minutes:
            data = pandas.DataFrame({"start": [m.start for m in minutes], "events": [m.events for m in minutes]})
            _chart(altair.Chart(data).mark_area(**_AREA).encode(_time(), _amount("events")), 130)
        else:
            streamlit.text("The first minute of events has not closed yet.")
        title("sources", "By source type, last 24 hours")
        whole = sum(source.events for source in sources) or 1
        _table(
            {
                "Source type": [visible(source.name) for source in sources],
                "Events": [source.events for source in sources],
                "Share": [100 * source.events / whole for source in sources],
            },
            {
                "Events": streamlit.column_config.NumberColumn(format="localized"),
                "Share": streamlit.column_config.ProgressColumn(format="%.1f %%", min_value=0.0, max_value=100.0),
            },
            key="sources",
            rows=8,
        )
        with streamlit.expander("Partitions"):
            _table(
                {
                    "Topic": [visible(p.topic) for p in partitions],
                    "Partition": [p.partition for p in partitions],
                    "Read": [p.consumed for p in partitions],
                    "Rejected": [p.rejected for p in partitions],
                    "Late": [p.late for p in partitions],
                    "Written": [p.updated_at for p in partitions],
                },
                {"Written": _clock()},
                key="partitions",
                rows=8,
            )


def alert_frame(alerts: Sequence[AlertRow]) -> pandas.io.formats.style.Styler:
    """Return the table of alerts, its levels in their colours."""
    frame = pandas.DataFrame(
        {
            "Level": [alert.level.name for alert in alerts],
            "Alert": [visible(alert.name) for alert in alerts],
            "Host": [visible(alert.entity) for alert in alerts],
            "Signals": [alert.count for alert in alerts],
            "Last": [alert.last_seen for alert in alerts],
            "First": [alert.first_seen for alert in alerts],
            "ATT&CK": [visible(" ".join(alert.techniques)) for alert in alerts],
            "Why": [visible(alert.reason) for alert in alerts],
        }
    )
    return frame.style.map(lambda name: f"color: {theme.COLOURS[Level[name]]}; font-weight: 600", subset=["Level"])


def alert_columns() -> dict[str, Any]:
    """Return how the columns of the table of alerts look."""
    return {
        "Level": streamlit.column_config.TextColumn(width=90),
        "Alert": streamlit.column_config.TextColumn(width=262),
        "Host": streamlit.column_config.TextColumn(width=80),
        "Signals": streamlit.column_config.NumberColumn(width=58, format="localized"),
        "Last": _clock(),
        "First": _clock(),
        "ATT&CK": streamlit.column_config.TextColumn(width=122),
        "Why": streamlit.column_config.TextColumn(width=420),
    }


def why(detail: AlertDetail, history: Sequence[MetricPoint]) -> None:
    """Show one alert and all that explains it."""
    alert = detail.alert
    with streamlit.container(key="panel-why"):
        title("why", "Why")
        with streamlit.container(key=f"name-{alert.level.name}"):
            streamlit.text(f"{alert.level.name.upper()}  {visible(alert.name)}")
        with streamlit.container(key="reason"):
            streamlit.text(visible(alert.reason))
        facts = {
            "Host": alert.entity,
            "Signals": f"{alert.count:,}",
            "First seen": _moment(alert.first_seen),
            "Last seen": _moment(alert.last_seen),
            "Techniques": " ".join(alert.techniques) or "–",
            "Tactics": " ".join(alert.tactics) or "–",
            "Raised by": alert.kind,
            "Rule": alert.rule,
            "Status": alert.status,
            "Decided by": ", ".join(f"{name} {version}" for name, version in sorted(detail.versions.items())) or "–",
        }
        _facts(facts)
        if history:
            _history(detail, history)
        _evidence(detail)


def hosts(rows: Sequence[HostRow]) -> None:
    """Show the list of hosts."""
    with streamlit.container(key="panel-hosts"):
        title("hosts", f"Hosts, {len(rows)} shown, open alerts first")
        names = sorted({name for row in rows for name in row.metrics} - {EVENTS_METRIC})[:MAX_METRICS]
        frame: dict[str, list[object]] = {
            "Host": [visible(row.host) for row in rows],
            "Worst": ["" if row.worst is None else row.worst.name for row in rows],
            "Open": [row.open_alerts for row in rows],
            "Events": [row.events for row in rows],
            "Minute": [row.metrics.get(EVENTS_METRIC) for row in rows],
            "Score": [row.score for row in rows],
            "Last seen": [row.last_seen for row in rows],
            "New until": [row.warming_until for row in rows],
            **{visible(name): [row.metrics.get(name) for row in rows] for name in names},
        }
        number = streamlit.column_config.NumberColumn
        _table(
            frame,
            {
                **{visible(name): number(format="localized") for name in names},
                "Open": number(width=48, help="Alerts that nobody closed"),
                "Events": number(width=80, format="localized", help="Since the flow first saw the host"),
                "Minute": number(width=60, format="localized", help="Events in its newest minute"),
                "Score": number(width=50, format="%.2f", help="Highest anomaly score in that minute"),
                "Last seen": _clock(),
                "New until": _clock("Its metrics tell no anomaly before; rules and limits are as for any host"),
                "Host": streamlit.column_config.TextColumn(width=76, pinned=True),
                "Worst": streamlit.column_config.TextColumn(width=82),
            },
            key="hosts",
            rows=12,
            coloured="Worst",
        )


def _facts(facts: Mapping[str, str]) -> None:
    items = list(facts.items())
    for first in range(0, len(items), FACTS):
        columns = streamlit.columns(FACTS, gap="small")
        for column, (name, value) in zip(columns, items[first : first + FACTS], strict=False):
            key = name.lower().replace(" ", "-")
            with column, streamlit.container(key=f"fact-{key}"):
                with streamlit.container(key=f"label-{key}"):
                    streamlit.text(name)
                streamlit.text(visible(value))


def _history(detail: AlertDetail, history: Sequence[MetricPoint]) -> None:
    colour = theme.COLOURS[detail.alert.level]
    data = pandas.DataFrame({"start": [p.start for p in history], "value": [p.value for p in history]})
    span = pandas.DataFrame(
        {"start": [detail.alert.first_seen], "end": [detail.alert.last_seen + timedelta(minutes=1)]}
    )
    line = altair.Chart(data).mark_line(color=theme.ACCENT, strokeWidth=1.5).encode(_time(), _amount("value"))
    shade = altair.Chart(span).mark_rect(color=colour, opacity=0.18).encode(x="start:T", x2="end:T")
    title("history", "The metric on this host, by minute")
    _chart(altair.layer(shade, line), 120)


def _evidence(detail: AlertDetail) -> None:
    cited = len(detail.evidence_ids)
    if not detail.evidence:
        if cited:
            streamlit.text("The copies of its events are gone; they can still be read from Kafka by these ids.")
            streamlit.text(visible(", ".join(detail.evidence_ids)))
        else:
            streamlit.text("Raised by a metric, not by single events.")
        return
    title("evidence", f"Evidence, {len(detail.evidence)} of {max(cited, len(detail.evidence))} events")
    shown = detail.evidence[:SHOWN_EVIDENCE]
    labels = [f"{number} · {copy.time:%H:%M:%S}" for number, copy in enumerate(shown, 1)]
    for tab, copy in zip(streamlit.tabs(labels), shown, strict=True):
        with tab:
            streamlit.text(visible(copy.event_id))
            streamlit.code(pretty(copy.raw), language=None, wrap_lines=True, height=260)


_PADDING = {"left": 0, "right": 6, "top": 4, "bottom": 0}
_AREA: dict[str, Any] = {"line": {"color": theme.ACCENT, "strokeWidth": 1.5}, "color": theme.ACCENT, "opacity": 0.22}


def _time() -> altair.X:
    axis = altair.Axis(format="%H:%M", title=None, grid=False, labelColor=theme.MUTED, tickCount=6)
    return altair.X("start:T", axis=axis, scale=altair.Scale(type="utc"))


def _amount(field: str) -> altair.Y:
    axis = altair.Axis(format="~s", title=None, gridColor=theme.LINE, labelColor=theme.MUTED, tickCount=4)
    return altair.Y(f"{field}:Q", axis=axis, scale=altair.Scale(zero=True))


def _chart(chart: altair.Chart | altair.LayerChart | altair.FacetChart, height: int) -> None:
    streamlit.altair_chart(chart.properties(height=height, background=theme.PANEL, padding=_PADDING), width="stretch")


def _table(
    data: Mapping[str, Sequence[object]],
    columns: Mapping[str, Any],
    *,
    key: str,
    rows: int,
    coloured: str = "",
) -> None:
    frame: object = pandas.DataFrame(dict(data))
    if coloured:
        colours = {level.name: colour for level, colour in theme.COLOURS.items()}
        frame = pandas.DataFrame(dict(data)).style.map(
            lambda name: f"color: {colours.get(name, theme.MUTED)}", subset=[coloured]
        )
    length = max((len(values) for values in data.values()), default=0)
    streamlit.dataframe(
        frame,
        hide_index=True,
        column_config=dict(columns),
        height=height(min(max(length, 1), rows)),
        row_height=ROW,
        key=key,
        placeholder="–",
    )


#: Height of a table's row, pixels.
ROW = 27


def height(rows: int) -> int:
    """Return the height of a table of so many rows, pixels."""
    return (rows + 1) * ROW + 11


def _clock(said: str | None = None) -> Any:
    return streamlit.column_config.DatetimeColumn(format="MM-DD HH:mm", timezone="UTC", width=88, help=said)


def _moment(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
