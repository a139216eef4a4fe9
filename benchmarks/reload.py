"""How long batches take while another version of the rules is loaded beside them, and the first one it judges.

``python -m benchmarks.reload RULES FILE [--swaps N]``: a folder of Sigma rules, and a file of telemetry by the line.
Prints one JSON object; times in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

from analyzers.rules.compiled import Loaded
from analyzers.rules.loading import load
from analyzers.rules.registry import Registry
from operators.batch import Batch
from operators.formats import Decoder
from operators.formats.settings import FormatSettings
from operators.rules import Judge
from operators.succession import Succession
from operators.versions import Versions
from state.control import CONTROL_VERSION, EARLIEST, Activation, new_id

#: Messages of a batch, as the source reads them.
BATCH = 2_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rules", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--swaps", type=int, default=10)
    parser.add_argument("--events", type=int, default=20_000)
    args = parser.parse_args()
    decoder = Decoder("bench-0", FormatSettings(), "auto", default_host="bench")
    with args.file.open("rb") as file:
        lines = [line.rstrip(b"\n") for line in islice(file, args.events)]
    events = decoder.decode_batch(lines, range(len(lines)), 0).events
    batches = [events[start : start + BATCH] for start in range(0, len(events), BATCH)]
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(Path(folder) / "registry")
        loaded = load([args.rules], {})
        names = [f"{number:016x}" for number in range(args.swaps + 1)]
        for name in names:
            registry.put(Loaded(loaded.compiled, loaded.problems, name))
        began = time.perf_counter()
        versions = Versions(registry, names[0])
        first_load = time.perf_counter() - began
        succession = Succession(versions, "bench-0", Path(folder) / "successions")
        judge = Judge(versions.of, versions.recent.append)
        offset = 0
        #: Of each batch, the CPU time of the thread that judged it.
        cpu: list[float] = []

        def one(number: int) -> tuple[float, bool]:
            nonlocal offset
            batch = Batch("bench-0", 0, 0, 0, batches[number % len(batches)], consumed=BATCH, first=offset)
            began, spent = time.perf_counter(), time.thread_time()
            before = succession._now
            batch.rules = succession.version(offset, EARLIEST)
            offset += BATCH
            succession.judged(offset)
            judge.judge(batch)
            cpu.append(time.thread_time() - spent)
            return time.perf_counter() - began, before is not succession._now

        for number in range(2 * len(batches)):
            one(number)
        cpu.clear()
        quiet = [one(number)[0] for number in range(2 * len(batches))]
        quiet_cpu = cpu.copy()
        loading: list[float] = []
        swapping: list[float] = []
        swapping_cpu: list[float] = []
        after: list[float] = []
        number = 0
        for name in names[1:]:
            versions.hear(_activation(name))
            swapped = False
            while not swapped:
                took, swapped = one(number)
                (swapping if swapped else loading).append(took)
                if swapped:
                    swapping_cpu.append(cpu[-1])
                number += 1
            for _ in range(len(batches)):
                after.append(one(number)[0])
                number += 1
    usual = statistics.median(quiet)
    print(
        json.dumps(
            {
                "rules": len(loaded.compiled),
                "events_a_batch": BATCH,
                "swaps": args.swaps,
                "load_ms": round(1000 * first_load),
                "quiet": _said(quiet),
                "while_loading": _said(loading),
                "first_batch_of_a_version": _said(swapping),
                "following_batches": _said(after),
                "quiet_cpu": _said(quiet_cpu),
                "first_batch_of_a_version_cpu": _said(swapping_cpu),
                "added_worst_ms": round(1000 * (max([*loading, *swapping]) - usual), 1),
            },
            indent=1,
        )
    )


def _activation(version: str) -> Activation:
    return Activation(
        version=CONTROL_VERSION,
        id=new_id(),
        author="bench",
        reason="bench",
        written_at=time.time_ns() // 1000,
        from_time=EARLIEST,
        what="rules",
        artifact=version,
    )


def _said(times: list[float]) -> dict[str, float]:
    return {"median": round(1000 * statistics.median(times), 1), "worst": round(1000 * max(times), 1), "n": len(times)}


if __name__ == "__main__":
    main()
