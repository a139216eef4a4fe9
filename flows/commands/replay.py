"""``winnow replay``: the detect graph over files."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from flows.settings import load_settings
from flows.usage import UsageError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "replay",
        help="run the detect graph over files",
        description="Run recorded telemetry through the detect graph, as fast as it goes. Needs no server. Writes "
        "alerts.jsonl, incidents.jsonl, rejected.jsonl and summary.json to DIR.",
    )
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="a file of lines; .gz and .zst are unpacked"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the results go")
    parser.add_argument("--rules", type=Path, metavar="DIR", help="Sigma rules, instead of those of the settings")
    parser.add_argument(
        "--format", default="auto", metavar="F", help="format of all files (default: each line is sniffed)"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default 1)")
    parser.add_argument(
        "--lanes",
        action="store_true",
        help="print who decided how many events, and what that cost and took, as a table",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replay; return the exit status."""
    from flows.replay import replay

    settings = load_settings(args.config)
    if args.rules is not None:
        if not args.rules.exists():
            raise UsageError(f"{args.rules}: no such file or folder")
        settings.rules.builtin, settings.rules.paths = False, [args.rules]
    if args.workers < 1:
        raise UsageError("--workers must be at least 1")
    progress = Progress()
    try:
        summary = replay(args.files, args.out, settings, args.format, args.workers, progress.add)
    except RuntimeError as error:
        print(f"winnow: {error}", file=sys.stderr)
        return 1
    finally:
        progress.end()
    print(
        f"{summary['events']:,} events of {len(summary['hosts']):,} hosts, {summary['rejected']:,} rejected,"
        f" {summary['alerts']:,} alerts; {summary['events_per_second']:,} events/s -> {args.out}",
        file=sys.stderr,
    )
    if args.lanes:
        print("\n".join(lanes(summary)))
    left_out = summary["late"] + summary["future"]
    if left_out > summary["events"] / 100:
        print(
            f"{left_out:,} of them came out of order and are in no host window (rules judged them all the same): sort "
            "the files by time, or raise time.lateness_seconds",
            file=sys.stderr,
        )
    return 0


def lanes(summary: dict[str, Any]) -> list[str]:
    """Return the lines of a table: of each lane its events and share, the work an event and the wait for its batch.

    What an LLM costs is what is expected of those that it would have been asked about: a replay asks none.
    """
    judging, whole = summary["judging"], summary["events"] or 1
    lines = [f"{'lane':<6}{'events':>12}{'share':>9}{'µs an event':>13}{'p50 ms':>9}{'p99 ms':>9}"]
    for lane, events in summary["lanes"].items():
        line = f"{lane:<6}{events:>12,}{events / whole:>9.3%}"
        if lane != "llm":
            took = judging[lane]
            line += f"{took['microseconds']:>13,.1f}{took['p50'] * 1e3:>9.2f}{took['p99'] * 1e3:>9.1f}"
        lines.append(line)
    llm = judging["llm"]
    lines.append(
        f"an LLM would have been asked about {llm['wanted']:,} ({llm['wanted'] / whole:.4%}), expected price "
        f"{llm['price']:.4g}; asked about everything {llm['price_of_all']:.4g}"
    )
    return lines


class Progress:
    """A line on stderr that says how far it is, once a second on a terminal, else every ten."""

    def __init__(self) -> None:
        self._started = self._said = time.monotonic()
        self._lines = 0
        self._terminal = sys.stderr.isatty()

    def add(self, lines: int) -> None:
        """Count lines that were read."""
        self._lines += lines
        now = time.monotonic()
        if now - self._said >= (1 if self._terminal else 10):
            self._said = now
            rate = self._lines / (now - self._started)
            print(
                f"{self._lines:,} lines, {rate:,.0f}/s",
                end="\r" if self._terminal else "\n",
                file=sys.stderr,
                flush=True,
            )

    def end(self) -> None:
        """Leave the line."""
        if self._terminal and self._said > self._started:
            print(file=sys.stderr)
