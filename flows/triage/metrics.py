"""What the LLM lane tells Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from analyzers.llm.endpoint import Reply
from state.budget import NANO

ESCALATIONS = Counter(
    "winnow_triage_escalations", "Escalations that came in: new, repeated, or invalid (dead-lettered).", ["kind"]
)
DECIDED = Counter("winnow_triage_decided", "Escalations by how they ended here.", ["status"])
WAITING = Gauge("winnow_triage_waiting", "Escalations that wait for an answer, of all workers.")
ASKING = Gauge("winnow_triage_asking", "Escalations that are being asked about, of all workers.")
UNPUBLISHED = Gauge("winnow_triage_unpublished", "Verdicts that are stored and not yet in Kafka, of all workers.")
CALLS = Counter("winnow_llm_calls", "Calls of the endpoint, by how they went.", ["outcome"])
SECONDS = Histogram(
    "winnow_llm_seconds", "How long answered calls took.", buckets=(0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120)
)
TOKENS = Counter("winnow_llm_tokens", "Tokens as the endpoint counts them.", ["direction"])
COST = Counter("winnow_llm_cost", "What calls did cost, in the currency of the settings.")
BUDGET = Gauge(
    "winnow_llm_budget_ratio", "Share of the hour's budget that is spent or reserved, of all workers.", ["what"]
)
FAULTS = Counter("winnow_llm_faults", "Answers that were not believed, by what was wrong.", ["kind"])
UNKNOWN = Counter("winnow_llm_unknown_techniques", "Techniques that answers named and that ATT&CK does not have.")
CACHE = Counter("winnow_llm_cache", "Escalations by whether their question was answered before.", ["result"])
SUMMARIES = Counter("winnow_llm_summaries", "Summaries of incidents: asked for, written, or refused.", ["status"])
BREAKER = Gauge("winnow_llm_breaker_open", "1 while the endpoint is left alone because it failed.")


class Told:
    """Counts what the asker tells of its calls."""

    def called(self, outcome: str, reply: Reply | None, spent: int) -> None:
        """Count a call, and what it did cost, in billionths."""
        CALLS.labels(outcome=outcome).inc()
        COST.inc(spent / NANO)
        if reply is not None:
            SECONDS.observe(reply.seconds)
            TOKENS.labels(direction="in").inc(reply.prompt_tokens or 0)
            TOKENS.labels(direction="out").inc(reply.completion_tokens or 0)

    def faulted(self, kind: str) -> None:
        """Count an answer that was not believed."""
        FAULTS.labels(kind=kind).inc()
