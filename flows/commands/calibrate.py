"""``winnow calibrate``: fit from which probability on the text judge settles a text."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from flows.commands.calibration import activated
from flows.settings import load_settings
from flows.telling import add_saying
from flows.usage import UsageError

if TYPE_CHECKING:
    from analyzers.bert.judge import TextJudge
    from analyzers.bert.meanings import Bar
    from analyzers.router.calibration import Calibration
    from analyzers.router.labels import LabelledText, LabelReader
    from analyzers.router.learn_then_test import Labelled

#: Texts judged together.
TOGETHER = 512
FILE, PLOT = "calibration.json", "calibration.png"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "calibrate",
        help="fit from which probability on the text model settles a text",
        description="Fit, by source, below which probability a text is decided benign without asking further, so that "
        "with the stated confidence no more than a stated share of malicious texts is (Learn then Test, exact binomial "
        "p-values), if what comes is like the labelled texts. Writes DIR/calibration.json, with the curve that it was "
        "chosen from, and a plot of it; router.calibration, --activate or winnow calibration activate brings it into "
        "force. Refuses if the labels are too few for the claim: 1 % at 95 % takes 299 malicious texts of a source, "
        "and more if sources share the confidence.",
    )
    labels = parser.add_mutually_exclusive_group(required=True)
    labels.add_argument(
        "--labels", type=Path, action="append", metavar="FILE",
        help="JSON lines of text, source, and label (benign or any other) or malicious (true or false); "
        "repeats count once",
    )  # fmt: skip
    labels.add_argument(
        "--from-feedback", action="store_true",
        help="the audit sample in Postgres as analysts reviewed it (winnow audit), if all of it is; the claim is then "
        "about events like those it was drawn from. Reviews of alerts and incidents are none: what is missed is not "
        "among them",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("calibration"), metavar="DIR", help="default: ./calibration")
    parser.add_argument("--max-miss-rate", type=_rate, metavar="R", help="default: router.max_miss_rate")
    parser.add_argument("--confidence", type=_rate, metavar="C", help="default: router.confidence")
    parser.add_argument(
        "--max-false-rate", type=_rate, metavar="R",
        help="share of benign texts that may be decided malicious; default: what alerts is malicious",
    )  # fmt: skip
    parser.add_argument(
        "--pooled", action="store_true", help="one threshold for all sources; the claim is then about their mixture"
    )
    parser.add_argument("--source", default="", help="source of texts that name none (http, shell, powershell, dns …)")
    parser.add_argument("--model", type=Path, metavar="DIR", help="model folder, instead of that of the settings")
    parser.add_argument(
        "--activate", action="store_true",
        help="bring it into force in the running flow at once, as winnow calibration activate does",
    )  # fmt: skip
    add_saying(parser, "calibrated")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file")
    parser.set_defaults(run=run)


def _rate(said: str) -> float:
    number = float(said)
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError("must be above 0 and below 1")
    return number


def run(args: argparse.Namespace) -> int:
    """Fit and write; return 0."""
    from analyzers.bert.meanings import Bar
    from analyzers.router.calibration import CalibrationError
    from analyzers.router.labels import LabelReader
    from analyzers.router.learn_then_test import calibrate
    from flows.texts import load_judge, version_of

    settings = load_settings(args.config)
    bert, router = settings.bert, settings.router
    if args.model is not None:
        bert = bert.model_copy(update={"model": args.model})
    rate, confidence = args.max_miss_rate or router.max_miss_rate, args.confidence or router.confidence
    if args.from_feedback:
        from flows.feedback import feedback

        version = version_of(bert)
        said = feedback(settings, version, rate, confidence)
        labelled, digest = said.labelled, said.digest
    else:
        judge = load_judge(bert)
        version = judge.version
        reader = LabelReader(args.source.lower())
        labelled = list(_judged(_texts(args.labels, reader), judge, Bar(bert.alert_from, bert.thresholds)))
        digest = reader.digest
    try:
        found = calibrate(
            labelled,
            version,
            rate,
            confidence,
            max_false_rate=args.max_false_rate,
            pooled=args.pooled,
            labels=digest,
            windows=bert.windows,
            screen=bert.screen,
        )
    except CalibrationError as error:
        raise UsageError(str(error)) from None
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        new = args.out / f"{FILE}.new"
        new.write_bytes(found.encode())
        new.replace(args.out / FILE)
        drawn = _draw(found, args.out / PLOT)
    except OSError as error:
        raise UsageError(f"{error.filename or args.out}: {error.strerror}") from None
    print("\n".join(_summary(found, args.out / FILE, drawn)))
    if args.activate:
        print(activated(settings, args.out / FILE, args))
    return 0


def _texts(paths: Iterable[Path], reader: LabelReader) -> Iterator[LabelledText]:
    """Yield the texts of files. UsageError names file and line of what is none."""
    from analyzers.bert.lines import MAX_LINE, LineError

    for path in paths:
        try:
            with path.open("rb") as file:
                number = 0
                while line := file.readline(MAX_LINE + 2):
                    number += 1
                    if not line.strip():
                        continue
                    try:
                        found = reader.read(line.rstrip(b"\r\n"))
                    except LineError as error:
                        raise UsageError(f"{path}:{number}: {error}") from None
                    if found is not None:
                        yield found
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from None


def _judged(texts: Iterator[LabelledText], judge: TextJudge, bar: Bar) -> Iterator[Labelled]:
    """Yield what the judge says of texts; one that it refuses is left to the rules in the flow, too."""
    from analyzers.bert.judge import Verdict
    from analyzers.router.learn_then_test import Labelled

    asked = bar.asked(judge)
    while some := list(islice(texts, TOGETHER)):
        for text, verdict in zip(some, judge.judge([(text.text, text.source) for text in some]), strict=True):
            if isinstance(verdict, Verdict):
                score, label = max(zip(verdict.scores, judge.labels, strict=True))
                yield Labelled(text.source, text.truth, score, asked[label])


def _draw(found: Calibration, path: Path) -> str:
    """Draw the curves; return what to say of it."""
    from analyzers.router.plot import draw

    try:
        draw(found, path)
    except ImportError:
        return "no plot, for Matplotlib is not installed: pip install 'winnow[train]'"
    return f"curves: {path}"


def _summary(found: Calibration, path: Path, drawn: str) -> Iterator[str]:
    """Yield what to look at."""
    from analyzers.router.calibration import ANY

    yield f"{path}: calibration {found.version} for model {found.model}; {drawn}"
    yield (
        f"with confidence {found.confidence:.3g} at most {found.max_miss_rate:.3g} of malicious texts like those "
        "labelled are decided benign"
    )
    for source, fitted in sorted(found.sources.items()):
        high = "where it alerts" if fitted.malicious_from is None else f"{fitted.malicious_from:g}"
        yield (
            f"{'all' if source == ANY else source}: benign below {fitted.benign_below:g} ({fitted.missed:,} of "
            f"{fitted.malicious:,} malicious), malicious from {high}; in between {fitted.unsettled_benign:.2%} of "
            f"{fitted.benign:,} benign and {fitted.unsettled_malicious:.2%} of malicious texts"
        )
    for source, why in sorted(found.refused.items()):
        yield f"{source}: not calibrated: {why}"
    yield f'to use it: router.calibration = "{path}", or in a running flow: winnow calibration activate {path}'
