"""``winnow migrate``: bring the database's schema to this version."""

from __future__ import annotations

import argparse
from pathlib import Path

from flows.settings import load_settings


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "migrate",
        help="create or update the tables in Postgres",
        description="Bring the schema of the configured Postgres to this version's. Safe to repeat and to run from "
        "several machines at once: one applies, the others wait. Prints each revision that it applied.",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Apply what is pending and print it; ``DatabaseError`` if the database cannot be reached or none is configured."""
    from state.revisions import migrate

    applied = migrate(load_settings(args.config).postgres.required_dsn())
    for revision in applied:
        print(f"applied {revision}")
    if not applied:
        print("nothing to apply: the schema is up to date")
    return 0
