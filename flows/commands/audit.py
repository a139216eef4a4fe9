"""``winnow audit``: the sample of decided texts that analysts look at, so that a calibration can be fitted on it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from flows.settings import load_settings
from flows.telling import user
from flows.usage import UsageError
from state.audits import review, waiting
from state.postgres import connect, explained


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "audit",
        help="say what texts of the audit sample truly were",
        description="One in router.audit_one_in of the texts that the text model decided is kept, whatever it said. "
        "Say of each what it truly was, and winnow calibrate --from-feedback can fit on them; alerts alone say nothing "
        "of what is missed.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listed = actions.add_parser(
        "list", help="print texts of the sample", description="Print texts that nobody has looked at, the oldest first."
    )
    listed.add_argument("--all", action="store_true", help="also those that were reviewed")
    listed.add_argument("--limit", type=int, default=50, metavar="N", help="at most N (default: 50)")
    listed.add_argument("--json", action="store_true", help="print JSON, one text a line")
    listed.set_defaults(run=run_list)
    reviewed = actions.add_parser(
        "review", help="say what a text truly was", description="Say what a text of the sample truly was."
    )
    reviewed.add_argument("event_id", metavar="EVENT", help="id of the event, as list shows it")
    reviewed.add_argument("--as", dest="truth", choices=["malicious", "benign"], required=True, help="what it was")
    reviewed.add_argument("--reason", required=True, help="why, for others to read")
    reviewed.add_argument("--author", metavar="NAME", help="who says so (default: your user name)")
    reviewed.set_defaults(run=run_review)
    for action in actions.choices.values():
        action.add_argument("--config", type=Path, metavar="FILE", help="settings file")


def run_list(args: argparse.Namespace) -> int:
    """Print what is to be looked at; return the exit status."""
    if args.limit < 1:
        raise UsageError(f"--limit must be at least 1, not {args.limit}")
    with explained(), _connect(args) as connection:
        for text in waiting(connection, all=args.all, limit=args.limit):
            if args.json:
                sys.stdout.buffer.write(msgspec.json.encode(text) + b"\n")
                continue
            # What a log line says must not move the reader's cursor.
            shown = "".join(char if char.isprintable() else "?" for char in text.text[:160])
            print(f"{text.event_id}  {text.host}  {text.source}  {text.said}  {text.truth or '-'}  {shown}")
    sys.stdout.flush()
    return 0


def run_review(args: argparse.Namespace) -> int:
    """Store what an analyst says; return the exit status."""
    if not args.reason.strip():
        raise UsageError("--reason must say something")
    with explained(), _connect(args) as connection:
        if not review(connection, args.event_id, args.truth, args.author or user(), args.reason):
            raise UsageError(f"no text of the audit sample has event {args.event_id}")
    print(f"{args.event_id} was {args.truth}")
    return 0


def _connect(args: argparse.Namespace) -> psycopg.Connection[Any]:
    return connect(load_settings(args.config).postgres.required_dsn(), autocommit=True)
