"""How well rarity ranks attacks in the AIT alert data set, and what its alarms by budget find and cost.

``winnow bench ait_ads [--data DIR] [--json]``. A window is a host and minute with alerts; positive if an event of an
attack is in it, negative if it is not even in the time of one; the first 24 hours only teach. Shown for the settings
that Winnow has, for other detectors, and for settings chosen without the scenario they are measured on (left out):
those of the score by the other two's logits of ROC AUC and average precision, then those of the budget by phases found
at no more than 1.5 alerts a host and day in each.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from analyzers.anomaly.budget import BudgetSettings
from analyzers.anomaly.budget_fleet import ShiftSettings
from benchmarks.ait_ads_alarms import Found, alarms
from benchmarks.ait_ads_data import ARCHIVE, Window, load
from benchmarks.ait_ads_scores import BASELINES, Rank, Scored, rank, rarity

#: What is chosen from when a scenario is left out.
SCORES: Mapping[str, Sequence[float]] = {
    "half_life": (43_200.0, 86_400.0, 172_800.0),
    "strength": (86_400.0, 172_800.0),
    "others": (0.0, 0.2),
    "carry": (0.0, 0.3),
}
BUDGETS: Mapping[str, Sequence[float]] = {
    "least": (2.5, 2.75, 3.0, 3.25),
    "step": (0.2, 0.4),
    "calm_hours": (24.0, 48.0),
    "habituation": (0.25, 0.75),
    "hosts": (3, 5),
}
PER_DAY = 5
MOST_ALERTS = 1.5
#: Of settings that find as much the one whose alerts a host and day are nearest to this: with room on both sides.
AIM = 1.0


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
    report: dict[str, Any] = {"budget": PER_DAY, "scenarios": {}}
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
        }
    report["found"] = total(row["alarms"] for row in report["scenarios"].values())
    if not quick:
        report["left_out"] = left_out(scenarios)
        report["left_out_found"] = total(row["alarms"] for row in report["left_out"].values())
    return report


def left_out(scenarios: Mapping[str, Sequence[Window]]) -> dict[str, Any]:
    """Return for each scenario the settings chosen on the others, and what they give on it."""
    ranks: dict[tuple[str, int], Rank] = {}
    choices = list(grid(SCORES))
    for number, settings in enumerate(choices):
        say(f"leaving out: score settings {number + 1} of {len(choices)}")
        for name, windows in scenarios.items():
            scored, _ = rarity(windows, explain=False, **settings)
            ranks[name, number] = rank(windows, [one.surprise for one in scored])
    found: dict[str, Any] = {}
    for name, windows in scenarios.items():
        say(f"leaving out {name}: budget settings")
        others = [other for other in scenarios if other != name]
        best = max(range(len(choices)), key=lambda n: sum(worth(ranks[other, n]) for other in others))
        chosen = choices[best]
        scored = {other: rarity(scenarios[other], **chosen)[0] for other in others}
        budget = max(grid(BUDGETS), key=lambda settings: merit([raised(one, settings) for one in scored.values()]))
        found[name] = {
            "score": chosen,
            "budget": budget,
            "rank": ranks[name, best]._asdict(),
            "alarms": told(raised(rarity(windows, **chosen)[0], budget)),
        }
    return found


def raised(scored: Sequence[Scored], settings: Mapping[str, float]) -> Found:
    """Run alarms with these settings."""
    own = {key: value for key, value in settings.items() if key != "hosts"}
    shifts = ShiftSettings(least=settings["least"], hosts=int(settings["hosts"]))
    return alarms(scored, BudgetSettings.model_validate({"per_day": PER_DAY, **own}), shifts)


def worth(found: Rank) -> float:
    """Return what a ranking is worth when settings are compared: errors of both kinds in proportion."""
    return sum(math.log(max(p, 1e-9) / max(1.0 - p, 1e-9)) for p in found)


def merit(found: Sequence[Found]) -> tuple[bool, int, float]:
    """Return by what budget settings are compared, the greatest first."""
    rates = [one.per_host_day for one in found]
    return max(rates) <= MOST_ALERTS, sum(len(one.found) for one in found), -abs(max(rates) - AIM)


def grid(of: Mapping[str, Sequence[float]]) -> Iterable[dict[str, float]]:
    """Yield each combination of settings."""
    for values in itertools.product(*of.values()):
        yield dict(zip(of, values, strict=True))


def told(found: Found) -> dict[str, Any]:
    """Return what alarms found, in numbers and by name."""
    return {
        "phases": len(found.phases),
        "found": len(found.found),
        "missed": sorted(found.phases - found.found),
        "began": len(found.began),
        **{key: getattr(found, key) for key in ("alerts", "per_host_day", "false", "shifts", "refused", "most")},
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
    left = report.get("left_out", {})
    if left:
        lines.append(f"{'rarity, left out':<28}" + "".join(_pair(left[name]["rank"]) for name in scenarios))
    lines += ["", f"alarms by a budget of {report['budget']} a host and day: phases found, alerts a host and day"]
    for title, rows, found in (
        ("as set", scenarios, report["found"]),
        ("left out", left, report.get("left_out_found", {})),
    ):
        for name, row in rows.items():
            alarmed = row["alarms"]
            missed = f", missed {', '.join(alarmed['missed'])}" if alarmed["missed"] else ""
            lines.append(
                f"{title:<10}{name:<18}{alarmed['found']} of {alarmed['phases']} ({alarmed['began']} began one)"
                f" {alarmed['per_host_day']:6.2f}; {alarmed['false']} of {alarmed['alerts']} without an attack,"
                f" {alarmed['shifts']} shifts, {alarmed['refused']} refused, at most {alarmed['most']}{missed}"
            )
        if rows:
            lines.append(f"{title:<10}{'all':<18}{found['found']} of {found['phases']} ({found['began']} began one)")
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
