"""What analysts' verdicts teach the text model: texts, and what somebody said that they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from analyzers.bert.canonical import canonical
from analyzers.bert.judge import TextJudge, Verdict, sound
from analyzers.router.candidate import MAX_SHOWN
from flows.settings import Settings
from flows.texts import load_judge
from operators.formats import Decoder
from operators.texts import Carried, texts_of
from state.postgres import connect, explained
from state.reviewed import ReviewedEvent, ReviewedText, reviewed_events, reviewed_texts

_HTTP: Final = ("sqli", "xss", "path-traversal", "cmdi")
#: What a malicious text of a source can be.
LABELS: Final = {
    "shell": ("malicious-shell",),
    "powershell": ("malicious-powershell",),
    "dns": ("suspicious-domain",),
    "http": _HTTP,
    "user-agent": _HTTP,
}
BENIGN: Final = "benign"


class Lesson(msgspec.Struct, frozen=True):
    """A text and what it is said to be: a line of what ``winnow train --texts`` takes, too."""

    #: Event time at which it was first seen, ISO.
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


#: Source and canonical form, by which texts are the same.
_Key = tuple[str, str]


def lessons(settings: Settings) -> Lessons:
    """Return the texts of which an analyst said what they are.

    These are reviews of the audit sample, and the evidence of text alerts that were said to be true or false
    positives, or whose incident was; of the same text the review of the text itself counts, which somebody has read.

    Raises:
        DatabaseError: the database cannot be reached.
        UsageError: the settings' model, which is asked which of an event's texts is meant, cannot be loaded.
    """
    with explained(), connect(settings.postgres.required_dsn()) as connection:
        texts, events = reviewed_texts(connection), reviewed_events(connection)
    left_out: Counter[str] = Counter()
    read = _agreed(_of_texts(texts, left_out))
    alerted = _agreed(_of_events(events, settings, left_out))
    found = []
    for key, said in {**alerted, **read}.items():
        kinds = {lesson.label == BENIGN for lesson in said}
        if len(kinds) > 1:
            left_out["said to be benign and malicious"] += 1
        elif not said[-1].label:
            left_out["malicious, but not said of what kind"] += 1
        else:
            # What comes again and again is as old as when it first came.
            first = min(said, key=lambda lesson: lesson.time)
            found.append(Lesson(first.time, first.event_id, key[0], said[-1].label, said[-1].text))
    return Lessons(sorted(found, key=lambda lesson: (lesson.time, lesson.event_id)), dict(left_out))


def _agreed(lessons: Iterable[Lesson]) -> dict[_Key, list[Lesson]]:
    """Return what was said of each text, in order."""
    found: dict[_Key, list[Lesson]] = {}
    for lesson in lessons:
        found.setdefault((lesson.source, canonical(lesson.text, lesson.source).text), []).append(lesson)
    return found


def _of_texts(texts: Iterable[ReviewedText], left_out: Counter[str]) -> Iterator[Lesson]:
    for each in texts:
        if len(each.text) >= MAX_SHOWN:
            left_out["kept in part"] += 1
        else:
            # What the model did not find it did not name either.
            label = each.label if each.malicious >= each.alerts_from else ""
            yield _lesson(each, Carried(each.text, each.source, ""), label)


def _of_events(events: Iterable[ReviewedEvent], settings: Settings, left_out: Counter[str]) -> Iterator[Lesson]:
    judge: TextJudge | None = None

    def model() -> TextJudge:
        nonlocal judge
        judge = judge or load_judge(settings.bert)
        return judge

    for each in events:
        if len(each.raw) >= settings.alerts.evidence_bytes:
            left_out["kept in part"] += 1
            continue
        # A message by itself: what needs the lines before it (a header, a record of several lines) cannot be read.
        decoder = Decoder("verdicts-0", settings.formats, default_host=each.entity)
        found = decoder.decode_batch([each.raw], [0], round(each.time.timestamp() * 1_000_000)).events
        texts = texts_of(found[0]) if len(found) == 1 else []
        if not texts:
            left_out["of a message that cannot be read by itself"] += 1
        elif each.truth == BENIGN:
            for text in texts:
                yield _lesson(each, text, "")
        else:
            yield _lesson(each, _meant(texts, each.label, model), each.label)


def _meant(texts: list[Carried], label: str, model: Callable[[], TextJudge]) -> Carried:
    """Return which of an event's texts was it that alerted: the one to which the model gives the label the most."""
    if len(texts) == 1:
        return texts[0]
    judge = model()
    place = judge.labels.index(label) if label in judge.labels else None
    said = judge.judge([(text.text, text.source) for text in texts])
    scores = [
        0.0 if not isinstance(one, Verdict) else one.malicious if place is None else one.scores[place] for one in said
    ]
    return texts[scores.index(max(scores))]


def _lesson(each: ReviewedText | ReviewedEvent, text: Carried, label: str) -> Lesson:
    """Return what a verdict says of a text; its label is empty if it is malicious, of what kind nobody said."""
    possible = LABELS.get(text.source, ())
    if each.truth == BENIGN:
        label = BENIGN
    elif len(possible) == 1:
        label = possible[0]
    elif label not in possible:
        label = ""
    return Lesson(each.time.isoformat(), each.event_id, text.source, label, sound(text.text))
