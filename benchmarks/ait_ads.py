"""How well rarity ranks attacks in the AIT alert data set, and what its alarms by budget find and cost.

``winnow bench ait_ads [--data DIR] [--json]``. A window is a host and minute with alerts; positive if an event of an
attack is in it, negative if it is not even in the time of one; the first 24 hours only teach. Shown for the settings
that Winnow has, for other detectors, and for settings chosen without the scenario they are measured on (left out):
those of the score by the other two's logits of ROC AUC and average precision, then those of the budget by the area
under the curve of phases found over alerts a host and day, up to 1.5, and ``least`` for so many alerts there. Of a
phase missed it is said how far it was from being found.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from analyzers.anomaly.budget import BudgetSettings
from analyzers.anomaly.budget_fleet import ShiftSettings
from benchmarks.ait_ads_alarms import DAY, Found, alarms
from benchmarks.ait_ads_choice import AIM, PER_DAY, left_out
from benchmarks.ait_ads_data import ARCHIVE, Window, judged, load
from benchmarks.ait_ads_scores import BASELINES, Scored, rank, rarity


def main() -> int:
    """Measure and print; the figures as JSON with ``--json``."""
    parser = argparse.ArgumentParser(prog="winnow bench ait_ads", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("WINNOW_DATA", "../shared/data")))
    parser.add_argument("--quick", action="store_true", help="without other detectors and without leaving out")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if not (args.data / ARCHIVE).is_file():
        print(f"no {ARCHIVE} in {args.data}: name the data sets' folder by --data or WINNOW_DATA", file=sys.stderr)
        return 2
    report = measure(load(args.data), args.quick)
    print(json.dumps(report) if args.json else table(report))
    return 0


def measure(scenarios: Mapping[str, Sequence[Window]], quick: bool) -> dict[str, Any]:
    """Return all figures."""
    report: dict[str, Any] = {"budget": PER_DAY, "scenarios": {}, "left_out": {}}
    for name, windows in scenarios.items():
        say(f"{name}: {len(windows)} windows")
        scored, cost = rarity(windows)
        found = alarms(scored, BudgetSettings(per_day=PER_DAY), ShiftSettings())
        ranks = {"rarity": rank(windows, [one.surprise for one in scored])}
        if not quick:
            ranks |= {other: rank(windows, score(windows)) for other, score in BASELINES.items()}
        report["scenarios"][name] = {
            "windows": len(windows),
            "ranks": {other: found._asdict() for other, found in ranks.items()},
            "cost": cost._asdict(),
            "alarms": told(found),
            "missed": {phase: profile(scored, phase) for phase in sorted(found.phases - found.found)},
        }
    report["found"] = total(row["alarms"] for row in report["scenarios"].values())
    if not quick:
        for aim, chosen in left_out(scenarios).items():
            rows = {
                name: one._asdict() | {"rank": one.rank._asdict(), "alarms": told(one.alarms)}
                for name, one in chosen.items()
            }
            report["left_out"][f"{aim:g}"] = {"scenarios": rows, "found": total(row["alarms"] for row in rows.values())}
    return report


def told(found: Found) -> dict[str, Any]:
    """Return what alarms found, in numbers and by name."""
    return {
        "phases": len(found.phases),
        "found": len(found.found),
        "missed": sorted(found.phases - found.found),
        "began": len(found.began),
        **{key: getattr(found, key) for key in ("alerts", "per_host_day", "false", "shifts", "refused", "most")},
    }


def profile(scored: Sequence[Scored], phase: str) -> dict[str, Any]:
    """Return how near a phase came to be found: its most surprising window, and how many others are as surprising.

    Windows that do not count are no others; ``as_rare_a_host_day`` is what a bare threshold at its surprise would say.
    """
    since = judged([one.window for one in scored])
    later = [one for one in scored if one.window.start >= since]
    own = [one for one in later if phase in one.window.phases]
    best = max(own, key=lambda one: one.surprise)
    others = [one for one in later if one.window.counted and not one.window.positive]
    as_rare = sum(one.surprise >= best.surprise for one in others)
    days = (scored[-1].window.start - since) / DAY * len({one.window.host for one in scored})
    return {
        "windows": len(own),
        "host": best.window.host,
        "values": best.window.counts,
        "surprise": best.surprise,
        "as_rare": as_rare,
        "as_rare_a_host_day": as_rare / days,
        "of": len(others),
    }


def total(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many phases were found in all."""
    rows = list(rows)
    return {key: sum(row[key] for row in rows) for key in ("phases", "found", "began")}


def table(report: Mapping[str, Any]) -> str:
    """Return the report as text."""
    lines = ["ROC AUC / average precision"]
    scenarios = report["scenarios"]
    lines.append(f"{'':<28}" + "".join(f"{name:>18}" for name in scenarios))
    for other in next(iter(scenarios.values()))["ranks"]:
        lines.append(f"{other:<28}" + "".join(_pair(row["ranks"][other]) for row in scenarios.values()))
    left = report["left_out"]
    if left:
        ranks = (left[f"{AIM:g}"]["scenarios"][name]["rank"] for name in scenarios)
        lines.append(f"{'rarity, left out':<28}" + "".join(_pair(one) for one in ranks))
    lines += ["", f"alarms by a budget of {report['budget']} a host and day: phases found, alerts a host and day"]
    told_of = {"as set": {"scenarios": scenarios, "found": report["found"]}}
    told_of |= {f"left out, for {aim}": row for aim, row in left.items()}
    for title, row in told_of.items():
        for name, one in row["scenarios"].items():
            alarmed = one["alarms"]
            missed = f", missed {', '.join(alarmed['missed'])}" if alarmed["missed"] else ""
            lines.append(
                f"{title:<20}{name:<18}{alarmed['found']} of {alarmed['phases']} ({alarmed['began']} began one)"
                f" {alarmed['per_host_day']:6.2f}; {alarmed['false']} of {alarmed['alerts']} without an attack,"
                f" {alarmed['shifts']} shifts, {alarmed['refused']} refused, at most {alarmed['most']}{missed}"
            )
        found = row["found"]
        lines.append(f"{title:<20}{'all':<18}{found['found']} of {found['phases']} ({found['began']} began one)")
    for name, row in scenarios.items():
        for phase, near in row["missed"].items():
            values = ", ".join(f"{value} x {count}" for value, count in near["values"].items())
            lines.append(
                f"missed as set: {phase} of {name}, {near['windows']} windows, the most surprising {values} on"
                f" {near['host']}, {near['surprise']:.2f} decades; as many have {near['as_rare']} of {near['of']}"
                f" windows without an attack, {near['as_rare_a_host_day']:.2f} a host and day"
            )
    costs = [row["cost"] for row in scenarios.values()]
    lines += [
        "",
        f"a window {max(cost['microseconds'] for cost in costs):.0f} µs; a host at most"
        f" {max(cost['snapshot'] for cost in costs)} bytes in a snapshot, {max(cost['memory'] for cost in costs)} in"
        f" memory; the fleet {max(cost['fleet'] for cost in costs)} bytes",
    ]
    return "\n".join(lines)


def _pair(found: Mapping[str, float]) -> str:
    return f"{found['auc']:>11.4f} /{found['ap']:5.3f}"


def say(text: str) -> None:
    """Tell progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
