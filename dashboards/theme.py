"""How the console looks: calm, dark and dense, with one colour a level."""

from __future__ import annotations

from state.alerts import Level

BACKGROUND, PANEL, LINE, TEXT, MUTED, ACCENT = "#0f141a", "#161d26", "#26303c", "#d6dee8", "#8393a5", "#5aa5e0"
#: One colour a level, the same in tiles, tables and details.
COLOURS = {
    Level.critical: "#f2555a",
    Level.high: "#f08c3a",
    Level.medium: "#dcb23f",
    Level.low: "#5aa5e0",
    Level.informational: "#8393a5",
}

# Streamlit colours plain text on an inner element.
_ANY_TEXT = ':is([data-testid="stText"], [data-testid="stText"] *)'

#: Rules that options cannot say: density, tiles, a colour a level. Holds constants only, never data.
STYLE = f"""<style>
[data-testid="stHeader"], [data-testid="stToolbar"], [data-testid="stDecoration"] {{ display: none; }}
[data-testid="stMainBlockContainer"] {{ padding: 1rem 1.5rem 1.5rem; max-width: none; }}
[data-testid="stVerticalBlock"] {{ gap: .55rem; }}
[data-testid="stMetric"] {{ background: {PANEL}; border: 1px solid {LINE}; border-radius: 4px; padding: .5rem .8rem; }}
[data-testid="stMetricLabel"] {{ color: {MUTED}; }}
[data-testid="stMetricLabel"] p {{ font-size: .8rem; }}
[data-testid="stMetricValue"] {{ font-variant-numeric: tabular-nums; font-weight: 600; line-height: 1.25; }}
[data-testid="stText"] {{ white-space: pre-wrap; overflow-wrap: anywhere; font-family: inherit; }}
[class*="st-key-title-"] {_ANY_TEXT} {{ font-size: .78rem; font-weight: 600; letter-spacing: .06em;
  text-transform: uppercase; color: {MUTED}; }}
.st-key-wordmark h1 {{ padding: 0; font-size: 1.25rem; font-weight: 700; letter-spacing: .01em; }}
.st-key-fresh {{ align-items: flex-end; }}
.st-key-fresh {_ANY_TEXT} {{ color: {MUTED}; font-variant-numeric: tabular-nums; }}
[class*="st-key-panel-"] {{ background: {PANEL}; border: 1px solid {LINE}; border-radius: 4px; padding: .7rem .9rem; }}
[class*="st-key-name-"] {_ANY_TEXT} {{ font-size: 1.15rem; font-weight: 600; }}
[class*="st-key-fact-"] {{ gap: .1rem; }}
[class*="st-key-label-"] {_ANY_TEXT} {{ font-size: .78rem; color: {MUTED}; }}
.st-key-reason [data-testid="stText"] {{ border-left: 3px solid {ACCENT}; padding-left: .7rem; }}
{
    "".join(
        f".st-key-tile-{level.name} [data-testid='stMetric'] {{ border-left: 3px solid {colour}; }} "
        f".st-key-tile-{level.name} [data-testid='stMetricValue'] {{ color: {colour}; }} "
        f"[class*='st-key-name-{level.name}'] {_ANY_TEXT} {{ color: {colour}; }} "
        for level, colour in COLOURS.items()
    )
}
</style>"""
