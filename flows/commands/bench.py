"""``winnow bench``: run a benchmark of the checkout."""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
from pathlib import Path

from flows.usage import UsageError

#: Benchmarks are no part of an installed Winnow; they are run from its source.
FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "bench",
        help="run a benchmark",
        description="Run a benchmark of the source checkout; what follows NAME goes to it. Without NAME, list them.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME")
    parser.add_argument("options", nargs=argparse.REMAINDER, help="options of the benchmark; --help lists them")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run it in a process of its own; return its exit status. UsageError if there is no such benchmark."""
    found = {path.stem: path for path in sorted(FOLDER.glob("*.py")) if "def main(" in path.read_text()}
    if not found:
        raise UsageError("benchmarks are run from Winnow's source; this installation has none")
    if args.name is None:
        for name, path in found.items():
            said = ast.get_docstring(ast.parse(path.read_text())) or ""
            print(f"{name:<12} {said.splitlines()[0]}")
        return 0
    if args.name not in found:
        raise UsageError(f"no benchmark {args.name!r}; known: {', '.join(found)}")
    command = [sys.executable, "-m", f"benchmarks.{args.name}", *args.options]
    return subprocess.run(command, cwd=FOLDER.parent, check=False).returncode
