"""``winnow classify``: what texts are, by the text judge."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from flows.settings import load_settings
from flows.usage import UsageError

if TYPE_CHECKING:
    from analyzers.bert.judge import TextJudge
    from analyzers.bert.lines import LineReader

#: Lines that are judged together, and bytes that are read at once, at most.
LINES, BYTES = 512, 1 << 20
#: Seconds between two lines of progress.
PROGRESS_SECONDS = 5.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "classify",
        help="say what texts are: SQL injection, a malicious command, benign, …",
        description="Judge texts, one a line, or JSON lines with text and optional source (http, shell, powershell, "
        "dns, user-agent). Prints as many JSON lines, in order: label, malicious (probability of the most probable "
        "label), scores (of each label), model (version); sampled if only parts of a very long text were read. A line "
        "that cannot be judged gets an error instead, and the exit status is 1.",
    )
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="default, or -: standard input")
    parser.add_argument("--source", default="unknown", help="source of texts that name none (default: unknown)")
    parser.add_argument(
        "--input",
        choices=("auto", "text", "json"),
        default="auto",
        help="how lines are read (default: JSON if the first one is a record with a text)",
    )
    parser.add_argument(
        "--explain", action="store_true", help="add explanation: the words that speak most for and against the verdict"
    )
    parser.add_argument("--model", type=Path, metavar="DIR", help="model folder, instead of that of the settings")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Judge each line; return 1 if one could not be."""
    from analyzers.bert.lines import LineReader
    from flows.texts import load_judge

    settings = load_settings(args.config).bert
    if args.model is not None:
        settings = settings.model_copy(update={"model": args.model})
    # Who asks what a text is wants all of its scores.
    judge = load_judge(settings.model_copy(update={"screen": False}))
    reader = LineReader(args.input, args.source)
    if args.file is None or str(args.file) == "-":
        return _classify(sys.stdin.buffer, judge, reader, args.explain)
    try:
        with args.file.open("rb") as file:
            return _classify(file, judge, reader, args.explain)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise UsageError(f"{args.file}: {error.strerror}") from None


def _classify(stream: BinaryIO, judge: TextJudge, reader: LineReader, explain: bool) -> int:
    import orjson

    from analyzers.bert.lines import LineError

    failed = done = 0
    started = said = time.monotonic()
    for lines in _lines(stream):
        answers: list[dict[str, Any] | None] = []
        texts: list[tuple[str, str]] = []
        for line in lines:
            try:
                texts.append(reader.read(line))
                answers.append(None)
            except LineError as error:
                answers.append({"error": str(error)})
        told = _answers(judge, texts, explain)
        out = [next(told) if answer is None else answer for answer in answers]
        failed += sum("error" in answer for answer in out)
        sys.stdout.buffer.write(b"".join(orjson.dumps(answer) + b"\n" for answer in out))
        sys.stdout.buffer.flush()
        done += len(out)
        if time.monotonic() - said >= PROGRESS_SECONDS:
            said = time.monotonic()
            print(f"{done:,} texts, {done / (said - started):,.0f}/s", file=sys.stderr)
    if failed:
        print(f"{failed:,} of {done:,} lines could not be judged", file=sys.stderr)
    return 1 if failed else 0


def _answers(judge: TextJudge, texts: list[tuple[str, str]], explain: bool) -> Iterator[dict[str, Any]]:
    from analyzers.bert.explain import explain as explain_text
    from analyzers.bert.judge import Refused

    for (text, source), verdict in zip(texts, judge.judge(texts), strict=True):
        if isinstance(verdict, Refused):
            yield {"error": verdict.reason}
            continue
        answer: dict[str, Any] = {
            "label": verdict.label,
            "malicious": verdict.malicious,
            "scores": dict(zip(judge.labels, verdict.scores, strict=True)),
            "model": verdict.model,
        }
        if verdict.sampled:
            answer["sampled"] = True
        if explain:
            answer["explanation"] = [
                {"text": part.text, "weight": part.weight} for part in explain_text(judge, text, source)
            ]
        yield answer


def _lines(stream: BinaryIO) -> Iterator[list[bytes]]:
    """Yield lines without their ends as they come, so that who writes line by line is answered line by line."""
    from analyzers.bert.lines import MAX_LINE

    read = getattr(stream, "read1", stream.read)
    rest = b""
    over = False
    while chunk := read(BYTES):
        *whole, rest = (rest + chunk).split(b"\n")
        if over and whole:
            # What is beyond the limit was given as the beginning of its line already.
            whole, over = whole[1:], False
        if over:
            rest = b""
        elif len(rest) > MAX_LINE:
            whole.append(rest[: MAX_LINE + 1])
            rest, over = b"", True
        for start in range(0, len(whole), LINES):
            yield [line.removesuffix(b"\r") for line in whole[start : start + LINES]]
    if rest:
        yield [rest.removesuffix(b"\r")]
