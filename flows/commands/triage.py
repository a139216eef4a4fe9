"""``winnow triage``: the LLM lane."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import orjson

from flows.settings import Settings, load_settings
from flows.usage import UsageError
from state.postgres import pool


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "triage",
        help="ask an LLM about escalated events",
        description="Read escalations from Kafka, ask the configured model about them within the hour's budget, "
        "highest stakes first, and publish the verdicts. Run as many as you like: they share queue and budget in "
        "Postgres. SIGTERM and Ctrl-C let calls under way end.",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--status", action="store_true", help="print how many wait and how the rest ended, one JSON line")
    what.add_argument(
        "--reveal",
        metavar="ID",
        help="print what the placeholders of an escalation stand for, secrets included, as one JSON line",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the lane, or print what is asked; return the exit status."""
    settings = load_settings(args.config)
    if args.status:
        return _print(status(settings))
    if args.reveal:
        return _print(reveal(settings, args.reveal))
    from flows.triage.process import check, triage

    check(settings)
    print(f"winnow: asking {settings.llm.model} about {settings.kafka.escalations}", file=sys.stderr)
    return triage(settings)


def status(settings: Settings) -> dict[str, Any]:
    """Return how many escalations stand where, and what the hour did cost. Raises ``DatabaseError``."""
    from state.budget import Budget
    from state.summaries import SummaryQueue
    from state.triage import TriageQueue

    settings.postgres.reachable()
    with pool(settings.postgres, read_only=True) as connections:
        spending = Budget(connections, settings.llm.money_per_hour, settings.llm.calls_per_hour).spending()
        return {
            "configured": settings.llm.configured,
            **TriageQueue(connections).counts(),
            "summaries": SummaryQueue(connections).counts(),
            "hour": {
                "money": round(spending.money, 6),
                "money_limit": settings.llm.money_per_hour,
                "calls": spending.calls,
                "calls_limit": settings.llm.calls_per_hour,
                "seconds_left": round(spending.remaining),
            },
        }


def reveal(settings: Settings, escalation_id: str) -> dict[str, Any]:
    """Return what the placeholders in the question about an escalation stand for.

    Raises:
        UsageError: there is no such escalation.
        DatabaseError: the database cannot be reached.
    """
    from flows.triage.questions import Questions
    from state.escalations import decode_escalation
    from state.precedents import Precedents
    from state.triage import TriageQueue

    settings.postgres.reachable()
    with pool(settings.postgres, read_only=True) as connections:
        raw = TriageQueue(connections).message(escalation_id)
        if raw is None:
            raise UsageError(f"no escalation {escalation_id[:64]!r}")
        question, _ = Questions(settings.llm, Precedents(connections)).of(decode_escalation(raw))
    return {"id": escalation_id, "secrets": question.secrets, "names": question.names}


def _print(found: dict[str, Any]) -> int:
    sys.stdout.write(orjson.dumps(found).decode() + "\n")
    return 0
