"""Compile rules in a process of its own, which a hostile rule may harm: told on stdin, the outcome on stdout.

The compiled set goes into the registry under its version. Rules that broke since the version before keep their form.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from analyzers.rules.compiled import Loaded
from analyzers.rules.loading import load
from analyzers.rules.registry import Registry, keep_broken
from analyzers.rules.rule import Problem

#: How long compiling may take, seconds; SigmaHQ's rules take 5.
TIMEOUT = 600.0


class Order(msgspec.Struct):
    """What is to be compiled."""

    #: Files and folders of an operator's rules, and those that come with Winnow.
    paths: list[str]
    shipped: list[str]
    placeholders: dict[str, list[str]]
    registry: str
    cache: str | None = None
    #: Version whose form of a rule is kept if the rule is now broken; empty: none.
    before: str = ""


class Outcome(msgspec.Struct):
    """What came of it."""

    #: Empty if nothing was stored: ``error`` says why.
    version: str = ""
    #: Rules in the set.
    rules: int = 0
    problems: list[Problem] = []
    #: Rules that are now broken and of which the former form stays: id to title.
    kept: dict[str, str] = {}
    seconds: float = 0.0
    error: str = ""


def compile_apart(order: Order) -> Outcome:
    """Compile in a child process and store the set; whatever happens to the child is an outcome."""
    from flows.settings import PREFIX  # which the child does without: what it imports takes a second

    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "flows.compile"],
            input=msgspec.json.encode(order),
            stdout=subprocess.PIPE,
            env=environment,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(error=f"compiling took more than {TIMEOUT:.0f} s")
    if done.returncode:
        how = signal.Signals(-done.returncode).name if done.returncode < 0 else f"status {done.returncode}"
        return Outcome(error=f"the compiling process ended with {how}")
    return msgspec.json.decode(done.stdout, type=Outcome)


def compile_here(order: Order) -> Outcome:
    """Compile and store."""
    began = time.perf_counter()
    registry = Registry(Path(order.registry))
    try:
        loaded = load([*order.shipped, *order.paths], order.placeholders, Path(order.cache) if order.cache else None)
    except FileNotFoundError as error:
        return Outcome(error=str(error))
    outcome = Outcome(problems=loaded.problems)
    own = [each for each in loaded.compiled if not any(each.rule.path.startswith(path) for path in order.shipped)]
    if not own and order.paths:
        outcome.error = f"no rule under {', '.join(order.paths)} can be compiled"
        return outcome
    try:
        former = registry.get(order.before) if order.before else Loaded([], [], "")
    except (OSError, ValueError) as error:
        print(f"winnow: version {order.before} of the rules cannot be read: {error}", file=sys.stderr)
        former = Loaded([], [], "")
    loaded, kept = keep_broken(loaded, former.compiled, former.correlations)
    try:
        registry.put(loaded)
    except OSError as error:
        outcome.error = f"{order.registry}: {error.strerror or error}"
        return outcome
    outcome.version, outcome.rules = loaded.version, len(loaded.compiled)
    outcome.kept = {each.rule.id: each.rule.title for each in kept}
    outcome.seconds = time.perf_counter() - began
    return outcome


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(compile_here(msgspec.json.decode(sys.stdin.buffer.read(), type=Order))))
