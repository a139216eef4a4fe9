"""``winnow prune``: remove what is older than it is kept."""

from __future__ import annotations

import argparse
from pathlib import Path

from flows.settings import load_settings
from flows.usage import UsageError
from state.postgres import pool
from state.store import Store
from state.triage import TriageQueue


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "prune",
        help="remove old host windows, incidents, alerts and evidence from Postgres",
        description="Remove host windows, incidents, alerts, evidence and counts of what was suppressed whose event "
        "time is more than N days back. Incidents and alerts that an analyst reviewed stay, with their evidence; so do "
        "suppressions, the list of hosts and the ledger. Escalations go N days after they were answered or refused and "
        "published, with what their calls cost.",
    )
    parser.add_argument("--days", type=int, metavar="N", help="days to keep (default: postgres.retention_days)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prune and print what was removed; ``DatabaseError`` if the database cannot be reached or none is configured."""
    settings = load_settings(args.config).postgres
    days = settings.retention_days if args.days is None else args.days
    if days < 1:
        raise UsageError(f"--days must be at least 1, not {days}")
    settings.reachable()
    with Store(settings, patience=0.0) as store:
        pruned = store.prune(days)
    with pool(settings) as connections:
        escalations = TriageQueue(connections).prune(days)
    print(
        f"removed {pruned.days} days of host windows, {pruned.incidents} incidents, {pruned.alerts} alerts, "
        f"{pruned.evidence} evidence events, {pruned.suppressed} counts of suppressed signals, "
        f"{escalations} escalations"
    )
    return 0
