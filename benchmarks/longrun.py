"""Whether memory stays flat: a day of generated event time through replay, resident memory by the minute.

``python -m benchmarks.longrun [--hours 24] [--rate 2] [--hosts 50]``. Prints one JSON line: events, peak, and the slope
of resident memory over the second half, in MiB an hour of event time, by least squares. (Replay keeps alerts and host
totals to the end, for its output: growth by those is part of the figure.)
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flows.traffic import Traffic
from flows.traffic.settings import TrafficSettings

START = 1_704_700_800_000_000  # Monday 2024-01-08 08:00 UTC
HOUR = 3_600_000_000


def resident(pid: int) -> float:
    """Return the resident memory of a process, MiB; 0 if it has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    rows = [line.split() for line in text.splitlines() if line.startswith("VmRSS")]
    return int(rows[0][1]) / 1024 if rows else 0.0


def main() -> None:
    """Generate, replay, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--rate", type=float, default=2.0, help="messages a second of event time")
    parser.add_argument("--hosts", type=int, default=50)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="winnow-longrun-") as name:
        folder = Path(name)
        traffic = Traffic(1, START, TrafficSettings(rate=args.rate, hosts=args.hosts, attacks_per_hour=2.0))
        count = 0
        with (folder / "day.log").open("wb") as file:
            for message in traffic.messages(START + int(args.hours * HOUR)):
                file.write(message.value + b"\n")
                count += 1
        print(f"{count:,} messages of {args.hours:g} hours", file=sys.stderr)
        (folder / "winnow.toml").write_text("[formats]\nyear = 2024\n")
        command = [sys.executable, "-m", "flows.cli", "replay", str(folder / "day.log"), "--out", str(folder / "out")]
        began = time.perf_counter()
        with (folder / "log").open("wb") as log:
            flow = subprocess.Popen(
                command, stdout=log, stderr=log, env={**_environment(), "WINNOW_CONFIG": str(folder / "winnow.toml")}
            )
            points: list[tuple[float, float]] = []
            while flow.poll() is None:
                points.append((time.perf_counter() - began, resident(flow.pid)))
                time.sleep(0.25)
        if flow.returncode != 0:
            sys.exit((folder / "log").read_text())
        seconds = time.perf_counter() - began
        summary = json.loads((folder / "out" / "summary.json").read_text())
    # Reading goes at an even pace, so that a share of the time is that share of the day.
    later = [(at / seconds * args.hours, size) for at, size in points if at > seconds / 2 and size]
    slope = statistics.linear_regression(*zip(*later, strict=True)).slope
    print(
        json.dumps(
            {
                "events": summary["events"],
                "alerts": summary["alerts"],
                "hours": args.hours,
                "seconds": round(seconds, 1),
                "events_per_second": summary["events_per_second"],
                "times_real_time": round(args.hours * 3600 / seconds),
                "resident_mib_at_half": round(later[0][1], 1),
                "resident_mib_at_end": round(later[-1][1], 1),
                "resident_mib_peak": round(max(size for _, size in points), 1),
                "mib_per_hour_of_event_time": round(slope, 3),
            }
        )
    )


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("WINNOW_")}


if __name__ == "__main__":
    main()
