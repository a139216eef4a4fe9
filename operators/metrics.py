"""What Prometheus is told. Names end in their unit, counters in ``_total``; healthy running is counted, not logged."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

EVENTS = Counter("winnow_events", "Events decoded.", ["format"])
BYTES = Counter("winnow_received_bytes", "Bytes of messages read.")
REJECTED = Counter("winnow_rejected", "Messages that are no event.", ["format", "reason"])
LATE = Counter("winnow_late_events", "Events left out of windows: late, or too far ahead of the clock.", ["why"])
CONTROL = Counter("winnow_control_messages", "Messages of the control topic, by kind.", ["kind"])
DECIDED = Counter("winnow_decided", "Events decided, by lane.", ["lane"])
ESCALATIONS = Counter(
    "winnow_escalations",
    "Events that an LLM is to be asked about (asked yes), or would have been if there were one (no).",
    ["asked"],
)
LLM_VERDICTS = Counter(
    "winnow_llm_verdicts",
    "Verdicts of the LLM that were taken in: malicious, suspicious, benign, refused.",
    ["verdict"],
)
SHED = Gauge(
    "winnow_shed_level",
    "What this worker sheds because the flow is behind: 0 nothing, 1 the LLM and most texts, 2 all texts.",
)
SHED_TEXTS = Counter("winnow_shed_texts", "Texts that were left to the rules because the flow was behind.")
DRIFT = Gauge(
    "winnow_router_drift",
    "Shares that are no longer what they were when this worker began: of verdicts (mix), of probabilities (certainty), "
    "of events that the next judge sees otherwise (agreement). Above 0: calibrate anew.",
    ["kind"],
)
AUDITS = Counter("winnow_audits", "Decided events that the next judge was asked about too.", ["said", "agrees"])
UNUSUAL = Counter(
    "winnow_unusual_windows",
    "Windows of hosts in which something was unusual, by what became of them: alarm or added (alerted), muted, quiet, "
    "shift (many hosts at once), spent (the budget had no room), warming (the host is new).",
    ["status"],
)
MATCHES = Counter("winnow_rule_matches", "Matches of Sigma rules, by level.", ["level"])
RULES = Gauge("winnow_rules", "Rules of each version that judges some partition of this worker.", ["version"])
RULES_SWAPS = Counter("winnow_rules_swaps", "Partitions that took another version of the rules into force.")
RULES_SWAP_SECONDS = Gauge("winnow_rules_swap_seconds", "How long the last such change held up its partition.")
RULES_FAILED = Counter("winnow_rules_load_failures", "Versions of the rules that could not be loaded, and tries.")
TEXTS = Counter(
    "winnow_texts",
    "Texts of events judged, by what answered: raw or canonical (remembered), shared (Redis), screen, encoder; nothing "
    "(only what is removed), refused.",
    ["by"],
)
TEXT_ALERTS = Counter("winnow_text_verdicts", "Texts judged malicious beyond the threshold, by label.", ["label"])
MODEL_SWAPS = Counter("winnow_model_swaps", "Partitions that took another version of the text model into force.")
MODELS_FAILED = Counter("winnow_model_load_failures", "Versions of the text model that could not be loaded, and tries.")
CALIBRATION_SWAPS = Counter(
    "winnow_calibration_swaps", "Partitions that took another calibration of the text model into force."
)
CALIBRATIONS_FAILED = Counter(
    "winnow_calibration_load_failures", "Versions of the calibration that could not be loaded, and tries."
)
TEXT_SECONDS = Counter("winnow_text_seconds", "Time spent on judging texts.")
ALERTS = Counter(
    "winnow_alerts", "Alerts raised, by kind and level; repeats of one are not counted.", ["kind", "level"]
)
SUPPRESSED = Counter(
    "winnow_suppressed_signals", "Signals that a suppression kept from becoming alerts, by kind.", ["kind"]
)
INCIDENTS = Counter(
    "winnow_incident_changes",
    "Changes of incidents, by what changed (new, severity, merged, closed, grew) and their severity.",
    ["change", "severity"],
)
NOTIFICATIONS = Counter(
    "winnow_notifications",
    "Messages of incidents, by why they are sent (new, changed, repeat, merged, closed).",
    ["reason"],
)
OPEN_INCIDENTS = Gauge("winnow_open_incidents", "Incidents held open, those that are none yet among them.")
LOST = Counter("winnow_lost_messages", "Messages that retention removed before they were read.", ["topic", "partition"])
PARTITIONS_UNREAD = Gauge("winnow_partitions_unread", "Partitions added since the start, which nobody reads.")
OVERFLOW = Counter(
    "winnow_overflow",
    "What a limit was reached for: events of hosts, or signals on one host, counted together with others'.",
    ["what"],
)
SINK_RETRIES = Counter("winnow_sink_retries", "Writes that had to be tried again.", ["sink"])
SINK_WAITING = Gauge(
    "winnow_sink_waiting", "Seconds that a sink has been waiting for its server, and the flow with it.", ["sink"]
)
CONSUMER_LAG = Gauge("winnow_consumer_lag_messages", "Messages not yet read.", ["topic", "partition"])
WATERMARK_DELAY = Gauge("winnow_watermark_delay_seconds", "Wall clock less watermark.", ["topic", "partition"])
PARTITION_PAUSED = Gauge(
    "winnow_partition_paused",
    "1 while a partition is not read on because others are far behind it in event time.",
    ["topic", "partition"],
)
OPEN_WINDOWS = Gauge(
    "winnow_open_windows", "Host windows that wait until all partitions have passed them, by shard.", ["shard"]
)
WAITING_CANDIDATES = Gauge(
    "winnow_waiting_candidates", "Events that wait for their turn to be decided, by shard.", ["shard"]
)
CORRELATION_GROUPS = Gauge("winnow_correlation_groups", "Groups that Sigma correlations count at the moment.")
WAITING_HITS = Gauge(
    "winnow_waiting_hits", "Events that wait for the watermark before they are counted by Sigma correlations."
)
UNCORRELATED = Counter(
    "winnow_uncorrelated_matches",
    "Matches that a Sigma correlation could not count: they lack a field that it groups by, or have no number in it.",
)
BATCH_SECONDS = Histogram(
    "winnow_batch_seconds",
    "Time one batch takes from being read to being collected.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
ALERT_SECONDS = Histogram(
    "winnow_alert_latency_seconds",
    "Time from an event to the alert about it being written, end to end.",
    buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300, 3600),
)
