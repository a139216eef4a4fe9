"""``winnow incidents``: the queue of incidents, one of them, and what analysts say of it."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from flows.settings import load_settings
from flows.usage import UsageError
from state.alerts import Level
from state.postgres import connect, explained
from state.reviews import QueuedIncident, find, queue, review
from state.summaries import Summary, summary, told


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "incidents", help="list, show and review incidents", description="List, show and review incidents in Postgres."
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listed = actions.add_parser(
        "list",
        help="print the queue",
        description="Print incidents, the most severe and newest first; those that were closed only with --all.",
    )
    listed.add_argument("--all", action="store_true", help="also those that were closed")
    listed.add_argument(
        "--severity",
        choices=[level.name for level in Level if level > Level.informational],
        default="low",
        help="least severity (default: low)",
    )
    listed.add_argument("--limit", type=int, default=50, metavar="N", help="at most N (default: 50)")
    listed.set_defaults(run=list_incidents)
    shown = actions.add_parser("show", help="print one incident", description="Print one incident, by its id or alias.")
    shown.set_defaults(run=show)
    texts = {
        "ack": ("acknowledged", "say that someone is looking at it"),
        "close": ("closed", "take it from the queue; it comes back if it becomes more severe"),
        "reopen": ("open", "put it back into the queue"),
    }
    for name, (state, text) in texts.items():
        reviewed = actions.add_parser(name, help=text, description=f"Review an incident: {text}.")
        reviewed.add_argument("--reason", required=True, help="why, for others to read")
        reviewed.add_argument("--author", default=None, help="who says so (default: your user name)")
        if name == "close":
            verdicts = ["true_positive", "false_positive", "benign"]
            reviewed.add_argument("--as", dest="verdict", choices=verdicts, required=True, help="what it was")
        reviewed.set_defaults(run=say, state=state, verdict="")
    for name, action in actions.choices.items():
        if name != "list":
            action.add_argument("id", metavar="ID", help="the incident's id, or one of its aliases")
        action.add_argument("--json", action="store_true", help="print JSON, one incident a line")
        action.add_argument("--config", type=Path, metavar="FILE", help="settings file")


def list_incidents(args: argparse.Namespace) -> int:
    """Print the queue."""
    if args.limit < 1:
        raise UsageError(f"--limit must be at least 1, not {args.limit}")
    with explained(), _connect(args) as connection:
        for incident in queue(connection, least=Level[args.severity], all=args.all, limit=args.limit):
            if args.json:
                _print_json(incident)
                continue
            print(
                f"{incident.id}  {Level(incident.severity).name:<8} {incident.score:6.1f}  {incident.status:<12} "
                f"{incident.last_seen:%Y-%m-%d %H:%M}Z  {incident.title}"
            )
    return 0


def show(args: argparse.Namespace) -> int:
    """Print one incident."""
    with explained(), _connect(args) as connection:
        incident = _found(connection, args.id)
        found = summary(connection, incident.id)
    if args.json:
        _print_json(incident, found)
        return 0
    print(f"{incident.title}\n{incident.id}, {Level(incident.severity).name}, {incident.status}")
    if incident.author:
        verdict = f" as {incident.verdict}" if incident.verdict else ""
        print(f"Last said{verdict} by {incident.author}: {incident.reason}")
    print(f"\n{incident.explanation}")
    if found is not None:
        print("\n" + "\n".join(told(found)))
    print(f"\nEntities: {', '.join(incident.entities)}")
    print(f"Events: {' '.join(incident.evidence)}")
    return 0


def say(args: argparse.Namespace) -> int:
    """Store a review."""
    author = args.author or getpass.getuser()
    if not args.reason.strip():
        raise UsageError("--reason must say something")
    with explained(), _connect(args) as connection:
        incident = _found(connection, args.id)
        if incident.merged_into:
            raise UsageError(f"{incident.id} is part of {incident.merged_into}: review that")
        review(connection, incident, args.state, author, args.reason, args.verdict)
        changed = _found(connection, incident.id)
    if args.json:
        _print_json(changed)
    else:
        print(f"{changed.id} is {changed.status}")
    return 0


def _connect(args: argparse.Namespace) -> psycopg.Connection[Any]:
    return connect(load_settings(args.config).postgres.required_dsn(), autocommit=True)


def _found(connection: psycopg.Connection[Any], incident_id: str) -> QueuedIncident:
    incident = find(connection, incident_id)
    if incident is None:
        raise UsageError(f"no incident {incident_id}")
    return incident


def _print_json(incident: QueuedIncident, found: Summary | None = None) -> None:
    shown = msgspec.structs.asdict(incident) | {"severity": Level(incident.severity).name}
    if found is not None:
        shown["summary"] = found
    sys.stdout.buffer.write(msgspec.json.encode(shown) + b"\n")
    sys.stdout.buffer.flush()
