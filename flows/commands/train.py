"""``winnow train``: train the text model, try it, report."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec

from flows.usage import UsageError

#: Texts with verdicts, as they were read from Postgres for a training.
VERDICTS = "verdicts.jsonl"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "train",
        help="train the text model",
        description="Train the text model on texts written from Winnow's grammars and on the sets named; try it and a "
        "TF-IDF baseline on texts that training never saw; write to DIR the model folder, report.json, REPORT.md and "
        "plots. The same settings and seed give the same model to within rounding. What is done is kept in DIR/work, "
        "and the same command goes on from there. Uses a GPU if there is one. Needs the extra 'train'.",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where model and report go")
    parser.add_argument(
        "--http-params", type=Path, action="append", default=[], metavar="FILE", help="HttpParamsDataset, CSV (.zst)"
    )
    parser.add_argument(
        "--texts", type=Path, action="append", default=[], metavar="FILE",
        help="more texts to train on: JSON lines of text, source and label (benign, or one of the model's)",
    )  # fmt: skip
    parser.add_argument(
        "--from-feedback", action="store_true",
        help="also train on texts that analysts reviewed (winnow audit, winnow incidents close), from Postgres, but "
        f"the newest fifth, which the model is tried with; they are kept in DIR/{VERDICTS}, and a run that goes on "
        "reads them there",
    )  # fmt: skip
    parser.add_argument(
        "--test", type=Path, action="append", default=[], metavar="FILE",
        help="texts to try the model with, never trained on: JSON lines of text, label (benign or not) and source",
    )  # fmt: skip
    parser.add_argument(
        "--test-source",
        default="shell",
        metavar="NAME",
        help="source of texts of --test that name none (default: shell)",
    )
    parser.add_argument(
        "--scale", type=_positive, default=0.5, help="share of 88,000 texts written an epoch (default: 0.5)"
    )
    parser.add_argument("--epochs", type=_count, default=4, metavar="N", help="passes (default: 4)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the first training (default: 0)")
    parser.add_argument(
        "--seeds", type=_count, default=1, metavar="N", help="trainings, for intervals in the report (default: 1)"
    )
    parser.add_argument("--threads", type=_count, default=1, metavar="N", help="of the processor (default: 1)")
    parser.add_argument(
        "--leave-out",
        action="store_true",
        help="also train without some families of attacks, to see what is found then",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file, for --from-feedback")
    parser.set_defaults(run=run)


def _count(said: str) -> int:
    number = int(said)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _positive(said: str) -> float:
    number = float(said)
    if not 0 < number <= 10:
        raise argparse.ArgumentTypeError("must be above 0 and at most 10")
    return number


def run(args: argparse.Namespace) -> int:
    """Train; return 0."""
    try:
        from analyzers.learning.sets import Settings
        from analyzers.learning.train import train
    except ImportError as error:
        raise UsageError(f"{error.name} is not installed: pip install 'winnow[train]'") from None
    from analyzers.learning.http_params import DatasetError

    settings = Settings(
        out=args.out,
        http_params=tuple(args.http_params),
        texts=tuple(args.texts),
        verdicts=(args.out / VERDICTS,) if args.from_feedback else (),
        tests=tuple(args.test),
        test_source=args.test_source,
        scale=args.scale,
        epochs=args.epochs,
        seed=args.seed,
        seeds=args.seeds,
        threads=args.threads,
        leave_out=args.leave_out,
    )
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        if args.from_feedback:
            fetch(args.out / VERDICTS, args.config)
        told = train(settings, Bar())
    except DatasetError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"{error.filename or args.out}: {error.strerror}") from None
    print(_summary(told, args.out))
    return 0


def fetch(path: Path, config: Path | None) -> None:
    """Write the texts with verdicts that Postgres has, unless a run before did; say what there is."""
    from flows.lessons import lessons
    from flows.settings import load_settings

    if path.exists():
        print(f"{path}: texts with verdicts as they were read before; delete it to read them anew", file=sys.stderr)
        return
    said = lessons(load_settings(config))
    left_out = "".join(f"; {number:,} left out: {why}" for why, number in sorted(said.left_out.items()))
    if not said.found:
        raise UsageError(f"no text has an analyst's verdict (winnow audit review, winnow incidents close){left_out}")
    new = path.with_name(f"{VERDICTS}.new")
    new.unlink(missing_ok=True)
    new.touch(0o600)
    new.write_bytes(b"".join(msgspec.json.encode(lesson) + b"\n" for lesson in said.found))
    new.replace(path)
    malicious = sum(lesson.label != "benign" for lesson in said.found)
    print(f"{path}: {len(said.found):,} texts with verdicts, {malicious:,} malicious{left_out}", file=sys.stderr)


class Bar:
    """One line on standard error that is written over; in a file, a line each time that the stage changes."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._stage = ""

    def __call__(self, said: str) -> None:
        """Say how far it is."""
        if self._terminal:
            print(f"\r\x1b[K{said}", end="", file=sys.stderr, flush=True)
            return
        # "seed 0: epoch 1/4  35% loss …": the percentage goes on within a stage.
        stage = said.split("%")[0].rstrip("0123456789 ")
        if stage != self._stage:
            self._stage = stage
            print(said, file=sys.stderr, flush=True)


def _summary(told: dict[str, Any], out: Path) -> str:
    """Return what to look at."""
    f1 = told["seeds"][0]["encoder"]["home"]["malicious"]["f1"]
    return f"{out / 'model'}: model {told['model']}, F1 {f1:.3f}; report: {out / 'REPORT.md'}"
