"""Labels from analysts: the audit sample as they reviewed it, if a claim can rest on it, and texts to train on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from analyzers.bert.canonical import canonical
from analyzers.router.exact import least_trials
from analyzers.router.learn_then_test import Labelled
from flows.settings import Settings
from flows.usage import UsageError
from operators.formats import Decoder
from operators.formats.settings import FormatSettings
from state.audits import Sampled, sample
from state.postgres import connect, explained
from state.reviewed import ReviewedEvent, ReviewedText, reviewed_events, reviewed_texts

#: What a malicious text of a source can be.
LABELS: Final = {
    "shell": ("malicious-shell",),
    "powershell": ("malicious-powershell",),
    "dns": ("suspicious-domain",),
    "http": ("sqli", "xss", "path-traversal", "cmdi"),
    "user-agent": ("sqli", "xss", "path-traversal", "cmdi"),
}


class Feedback(msgspec.Struct, frozen=True):
    """What analysts said of the sample."""

    labelled: list[Labelled]
    #: Hash of it, for the calibration file.
    digest: str


def feedback(settings: Settings, model: str, max_miss_rate: float, confidence: float) -> Feedback:
    """Return the sample's labels, with the probabilities that decided then.

    Only what this model judged, as the settings have it read texts, and drawn as they draw. All of it must have a
    review: who looks only at what is suspicious, or only at what alerted, labels what is not missed. An event is a
    label, so the claim is about events and not about distinct texts.

    Raises:
        UsageError: there is no such sample, or not all of it is reviewed; the line says how much is missing.
        DatabaseError: the database cannot be reached.
    """
    bert, router = settings.bert, settings.router
    with explained(), connect(settings.postgres.required_dsn()) as connection:
        found, others = sample(connection, model, bert.windows, bert.screen, router.audit_one_in, router.audit_seed)
    ours = f"judged by model {model} and drawn one in {router.audit_one_in:,}"
    if not found:
        raise UsageError(f"no text of the audit sample was {ours}; {others:,} were judged or drawn otherwise")
    open_ = sum(not each.truth for each in found)
    if open_:
        bad = sum(each.truth == "malicious" for each in found)
        raise UsageError(
            f"{open_:,} of {len(found):,} texts of the audit sample ({ours}) have no review, so what is reviewed "
            f"is no sample; {bad:,} are malicious so far, and at least {least_trials(max_miss_rate, confidence):,} are "
            "needed (winnow audit list)"
        )
    return Feedback([_label(each) for each in found], hashlib.sha256(msgspec.json.encode(found)).hexdigest())


def _label(each: Sampled) -> Labelled:
    return Labelled(each.source, each.truth == "malicious", each.malicious, each.alerts_from)


class Lesson(msgspec.Struct, frozen=True):
    """A text and what analysts say that it is, to train on: a line of what ``winnow train --texts`` takes."""

    #: Event time, ISO.
    time: str
    event_id: str
    source: str
    #: ``benign`` or a label of the model.
    label: str
    text: str


class Lessons(msgspec.Struct, frozen=True):
    """What analysts' verdicts teach."""

    #: The oldest first.
    found: list[Lesson]
    #: Why others are none, with how many.
    left_out: dict[str, int]


def lessons(settings: Settings) -> Lessons:
    """Return the texts of which an analyst said what they are.

    These are reviews of the audit sample, and the evidence of text alerts that were said to be true or false
    positives, or whose incident was; of the same text the review of the text itself counts, which somebody has read.

    Raises:
        DatabaseError: the database cannot be reached.
    """
    with explained(), connect(settings.postgres.required_dsn()) as connection:
        texts, events = reviewed_texts(connection), reviewed_events(connection)
    left_out: Counter[str] = Counter()
    read = _agreed(_of_texts(texts, left_out), left_out)
    alerted = _agreed(_of_events(events, settings.formats, left_out), left_out)
    both = {**alerted, **read}
    found = sorted(both.values(), key=lambda lesson: (lesson.time, lesson.event_id))
    return Lessons(found, dict(left_out))


def _of_texts(texts: Iterable[ReviewedText], left_out: Counter[str]) -> Iterator[Lesson]:
    for each in texts:
        if found := _lesson(each, each.source, each.text, left_out):
            yield found


def _of_events(events: Iterable[ReviewedEvent], formats: FormatSettings, left_out: Counter[str]) -> Iterator[Lesson]:
    for each in events:
        # A message by itself: what needs the lines before it (a header, a record of several lines) cannot be read.
        decoded = (
            Decoder("verdicts-0", formats).decode_batch([each.raw], [0], round(each.time.timestamp() * 1e6)).events
        )
        if len(decoded) != 1 or not decoded[0].text:
            left_out["of a message that cannot be read by itself"] += 1
        elif found := _lesson(each, decoded[0].text_kind, decoded[0].text, left_out):
            yield found


def _lesson(each: ReviewedText | ReviewedEvent, source: str, text: str, left_out: Counter[str]) -> Lesson | None:
    """Return what a verdict says of a text, None if not which label it is: counted."""
    possible = LABELS.get(source, ())
    label = possible[0] if len(possible) == 1 else each.label
    if each.truth == "benign":
        label = "benign"
    elif label not in possible:
        left_out["malicious, but not said of what kind"] += 1
        return None
    return Lesson(each.time.isoformat(), each.event_id, source, label, text)


def _agreed(lessons: Iterable[Lesson], left_out: Counter[str]) -> dict[tuple[str, str], Lesson]:
    """Return the last lesson of each text by source and canonical form; none of one that is benign here, not there."""
    found: dict[tuple[str, str], Lesson] = {}
    torn: set[tuple[str, str]] = set()
    for lesson in lessons:
        key = lesson.source, canonical(lesson.text, lesson.source).text
        before = found.get(key)
        if before is not None and (before.label == "benign") != (lesson.label == "benign"):
            torn.add(key)
        found[key] = lesson
    if torn:
        left_out["said to be benign and malicious"] += len(torn)
    return {key: lesson for key, lesson in found.items() if key not in torn}
