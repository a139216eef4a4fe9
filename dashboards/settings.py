"""How Streamlit is told to behave: no telemetry, no watcher, no developer's menu, our colours."""

from __future__ import annotations

from dashboards.theme import ACCENT, BACKGROUND, LINE, PANEL, TEXT

#: Environment variable that tells the page its database; never an argument, which every user of the machine can read.
DSN_VARIABLE = "WINNOW_CONSOLE_DSN"

#: Options of ``streamlit run``.
OPTIONS = {
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.runOnSave": "false",
    "server.showEmailPrompt": "false",
    "server.maxUploadSize": "1",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "viewer",
    "client.showErrorDetails": "none",
    "client.showErrorLinks": "false",
    "runner.magicEnabled": "false",
    "logger.level": "warning",
    "theme.base": "dark",
    "theme.primaryColor": ACCENT,
    "theme.backgroundColor": BACKGROUND,
    "theme.secondaryBackgroundColor": PANEL,
    "theme.textColor": TEXT,
    "theme.borderColor": LINE,
    "theme.dataframeBorderColor": LINE,
    "theme.dataframeHeaderBackgroundColor": PANEL,
    "theme.codeBackgroundColor": "#0b1016",
    "theme.baseRadius": "4px",
    "theme.baseFontSize": "14",
    "theme.codeFontSize": "12px",
    "theme.metricValueFontSize": "1.5rem",
}
