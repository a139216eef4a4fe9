"""What an LLM's verdict adds to what is known. It raises or informs; nothing that it says closes or lowers anything."""

from __future__ import annotations

from state.alerts import Level, Signal
from state.escalations import LlmVerdict

#: Rule and name of the alerts, by verdict. A verdict of "benign" raises none.
NAMES = {"malicious": "Malicious, says the LLM", "suspicious": "Suspicious, says the LLM"}
#: What is only suspicious is at most that.
SUSPICIOUS = Level.medium


def signal_of(verdict: LlmVerdict) -> Signal | None:
    """Return the signal of a verdict, ``None`` if it raises none.

    >>> benign = LlmVerdict(id="x-" + "0" * 32, event_id="t-0-1", host="h", time=1, status="answered",
    ...     verdict="benign", answered_at=2)
    >>> signal_of(benign) is None
    True
    """
    name = NAMES.get(verdict.verdict)
    if verdict.status != "answered" or name is None:
        return None
    level = Level[verdict.severity]
    return Signal(
        kind="llm",
        rule=verdict.verdict,
        name=name,
        level=min(level, SUSPICIOUS) if verdict.verdict == "suspicious" else max(level, Level.low),
        entity=verdict.host,
        time=verdict.time,
        reason=_line(f"confidence {verdict.confidence:.2f}: {verdict.explanation}"),
        techniques=verdict.techniques,
        event_id=verdict.event_id,
        versions=(("model", verdict.model), ("prompt", verdict.prompt)),
    )


def _line(text: str) -> str:
    """Return the beginning of a text as one printable line: what an LLM writes may be what a log line told it to."""
    return "".join(char if char.isprintable() else " " for char in text[:1_000])
