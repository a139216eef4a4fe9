"""How well scorers find what the Numenta Anomaly Benchmark labels, beside published detectors and controls.

``winnow bench nab [--data DIR] [--scorers NAME,…] [--nested] [--json]``. Every score is of one configuration for all
58 series, and causal. ``best`` has the threshold that is best over the corpus, as NAB's published totals have. ``half``
has it chosen on a random half of the series and applied to the other, mean of 20. What else was chosen on NAB is said
below the table; ``--nested`` chooses that anew, too, on each half (several minutes).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analyzers.anomaly.scorers.registry import scorer_types
from benchmarks import nab_detectors as detectors
from benchmarks.nab_corpus import PROFILES, Array, Scoring, Series, halves, read_corpus

#: Published totals: what this scoring gives for the windowed Gaussian must be the same.
PUBLISHED = {
    "ARTime": (74.85, 65.15, 80.36),
    "Numenta HTM": (70.10, 63.12, 74.32),
    "CAD OSE": (69.90, 66.98, 73.18),
    "windowed Gaussian": (39.65, 20.87, 47.41),
}
CHOSEN = """\
Chosen on NAB's labels: which six (light: three) channels, their rates, lengths and weights, silence, habituation, the
level of an alarm. Chosen on NAB's values only: the tables of calibration. So `best` and `half` flatter; `nested` less:
the lists it chooses from, warm-up, clipping and the horizon of 5,000 values were still made on the whole."""


def main() -> int:
    """Measure and print; the figures as JSON with ``--json``."""
    parser = argparse.ArgumentParser(prog="winnow bench nab", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("WINNOW_DATA", "../shared/data")))
    parser.add_argument("--scorers", default="rich,light", metavar="NAME,…", help="default: rich,light")
    parser.add_argument("--seeds", type=int, default=3, help="of the rich scorer (default: 3)")
    parser.add_argument("--nested", action="store_true", help="choose everything anew on halves, for the rich scorer")
    parser.add_argument("--tables", action="store_true", help="print the tables of calibration, and nothing else")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    names = args.scorers.split(",")
    if unknown := set(names) - set(scorer_types()):
        print(f"no scorer {min(unknown)!r}; known: {', '.join(scorer_types())}", file=sys.stderr)
        return 2
    if not (args.data / "nab").is_dir():
        print(f"no nab in {args.data}: name the data sets' folder by --data or WINNOW_DATA", file=sys.stderr)
        return 2
    os.nice(10)
    corpus = read_corpus(args.data)
    if args.tables:
        from benchmarks.nab_tables import tables

        print(json.dumps(tables(corpus), indent=1))
        return 0
    report = measure(corpus, names, args.seeds)
    if args.nested:
        from benchmarks.nab_nested import nested

        report["nested"] = nested(corpus, say)
    print(json.dumps(report) if args.json else table(report))
    return 0


def measure(corpus: Sequence[Series], names: Sequence[str], seeds: int) -> dict[str, Any]:
    """Return all figures but the nested ones."""
    scoring = Scoring(corpus)
    report: dict[str, Any] = {
        "series": len(corpus),
        "rows": sum(len(series.values) for series in corpus),
        "windows": sum(len(series.windows) for series in corpus),
        "published": PUBLISHED,
        "scorers": {},
        "controls": {},
    }
    say("windowed Gaussian")
    gaussian = [detectors.windowed_gaussian(series.values) for series in corpus]
    report["controls"]["windowed Gaussian, here"] = figures(scoring, [gaussian])
    for name in names:
        runs = []
        for seed in range(1, (seeds if name == "rich" else 1) + 1):
            say(f"{name}, seed {seed}")
            runs.append(detectors.score_all(corpus, name, seed))
        found = figures(scoring, [run.scores for run in runs])
        found["microseconds"] = detectors.cost(name, next(s for s in corpus if s.name.endswith("nyc_taxi.csv")))
        found["bytes"] = max(run.size for run in runs)
        level = scorer_types()[name].ALARM
        found["at_alarm"] = [scoring.at(runs[0].scores, profile, level) for profile in PROFILES]
        found["windows_found"], found["false_alarms"] = scoring.counts(runs[0].scores, level)
        report["scorers"][name] = found
    if "rich" in names:
        say("rich without a policy of alarms")
        report["controls"]["rich, no policy"] = figures(scoring, [detectors.fused_all(corpus)])
    say("controls")
    report["controls"]["policy, random numbers"] = figures(
        scoring, [detectors.chance(corpus, seed, 0.015) for seed in range(3)]
    )
    every = {n: detectors.periodic(corpus, n) for n in (100, 200, 300, 400, 500, 700, 1_000)}
    best = max(every, key=lambda n: scoring.best(every[n], PROFILES[0]).score)
    report["controls"][f"alarm every {best} rows"] = figures(scoring, [every[best]])
    return report


def figures(scoring: Scoring, runs: Sequence[list[Array]]) -> dict[str, list[float]]:
    """Return the means over runs: best of any threshold, and of the threshold of the other half, a profile each."""
    best, half = [], []
    for scores in runs:
        best.append([scoring.best(scores, profile).score for profile in PROFILES])
        for one, other in halves(len(scores)):
            thresholds = [scoring.best(scores, profile, one).threshold for profile in PROFILES]
            half.append([scoring.at(scores, p, t, other) for p, t in zip(PROFILES, thresholds, strict=True)])
    return {"best": np.mean(best, axis=0).tolist(), "half": np.mean(half, axis=0).tolist()}


def table(report: dict[str, Any]) -> str:
    """Return the figures for people."""
    lines = [
        f"{report['series']} series, {report['rows']:,} rows, {report['windows']} windows.",
        "NAB scores: standard / low FP / low FN",
        "",
        f"{'':26}{'best':>22}{'half':>24}{'µs':>7}{'bytes':>7}",
    ]
    for name, found in {**report["scorers"], **report["controls"]}.items():
        cost = f"{found['microseconds']:>7.1f}{found['bytes']:>7,}" if "bytes" in found else ""
        lines.append(f"{name:<26}{three(found['best']):>22}{three(found['half']):>24}{cost}")
    lines += [f"{name + ', published':<26}{three(scores):>22}" for name, scores in report["published"].items()]
    lines.append("")
    for name, found in report["scorers"].items():
        lines.append(
            f"{name}, at its own alarm: {three(found['at_alarm'])}; {found['windows_found']} of"
            f" {report['windows']} windows, {found['false_alarms']} false alarms"
        )
    if nested := report.get("nested"):
        lines.append(
            f"rich, nested: {nested['standard']:.1f} ({min(nested['halves']):.1f} to {max(nested['halves']):.1f} on 20"
            f" halves; {nested['chosen_on']:.1f} on those it was chosen on)"
        )
    return "\n".join([*lines, "", CHOSEN])


def three(scores: Sequence[float]) -> str:
    """Return the scores of the three profiles."""
    return " / ".join(f"{score:.1f}" for score in scores)


def say(text: str) -> None:
    """Tell progress on stderr."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
