"""The ``winnow`` command. Each subcommand is a module in ``flows.commands``.

Results go to stdout or files, progress and logs to stderr. Exit status 0: done; 1: ran, and found or failed something;
2: bad usage or input, with one clear line.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import NoReturn

import flows.commands
from flows.settings import SettingsError
from flows.usage import UsageError
from state.postgres import DatabaseError


class Parser(argparse.ArgumentParser):
    """A parser, also of every subcommand, that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Say it and exit with status 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; return the exit status."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    parser = Parser(
        prog="winnow", description="A streaming security analyst: telemetry in, a short queue of explained alerts out."
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    words = sys.argv[1:] if argv is None else argv
    names = sorted(module.name for module in pkgutil.iter_modules(flows.commands.__path__))
    # Named, a command needs none of the others; together they take half a second.
    for name in words[:1] if words and words[0] in names else names:
        importlib.import_module(f"flows.commands.{name}").add_parser(subparsers)
    args = parser.parse_args(words)
    try:
        return int(args.run(args))
    except (UsageError, SettingsError, DatabaseError) as error:
        print(f"winnow: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of our output is gone; what is left in the buffer cannot be written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
