"""Draw the curves that thresholds were chosen from. Needs Matplotlib, which nothing that serves imports."""

from __future__ import annotations

import math
from pathlib import Path

from analyzers.router.calibration import ANY, Calibration


def draw(calibration: Calibration, path: Path) -> None:
    """Write a PNG: a panel a source, share of malicious texts missed and of benign ones left, by threshold.

    Raises:
        ImportError: Matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6 * len(calibration.sources), 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(calibration.sources), squeeze=False)[0]
    for axes, (source, fitted) in zip(panels, sorted(calibration.sources.items()), strict=True):
        odds = [math.log10(point.threshold / (1 - point.threshold)) for point in fitted.curve]
        axes.plot(odds, [point.missed / fitted.malicious for point in fitted.curve], label="malicious, decided benign")
        if fitted.benign:
            axes.plot(odds, [point.above / fitted.benign for point in fitted.curve], label="benign, not decided benign")
        axes.axhline(calibration.max_miss_rate, color="grey", linestyle=":", label="limit of the first")
        chosen = math.log10(fitted.benign_below / (1 - fitted.benign_below))
        axes.axvline(chosen, color="black", linestyle="--", label=f"chosen: {fitted.benign_below}")
        axes.set_yscale("symlog", linthresh=0.001)
        axes.set_ylim(0, 1.05)
        axes.set_xlabel("threshold, log10 of the odds")
        axes.set_title(
            f"{'all texts' if source == ANY else source}: {fitted.malicious:,} malicious, {fitted.benign:,} benign"
        )
        axes.legend(fontsize=8)
    panels[0].set_ylabel("share of the labelled texts")
    figure.savefig(path, dpi=120)
