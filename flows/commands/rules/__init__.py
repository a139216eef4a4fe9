"""``winnow rules``: what is wrong with a rule folder, what its rules make of telemetry, and where they come from.

Each action is a module with ``add_parser(actions)`` and ``run(args)``.
"""

from __future__ import annotations

import argparse

from flows.commands.rules import activate, backtest, check, coverage, explain, match, sync


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    rules = subparsers.add_parser(
        "rules",
        help="check, match, explain, compare and fetch Sigma rules",
        description="Work with Sigma rules.",
    )
    actions = rules.add_subparsers(metavar="ACTION", required=True, dest="action")
    for module in (check, match, explain, backtest, sync, coverage, activate):
        module.add_parser(actions)
