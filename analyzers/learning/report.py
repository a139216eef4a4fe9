"""The report of a training: figures as JSON, a page in Markdown, plots as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from analyzers.learning.evaluate import HTTP
from analyzers.learning.measures import interval

Figures = dict[str, Any]
#: What is asked for: name, where it stands in a judge's figures, the least it may be or, if negative, the most.
BARS: Final[tuple[tuple[str, tuple[str, ...], float], ...]] = (
    ("HTTP parameters, macro F1", ("http", "macro_f1"), 0.990),
    ("HTTP parameters, F1 of cmdi", ("http", "labels", "cmdi", "f1"), 0.97),
    ("HTTP parameters, calibration error", ("http", "calibration_error"), -0.01),
    ("held-back templates, calibration error", ("home", "calibration_error"), -0.01),
    ("wrapped commands, worst recall at 1 %", ("robustness", "wrapped"), 0.995),
    ("encoded HTTP, worst recall at 0.1 %", ("robustness", "encoded"), 0.995),
)
_ABROAD: Final = 0.93
_FAMILIES: Final = 0.90
_KEYS: Final = ("precision", "recall", "f1")
_ABROAD_KEYS: Final = {
    "recall_at_1_percent": "recall at 1 %",
    "recall_at_0_1_percent": "recall at 0.1 %",
    "precision": "precision at .5",
    "recall": "recall at .5",
    "f1": "F1 at .5",
    "calibration_error": "calibration error",
}


def _met(met: bool) -> str:
    return "yes" if met else "**no**"


def _worst(trials: dict[str, float]) -> float:
    return min(value for name, value in trials.items() if name != "as they are")


def _number(values: Sequence[float], digits: int = 4) -> str:
    mean, half = interval(values)
    return f"{mean:.{digits}f}" + (f" ± {half:.{digits}f}" if half is not None else "")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def _at(figures: Any, *path: str) -> Any:
    """Return what stands at a path of names; None if there is nothing."""
    for name in path:
        figures = figures.get(name) if isinstance(figures, dict) else None
    return figures


class _Page:
    """The encoder's figures beside the baseline's."""

    def __init__(self, report: Figures) -> None:
        self.report = report
        self.judges: dict[str, list[Figures]] = {
            judge: [seed[judge] for seed in report["seeds"]] for judge in ("encoder", "baseline")
        }
        self.first = self.judges["encoder"][0]

    def both(self, *path: str, digits: int = 4) -> list[str]:
        """Return the mean over seeds of the encoder and of the baseline."""
        return [_number([_at(one, *path) for one in some], digits) for some in self.judges.values()]

    def opening(self) -> str:
        """Say what was trained."""
        count = len(self.judges["encoder"])
        seeds = f"{count} seeds, means with 95 % intervals" if count > 1 else "1 seed, so no intervals"
        return (
            f"# The text model: report of its training\n\nModel {self.report['model']}. {seeds}; about "
            f"{self.report['texts']:,} texts an epoch, {self.report['epochs']} epochs. The baseline is TF-IDF of "
            "character n-grams with logistic regression, on texts of the same kind and number, changed alike.\n"
        )

    def bars(self) -> str:
        """Set each figure beside what was asked."""
        rows = []
        for name, path, bar in BARS:
            if _at(self.first, *path) not in (None, {}):
                values = [self.value(judge, path) for judge in self.judges]
                met = values[0] >= bar if bar > 0 else values[0] <= -bar
                rows.append((name, f"{'≥' if bar > 0 else '≤'} {abs(bar)}", *map("{:.4f}".format, values), _met(met)))
        for name in self.first.get("abroad", {}):
            found = [self.value(judge, ("abroad", name, "told", "f1")) for judge in self.judges]
            rows.append(
                (f"{name}, F1", f"≥ {_ABROAD}", *(f"{value:.4f}" for value in found), _met(found[0] >= _ABROAD))
            )
        if "families" in self.report:
            some = [list(self.report["families"][judge].values()) for judge in self.judges]
            means = [sum(values) / len(values) for values in some]
            said = (f"goal {_FAMILIES}", *(f"{mean:.4f}" for mean in means), _met(means[0] >= _FAMILIES))
            rows.append(("families left out, mean recall at 0.1 %", *said))
        return "## Against what was asked\n\n" + _table(("what", "bar", "encoder", "baseline", "met"), rows)

    def value(self, judge: str, path: Sequence[str]) -> float:
        """Return a figure's mean over seeds; of a group of trials that of the worst."""
        values = [_at(one, *path) for one in self.judges[judge]]
        return sum(_worst(value) if isinstance(value, dict) else value for value in values) / len(values)

    def labels(self, part: str, title: str) -> str:
        """List precision, recall and F1 a label."""
        rows = [
            (label, str(first["count"]), *(cell for key in _KEYS for cell in self.both(part, "labels", label, key)))
            for label, first in self.first[part]["labels"].items()
        ]
        head = ("label", "texts", "precision", "baseline", "recall", "baseline", "F1", "baseline")
        error = self.both(part, "calibration_error")
        return (
            f"## {title}\n\n{self.first[part]['texts']:,} texts. Calibration error {error[0]}, baseline {error[1]}.\n\n"
            + _table(head, rows)
        )

    def abroad(self, name: str) -> str:
        """Tell of texts by others."""
        first = self.first["abroad"][name]
        rows = [
            (f"{said}, source {told}", *self.both("abroad", name, told, key))
            for told in ("told", "untold")
            for key, said in _ABROAD_KEYS.items()
        ]
        rows += [
            (f"recall at 1 %: {trial}", *self.both("abroad", name, "wrapped", trial)) for trial in first["wrapped"]
        ]
        title = f"## {name}: {first['texts']:,} texts, {first['malicious']:,} of them malicious, never trained on\n\n"
        return title + _table(("measure", "encoder", "baseline"), rows)

    def trials(self) -> str:
        """Tell of texts written in other ways."""
        groups = {"wrapped": "commands, recall at 1 %", "encoded": "HTTP, recall at 0.1 %"}
        rows = [
            (f"{said}: {trial}", *self.both("robustness", group, trial))
            for group, said in groups.items()
            for trial in self.first["robustness"][group]
        ]
        return "## Written in other ways\n\n" + _table(("trial", "encoder", "baseline"), rows)

    def families(self) -> str:
        """Tell of families that were left out of training."""
        found = self.report["families"]
        rows = [(name, *(f"{found[judge][name]:.3f}" for judge in self.judges)) for name in sorted(found["encoder"])]
        title = "## Families left out of training: recall at 0.1 % false positives\n\n"
        return f"{title}{found['note']}\n\n" + _table(("family", "encoder", "baseline"), rows)

    def speed(self) -> str:
        """Tell of speed and of what the export changed."""
        parity, rates = self.report["parity"], self.both("texts_per_second", digits=0)
        return (
            f"## Speed and parity\n\n{rates[0]} texts a second of one core cold, canonical form and tokens included; "
            f"baseline {rates[1]}. Against torch in full precision, over {parity['texts']:,} texts: ONNX moves "
            f"probabilities by at most {parity['onnx']:.6f}, int8 by at most {parity['int8']:.4f} (99.9 % of the "
            f"texts: {parity['int8_999']:.4f}); labels agree on {parity['agree']:.3%} of them.\n"
        )


def markdown(report: Figures) -> str:
    """Return the page: every figure of the encoder beside the baseline's, with 95 % intervals where seeds allow."""
    page = _Page(report)
    parts = [page.opening(), page.bars(), page.labels("home", "Texts of templates that training never saw")]
    if "http" in page.first:
        parts.append(page.labels("http", "HTTP parameters, held-back part"))
    parts += [page.abroad(name) for name in page.first.get("abroad", {})]
    parts.append(page.trials())
    if "families" in report:
        parts.append(page.families())
    parts.append(page.speed())
    return "\n".join(parts)


def plots(report: Figures, folder: Path) -> list[Path]:
    """Draw reliability and confusion as PNG; return the files."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    first = report["seeds"][0]
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 5))
    sets = [("home", "held-back templates")] + ([("http", "HTTP parameters")] if "http" in first["encoder"] else [])
    for axis, judge in zip(axes, ("encoder", "baseline"), strict=True):
        axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
        drawn = [(said, first[judge][key]["reliability"]) for key, said in sets]
        drawn += [(name, found["told"]["reliability"]) for name, found in first[judge].get("abroad", {}).items()]
        for said, bins in drawn:
            axis.plot([mean for mean, _, _ in bins], [share for _, share, _ in bins], marker="o", label=said)
        axis.set(title=judge, xlabel="probability said", ylabel="share malicious", xlim=(0, 1), ylim=(0, 1))
        axis.legend(loc="upper left")
    written = [folder / "reliability.png"]
    figure.tight_layout()
    figure.savefig(written[0], dpi=110)
    pyplot.close(figure)
    if "http" in first["encoder"]:
        figure, axes = pyplot.subplots(1, 2, figsize=(12, 5))
        names = [*HTTP, "benign"]
        for axis, judge in zip(axes, ("encoder", "baseline"), strict=True):
            rows = first[judge]["http"]["confusion"]
            axis.imshow([[value / max(sum(row), 1) for value in row] for row in rows], cmap="Blues", vmin=0, vmax=1)
            for y, row in enumerate(rows):
                for x, value in enumerate(row):
                    if value:
                        axis.text(x, y, str(value), ha="center", va="center", color="black" if y != x else "white")
            axis.set(title=judge, xlabel="said", ylabel="is")
            axis.set_xticks(range(len(names) + 1), [*names, "other"], rotation=45)
            axis.set_yticks(range(len(names)), names)
        written.append(folder / "confusion.png")
        figure.tight_layout()
        figure.savefig(written[-1], dpi=110)
        pyplot.close(figure)
    return written
