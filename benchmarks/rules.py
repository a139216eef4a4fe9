"""How fast rules are decided, beside decoding the same lines alone and beside other Sigma engines.

``winnow bench rules [--data DIR] [--lines N] [--peers]`` reads windows_events and the SigmaHQ rules of the data sets.
Everything is measured in one run, a piece of each in turn, in processor time of one core; what counts is the ratio.
``raw`` is the engine on raw messages: kind by a search of the bytes, fields decoded only if a rule concerns the kind.
``flow`` is the flow's way: every message decoded into an event, then judged.
"""

from __future__ import annotations

import argparse
import csv
import gc
import io
import itertools
import json
import multiprocessing
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import zstandard

from analyzers.rules import RuleSet
from benchmarks import peers
from operators.formats import UNDECODED, Decoder, FormatSettings, Peeker, fields
from state.events import Event, Kind

#: Lines of one piece.
PIECE = 1_000
#: Lines that the peers get, in stretches of PIECE spread over all; a database is no faster with four times as many.
PEER_LINES = 20_000
SYSMON_1 = Kind("windows.sysmon", "process", "process-created", channel="Microsoft-Windows-Sysmon/Operational", code=1)


def main() -> int:
    """Measure and print; the figures as JSON with ``--json``."""
    parser = argparse.ArgumentParser(prog="winnow bench rules", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("WINNOW_DATA", "../shared/data")))
    parser.add_argument("--lines", type=int, default=219_648, help="lines of windows_events (default: all)")
    parser.add_argument("--peers", action="store_true", help="also measure other engines, in environments of their own")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if not (args.data / "windows_events").is_dir():
        print(f"no windows_events in {args.data}: name the data sets' folder by --data or WINNOW_DATA", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        report = measure(args.data, Path(folder), args.lines, args.peers)
    print(json.dumps(report) if args.json else table(report))
    return 0


def measure(data: Path, folder: Path, count: int, with_peers: bool) -> dict[str, Any]:
    """Return all figures; rates are events a second of processor time."""
    unpack_rules(data, folder / "rules")
    with (data / "sigma_expected/windows_events_rules.csv").open(newline="") as file:
        fourteen = [folder / "rules" / row["path"] for row in csv.DictReader(file)]
    lines = list(itertools.islice(read(next((data / "windows_events").glob("events.jsonl*"))), count))
    report: dict[str, Any] = {"lines": len(lines), "sets": {}}
    for name, paths in (("14 log sources", fourteen), ("all rules", [folder / "rules"])):
        report["sets"][name] = measure_set(lines, paths)
        say(f"memory with {name}")
        # A process of its own: its peak is that of no other measurement.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            report["sets"][name]["resident_mb"] = process.submit(resident, data, len(lines), paths).result()
    report["process_creation"] = process_creations(data, fourteen)
    report["by_rules"] = by_number(lines[: min(40_000, len(lines))], fourteen)
    if with_peers:
        report["peers"] = beside_peers(lines, fourteen, folder)
    return report


def measure_set(lines: Sequence[bytes], paths: Sequence[Path]) -> dict[str, Any]:
    """Measure one rule set: a first pass, a second one over what is known by then, and one that never remembers."""
    say(f"loading {len(paths)} rule files or folders")
    clock = time.process_time()
    rules = RuleSet.load(paths)
    found: dict[str, Any] = {"rules": len(rules.rules), "load_seconds": time.process_time() - clock}
    gc.collect()
    gc.freeze()
    raw, flow = Raw(rules), Flow(rules)
    for name, forget in (("first", False), ("again", False), ("forgetful", True)):
        spent = alternate(lines, [decode, raw, flow], forget=rules.forget if forget else None)
        found[name] = {
            "orjson": len(lines) / spent[0],
            "raw": len(lines) / spent[1],
            "flow": len(lines) / spent[2],
            "raw_ratio": spent[0] / spent[1],
            "flow_ratio": spent[0] / spent[2],
        }
    found["matches"] = raw.matches // 3
    return found


def resident(data: Path, count: int, paths: Sequence[Path]) -> float:
    """Return the most memory, MB, of a process that judges the lines as they come and keeps none."""
    raw = Raw(RuleSet.load(paths))
    lines = itertools.islice(read(next((data / "windows_events").glob("events.jsonl*"))), count)
    for start in range(0, count, PIECE):
        raw(list(itertools.islice(lines, PIECE)), start)
    # Not getrusage: its peak is the parent's, if that was higher.
    (peak,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(peak.split()[1]) / 1024


def alternate(
    lines: Sequence[bytes], ways: Sequence[Callable[[Sequence[bytes], int], None]], forget: Callable[[], None] | None
) -> list[float]:
    """Return the processor seconds of each way over all lines, piece by piece in turn."""
    spent = [0.0] * len(ways)
    for start in range(0, len(lines), PIECE):
        piece = lines[start : start + PIECE]
        for place, way in enumerate(ways):
            if forget is not None:
                forget()
            clock = time.process_time()
            way(piece, start)
            spent[place] += time.process_time() - clock
        if start % 20_000 == 0:
            say(f"{start:,} of {len(lines):,} lines")
    return spent


def decode(lines: Sequence[bytes], start: int) -> None:
    """Decode each line, and nothing else."""
    for line in lines:
        orjson.loads(line)


class Raw:
    """The engine on raw messages."""

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self._peeker = Peeker("bench-0", FormatSettings())
        self.matches = 0

    def __call__(self, lines: Sequence[bytes], start: int) -> None:
        """Judge the lines."""
        events, _ = self._peeker.peek_batch(lines, range(start, start + len(lines)), 0)
        self.matches += len(self._rules.match_batch(events, fields, UNDECODED))


class Flow:
    """The flow's way: events first."""

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self._decoder = Decoder("bench-0", FormatSettings())

    def __call__(self, lines: Sequence[bytes], start: int) -> None:
        """Judge the lines."""
        decoded = self._decoder.decode_batch(lines, range(start, start + len(lines)), 0)
        self._rules.match_batch(decoded.events, fields, UNDECODED)


def process_creations(data: Path, paths: Sequence[Path]) -> dict[str, Any]:
    """Return the rate of process creations of which no two are alike, none seen before."""
    rules = RuleSet.load(paths)
    rows = [orjson.loads(line) for line in read(data / "sigma_expected/process_creation.jsonl.zst")]
    raws = list({orjson.dumps(row["fields"]): None for row in rows})
    events = [Event("bench-0", place, 0, "host", SYSMON_1, raw, "none") for place, raw in enumerate(raws)]
    rules.match_batch(events[:10], lambda event: orjson.loads(event.raw))
    best = float("inf")
    for _ in range(3):
        rules.forget()
        clock = time.process_time()
        rules.match_batch(events, lambda event: orjson.loads(event.raw))
        best = min(best, time.process_time() - clock)
    return {"distinct": len(events), "rate": len(events) / best}


def by_number(lines: Sequence[bytes], paths: Sequence[Path]) -> dict[str, float]:
    """Return the ratio to decoding alone, warm, by number of rules: every n-th of the set."""
    found: dict[str, float] = {}
    for number in (10, 100, 1_000, len(paths)):
        raw = Raw(RuleSet.load(paths[:: max(1, len(paths) // number)][:number]))
        alternate(lines, [raw], None)
        spent = alternate(lines, [decode, raw], None)
        found[str(number)] = spent[0] / spent[1]
    return found


def beside_peers(lines: Sequence[bytes], paths: Sequence[Path], folder: Path) -> dict[str, Any]:
    """Return what the peers did over stretches of lines; turning the rules into SQL takes most of the time.

    Winnow, the ``raw`` way, has met the kinds of these lines before but no value. ``first_rate`` is its very first
    pass, which also makes its plan for each kind. Left out of our pairs are process creations of Security 4688, which
    the peers' pipelines do not take for such.
    """
    step = max(PIECE, len(lines) // max(1, PEER_LINES // PIECE))
    sample = [line for start in range(0, len(lines), step) for line in lines[start : start + PIECE]][:PEER_LINES]
    rules = RuleSet.load(paths)
    gc.collect()
    gc.freeze()
    left_out = 0

    def ours() -> peers.Found:
        nonlocal left_out
        rules.forget()
        peeker, spent, left_out = Peeker("bench-0", FormatSettings()), 0.0, 0
        pairs: set[tuple[int, str]] = set()
        for start in range(0, len(sample), PIECE):
            piece = sample[start : start + PIECE]
            clock = time.process_time()
            events, _ = peeker.peek_batch(piece, range(start, start + len(piece)), 0)
            matches = rules.match_batch(events, fields, UNDECODED)
            spent += time.process_time() - clock
            for match in matches:
                event = events[match.index]
                if event.kind.code == 4688 and match.rule.logsource.category == "process_creation":
                    left_out += 1
                else:
                    pairs.add((event.offset, match.rule.id))
        return peers.Found(frozenset(pairs), spent)

    first = ours()
    engines = peers.measure(sample, paths, folder, ours)
    return {"lines": len(sample), "first_rate": len(sample) / first.seconds, "left_out": left_out, "engines": engines}


def read(path: Path) -> Iterator[bytes]:
    """Yield the lines of a plain or zstd file."""
    with path.open("rb") as file:
        stream = file if path.suffix != ".zst" else zstandard.ZstdDecompressor().stream_reader(file)
        for line in io.BufferedReader(stream):  # type: ignore[type-var]
            yield line.rstrip(b"\r\n")


def unpack_rules(data: Path, folder: Path) -> None:
    """Unpack the SigmaHQ rules so that ``rules/…`` is in the folder."""
    with (data / "sigma/rules.tar.zst").open("rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file)
        with tarfile.open(fileobj=io.BufferedReader(stream), mode="r|") as archive:  # type: ignore[type-var]
            archive.extractall(folder, filter="data")


def say(text: str) -> None:
    """Tell progress on stderr."""
    print(f"\r{text:<60}", end="", file=sys.stderr, flush=True)


def table(report: dict[str, Any]) -> str:
    """Return the figures for people."""
    rows = [f"\n{report['lines']:,} lines of windows_events; ratios are to orjson decoding the same lines alone"]
    for name, found in report["sets"].items():
        rows.append(
            f"{name}: {found['rules']:,} rules, loaded in {found['load_seconds']:.1f} s, {found['matches']:,} matches, "
            f"resident {found['resident_mb']:.0f} MB at most"
        )
        for way in ("first", "again", "forgetful"):
            f = found[way]
            rows.append(
                f"  {way:<10} orjson {f['orjson']:>9,.0f}/s   raw {f['raw']:>9,.0f}/s ({f['raw_ratio']:.2f})   "
                f"flow {f['flow']:>9,.0f}/s ({f['flow_ratio']:.2f})"
            )
    alone = report["process_creation"]
    rows.append(f"process creations, {alone['distinct']:,} distinct, none seen before: {alone['rate']:,.0f}/s")
    ratios = ", ".join(f"{number}: {ratio:.2f}" for number, ratio in report["by_rules"].items())
    rows.append(f"ratio by number of rules: {ratios}")
    if "peers" in report:
        beside = report["peers"]
        rows.append(
            f"beside other engines, {beside['lines']:,} lines in stretches of {PIECE:,}; Winnow's very first pass "
            f"{beside['first_rate']:,.0f}/s; {beside['left_out']:,} pairs of Security 4688 as process creation left out"
        )
        rows += peers.table(beside["engines"])
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
