"""The training set: HTTP parameters of a file and texts from our grammars, no template in two parts."""

from __future__ import annotations

import random
import zlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final, Literal

import msgspec

from analyzers.bert.canonical import SOURCES, canonical
from analyzers.learning import http_params
from analyzers.learning.augment import Augmenter
from analyzers.learning.grammar import Template, Writer, templates

#: In the order of the model's logits.
LABELS: Final = (
    "sqli",
    "xss",
    "path-traversal",
    "cmdi",
    "malicious-shell",
    "malicious-powershell",
    "suspicious-domain",
)
#: Labels of what is the same thing in another place: of a text whose source is not told nobody can say which it is.
ALIKE: Final = ("cmdi", "malicious-shell", "malicious-powershell")
#: Target of a label that nobody can say: it is neither learned from nor calibrated on.
UNSAID: Final = -1
Part = Literal["train", "valid", "test"]
#: Texts written for training, a source, benign and malicious, at scale 1.
SHARES: Final = {
    ("shell", False): 20_000,
    ("shell", True): 18_000,
    ("powershell", False): 5_000,
    ("powershell", True): 5_000,
    ("http", False): 12_000,
    ("http", True): 16_000,
    ("dns", False): 5_000,
    ("dns", True): 4_000,
    ("user-agent", False): 1_500,
    ("user-agent", True): 1_500,
}
#: Within the attacks on HTTP.
_HTTP: Final = {"sqli": 0.4, "xss": 0.2, "path-traversal": 0.15, "cmdi": 0.25}
#: A family of fewer templates than this is not split: all of them are learned from.
_SPLIT_FROM: Final = 4


class Text(msgspec.Struct, frozen=True):
    """A labelled text."""

    text: str
    source: str
    labels: tuple[str, ...]
    family: str


def part_of(template: Template, sizes: dict[str, int]) -> Part:
    """Return the part that a template belongs to: a tenth each for validation and test."""
    if sizes[template.family] < _SPLIT_FROM:
        return "train"
    return {0: "test", 1: "valid"}.get(template.key % 10, "train")  # type: ignore[return-value]


def generated(part: Part, scale: float, seed: int | str, without: Collection[str] = ()) -> list[Text]:
    """Write the texts of a part, each once; ``without`` names families that are left out."""
    rng = random.Random(f"{seed}-{part}")
    writer = Writer(rng)
    sizes = Counter(template.family for template in templates())
    groups: dict[tuple[str, bool], dict[str, list[Template]]] = defaultdict(lambda: defaultdict(list))
    for template in templates():
        # A label without validation texts could not be calibrated: new texts of templates that are not split are some.
        known = part == "valid" and sizes[template.family] < _SPLIT_FROM
        if (part_of(template, sizes) == part or known) and template.family not in without:
            label = template.labels[0] if template.labels else ""
            groups[template.source, bool(label)][label if template.source == "http" else template.source].append(
                template
            )
    found: dict[tuple[str, str], Text] = {}
    for group, wanted in SHARES.items():
        for label, members in groups[group].items():
            total = round(wanted * scale * _HTTP.get(label, 1.0))
            # A template that can be many texts is written more often.
            ways = [1 + template.text.count("¦") + 2 * template.text.count("«") for template in members]
            weights = [template.weight * number**0.5 for template, number in zip(members, ways, strict=True)]
            for template in rng.choices(members, weights, k=total):
                text = writer.write(template.text)
                found[text, template.source] = Text(text, template.source, template.labels, template.family)
    return list(found.values())


def parameters(path: Path, part: Part) -> list[Text]:
    """Return the part of a file of HTTP parameters: a fifth is the test, a tenth validation, by the payload's shape.

    Payloads that differ in digits only are in the same part.
    """
    found = []
    for payload in http_params.read(path):
        shape = zlib.crc32("".join("0" if c.isdigit() else c for c in payload.text).encode()) % 10
        belongs: Part = "test" if shape < 2 else "valid" if shape == 2 else "train"
        if belongs == part:
            kind = payload.labels[0] if payload.labels else "norm"
            found.append(Text(payload.text, "http", payload.labels, f"http_params/{kind}"))
    return found


def benign_pool(texts: Iterable[Text]) -> dict[str, list[str]]:
    """Return the benign texts of each source, to wrap others with."""
    pool: dict[str, list[str]] = defaultdict(list)
    for text in texts:
        if not text.labels:
            pool[text.source].append(text.text)
    return dict(pool)


class Prepared(msgspec.Struct, frozen=True):
    """A text as the judge reads it, with what it is."""

    text: str
    source: int
    features: tuple[float, ...]
    #: A label each: 1 it is, 0 it is not, ``UNSAID``.
    targets: tuple[int, ...]

    @property
    def malicious(self) -> bool:
        """Return whether it has any label."""
        return 1 in self.targets


def prepare(text: Text, source: str | None = None) -> Prepared:
    """Return the canonical form with its labels; ``source`` replaces the text's own."""
    told = source or text.source
    seen = canonical(text.text, told)
    unsaid = ALIKE if told == "unknown" and not set(ALIKE).isdisjoint(text.labels) else ()
    targets = tuple(1 if label in text.labels else UNSAID if label in unsaid else 0 for label in LABELS)
    return Prepared(seen.text, SOURCES.index(told), seen.features, targets)


def epoch(texts: list[Text], seed: int, changed: float = 0.6, untold: float = 0.35) -> list[Prepared]:
    """Return the texts as one pass of training sees them: a share changed, of a share the source not told."""
    rng = random.Random(f"epoch-{seed}")
    augmenter = Augmenter(rng, benign_pool(texts))
    found = []
    for text in texts:
        if rng.random() < changed:
            text = msgspec.structs.replace(text, text=augmenter.change(text.text, text.source))
        found.append(prepare(text, "unknown" if rng.random() < untold else None))
    return found
