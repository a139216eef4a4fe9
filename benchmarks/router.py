"""Whether the router keeps what its calibration promises, and what it costs: a simulation on labelled texts.

``winnow bench router [--data DIR] [--splits N] [--llm-misses R] [--llm-accuses R] [--plot FILE] [--json]``. The texts
are real or written from templates, none seen in training; the text judge is the shipped one. **The LLM is an oracle**:
it knows the truth and errs at the stated rates, at the stated price; no model is asked. Rules do not read single texts,
so there is no rules-only row. Shown are: in how many of N random splits more malicious texts are settled as benign than
calibration claims; by how much that is exceeded where what comes is unlike what was labelled, and whether the drift
watch says so; and what policies miss, accuse and cost beside asking the LLM about every text.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analyzers.bert.manifest import BUILTIN_MODEL
from analyzers.router.calibration import CalibrationError
from analyzers.router.learn_then_test import calibrate
from analyzers.router.settings import RouterSettings
from benchmarks.router_breaks import breaks, splits
from benchmarks.router_policies import Oracle, Outcome, columns, policies
from benchmarks.router_texts import Sample, read
from benchmarks.router_times import later

#: Limits that calibrations of the cost table are fitted for: texts missed, and benign texts accused (None: as alerts).
LIMITS: tuple[tuple[float, float | None], ...] = (
    (0.005, None),
    (0.01, None),
    (0.01, 0.005),
    (0.02, None),
    (0.02, 0.005),
    (0.03, 0.005),
    (0.04, 0.005),
)
#: Share of the cost of an LLM asked about everything that is aimed at.
GOAL = 0.02
#: Splits that a row of the cost table is the mean of.
ROWS = 20
#: Shares of malicious texts for which cost is told beside that of the sets: one in a thousand.
RARE = 0.001


def main() -> int:
    """Simulate and print; the figures as JSON with ``--json``."""
    settings = RouterSettings()
    parser = argparse.ArgumentParser(prog="winnow bench router", description=__doc__)
    parser.add_argument("--data", type=Path, metavar="DIR", help="the data sets (default: WINNOW_DATA)")
    parser.add_argument("--model", type=Path, default=BUILTIN_MODEL, metavar="DIR", help="default: the shipped one")
    parser.add_argument("--texts", type=int, default=20_000, help="texts of a set, at most (default: 20000)")
    parser.add_argument("--splits", type=int, default=100, help="random splits (default: 100)")
    parser.add_argument("--share", type=float, default=0.25, help="of texts that calibration sees (default: 0.25)")
    parser.add_argument("--max-miss-rate", type=float, default=settings.max_miss_rate)
    parser.add_argument("--confidence", type=float, default=settings.confidence)
    parser.add_argument("--llm-misses", type=float, default=0.02, help="of malicious texts (default: 0.02)")
    parser.add_argument("--llm-accuses", type=float, default=0.01, help="of benign texts (default: 0.01)")
    parser.add_argument("--price", type=float, default=settings.call_price, help="of a call (default: %(default)s)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write cost against error as PNG")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    data = args.data or (Path(os.environ["WINNOW_DATA"]) if os.environ.get("WINNOW_DATA") else None)
    if data is None or not (data / "shell_commands").is_dir():
        parser.error("needs the labelled data sets: --data DIR or WINNOW_DATA")
    oracle = Oracle(args.llm_misses, args.llm_accuses)
    args.data = data
    model, samples = read(data, args.model, args.texts)
    held_back = [sample for sample in samples if sample.set != "templates"]
    try:
        result = simulate(samples, held_back, model, oracle, args)
    except CalibrationError as error:
        parser.error(str(error))
    if args.plot is not None:
        draw(result["costs"], args.plot)
    print(json.dumps(result, indent=1) if args.json else table(result))
    return 0


def simulate(
    samples: Sequence[Sample], held_back: Sequence[Sample], model: str, oracle: Oracle, args: argparse.Namespace
) -> dict[str, Any]:
    """Return all figures."""
    rows = costs(held_back, model, args.confidence, oracle, args.price)
    return {
        "simulation": f"oracle LLM: misses {oracle.misses:.1%}, accuses {oracle.accuses:.1%}, {args.price:g} a call",
        "model": model,
        "texts": {
            " ".join((name, source, "malicious" if truth else "benign")): count
            for (name, source, truth), count in sorted(
                Counter((s.set, s.labelled.source, s.labelled.truth) for s in samples).items()
            )
        },
        "splits": splits(held_back, model, args.max_miss_rate, args.confidence, args.share, args.splits),
        "breaks": breaks(samples, model, args.max_miss_rate, args.confidence, oracle, (0.3, 0.01)),
        "later": later(args.data, args.model, args.max_miss_rate, args.confidence),
        "costs": rows,
        "goal": goal(rows),
    }


def costs(
    samples: Sequence[Sample], model: str, confidence: float, oracle: Oracle, price: float
) -> list[dict[str, Any]]:
    """Return what each policy misses, accuses and costs, on the half that calibration did not see; means of splits."""
    labelled = [sample.labelled for sample in samples]
    found: dict[str, list[Outcome]] = {}
    prevalence = sum(text.truth for text in labelled) / len(labelled)
    for seed in range(ROWS):
        dealt = list(labelled)
        random.Random(f"costs-{seed}").shuffle(dealt)
        half = len(dealt) // 2
        fitted = {
            f"calibrated, {rate:.1%} missed" + ("" if accused is None else f", {accused:.1%} accused"): calibrate(
                dealt[:half], model, rate, confidence, max_false_rate=accused
            )
            for rate, accused in LIMITS
        }
        for name, outcome in policies(columns(dealt[half:]), fitted, oracle).items():
            found.setdefault(name, []).append(outcome)
    rows = []
    for name, outcomes in found.items():
        mean = Outcome(*np.mean(outcomes, axis=0).tolist())
        rows.append(
            {
                "policy": name,
                "missed": mean.missed,
                "accused": mean.accused,
                "error": mean.error,
                "settled_malicious": mean.settled_malicious,
                "calls": mean.calls(prevalence),
                "price_per_1000": 1_000 * price * mean.calls(prevalence),
                "calls_rare": mean.calls(RARE),
                "price_per_1000_rare": 1_000 * price * mean.calls(RARE),
            }
        )
    return rows


def goal(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the cheapest calibrated policy that neither misses nor accuses more than an LLM asked about everything."""
    (llm,) = [row for row in rows if row["policy"] == "LLM for everything"]
    good = [
        row
        for row in rows
        if row["policy"].startswith("calibrated")
        and row["missed"] <= llm["missed"]
        and row["accused"] <= llm["accused"]
    ]
    best: dict[str, Any] = {}
    for which in ("calls", "calls_rare"):
        if good:
            row = min(good, key=lambda each: float(each[which]))
            best[which] = {"policy": row["policy"], "share_of_cost": row[which], "met": row[which] <= GOAL}
    return best


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write cost against error as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    groups = {"calibrated": "o", "at random": "x", "fixed": "s", "uncalibrated": "D", "BERT": "^", "LLM": "*"}
    for start, marker in groups.items():
        for row in (row for row in rows if row["policy"].startswith(start)):
            axes.scatter(row["calls_rare"], row["error"], marker=marker, label=row["policy"])
    axes.set_xscale("symlog", linthresh=1e-4)
    axes.set_xlim(-1e-5, 1.5)
    axes.set_yscale("log")
    axes.set_xlabel(f"calls a text where {RARE:.1%} are malicious: cost beside LLM for everything")
    axes.set_ylabel("mean of missed and accused shares")
    axes.set_title("Simulation: labelled texts, an oracle for the LLM")
    figure.legend(loc="outside right upper", fontsize=7)
    figure.savefig(path, dpi=120)


def table(result: dict[str, Any]) -> str:
    """Return the figures for people."""
    said = result["splits"]
    lines = [
        f"SIMULATION, {result['simulation']}; text model {result['model']}",
        "; ".join(f"{name} {count:,}" for name, count in result["texts"].items()),
        "",
        f"Claim: at most {said['max_miss_rate']:.1%} of malicious texts of a source settled as benign, both sources at "
        f"once with {said['confidence']:.0%}. {said['splits']} random parts of "
        + ", ".join(f"{count:,} malicious of {source}" for source, count in said["calibrated_on"].items()),
        f"  exceeded, true rate (drawn with replacement, of all texts): {said['exceeded']['all']} of {said['splits']}, "
        f"worst {said['worst']['all']:.2%}, mean {said['mean']['all']:.2%}",
        f"  exceeded, as seen on the rest (whose own chance adds): {said['exceeded']['rest']} of {said['splits']}, "
        f"worst {said['worst']['rest']:.2%}, mean {said['mean']['rest']:.2%}",
        "",
        f"{'What comes is not what was labelled':<60}{'texts':>7}{'missed':>9}  noticed by the drift watch at",
    ]
    for row in result["breaks"]:
        if "refused" in row:
            lines.append(f"{row['case']:<60} refused: {row['refused']}")
            continue
        noticed = "; ".join(f"{float(p):.0%}: {', '.join(kinds) or 'no'}" for p, kinds in row["noticed"].items())
        lines.append(f"{row['case']:<60}{row['malicious']:>7,}{row['missed']:>9.2%}  {noticed}")
    lines += ["", "Calibrated on the first half of the time, tried on the second; each text once, where it first came"]
    for row in result["later"]:
        lines.append(f"  {row['set']}: malicious of {_listed(row['before'])}; then {_listed(row['after'])}")
        if "refused" in row:
            lines.append(f"    refused: {row['refused']}")
            continue
        rates = ", ".join(f"{source} {share:.2%}" for source, share in row["missed"].items())
        lines.append(f"    missed: {rates}; not calibrated: {_listed(row['not_calibrated'])}")
        lines.append(f"    noticed by the drift watch: {', '.join(row['noticed']) or 'no'}")
    lines += [
        "",
        f"{'Policy':<62}{'missed':>8}{'accused':>9}{'error':>8}{'calls':>9}{'at .1 %':>9}{'a 1,000':>9}",
    ]
    lines += [
        f"{row['policy']:<62}{row['missed']:>8.2%}{row['accused']:>9.2%}{row['error']:>8.2%}{row['calls']:>9.2%}"
        f"{row['calls_rare']:>9.2%}{row['price_per_1000_rare']:>9.4f}"
        for row in result["costs"]
    ]
    lines += ["calls: share of texts that an LLM is asked about, in these sets, and where one in 1,000 is malicious"]
    for which, name in (("calls", "in these sets"), ("calls_rare", "where one in 1,000 is malicious")):
        best = result["goal"].get(which)
        lines.append(
            f"Goal, {GOAL:.0%} of the LLM's cost with neither error above its own, {name}: "
            + (f"{best['share_of_cost']:.2%} ({best['policy']})" if best else "no calibrated policy errs so little")
        )
    return "\n".join(lines)


def _listed(said: dict[str, str]) -> str:
    return ", ".join(f"{source} {what}" for source, what in said.items()) or "none"


if __name__ == "__main__":
    sys.exit(main())
