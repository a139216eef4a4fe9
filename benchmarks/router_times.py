"""Calibrated on earlier times, tried on later ones: by how much the claim is exceeded, and if the watch said so."""

from __future__ import annotations

import csv
import io
import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import zstandard

from analyzers.bert.encoder import Encoder
from analyzers.bert.judge import TextJudge, Verdict
from analyzers.bert.meanings import Bar
from analyzers.bert.settings import BertSettings
from analyzers.router.calibration import Calibration, CalibrationError
from analyzers.router.drift import DriftWatch
from analyzers.router.learn_then_test import Labelled, calibrate
from analyzers.router.router import Router
from benchmarks.router_breaks import missed
from flows.traffic import Traffic, TrafficSettings
from flows.traffic.message import BENIGN
from operators.formats import Decoder
from operators.formats.settings import FormatSettings
from operators.texts import texts_of
from state.events import Event

#: Attacks of which every text is part of the attack: of the others an analyst would call most texts ordinary.
TEXTUAL = ("sql_injection", "dns_tunnelling", "encoded_powershell")
#: Generated: hours of event time, benign messages a second, attacks an hour.
HOURS, RATE, ATTACKS = 24.0, 0.5, 3.0
#: Blocks in which the watch compares the later half, and texts of one, at least.
BLOCKS, LEAST = 4, 50
#: Levels of Sigma rules by which a text of windows_events counts as malicious.
_LEVELS = ("high", "critical")


class Timed(NamedTuple):
    """A text, when it first came, µs, and what it truly is."""

    time: int
    text: str
    source: str
    truth: bool


def later(data: Path, model: Path, rate: float, confidence: float) -> list[dict[str, Any]]:
    """Return what a calibration on the first half of the time misses in the second, for each set that has times."""
    judge = TextJudge(Encoder.load(model))
    found = [tried("generated traffic, 24 hours, by the generator's truth", generated(), judge, rate, confidence)]
    if (data / "windows_events").is_dir():
        name = "windows_events, by SigmaHQ rules of level high and above"
        found.append(tried(name, windows(data), judge, rate, confidence))
    return found


def tried(name: str, texts: Iterable[Timed], judge: TextJudge, rate: float, confidence: float) -> dict[str, Any]:
    """Calibrate on one half and try the other; a text counts where it first came, and once."""
    first: dict[tuple[str, str], Timed] = {}
    for text in texts:
        known = first.get((text.source, text.text))
        if known is None or text.time < known.time or (text.truth and not known.truth):
            earliest = text.time if known is None else min(text.time, known.time)
            truth = text.truth or (known is not None and known.truth)
            first[text.source, text.text] = text._replace(time=earliest, truth=truth)
    ordered = sorted(first.values())
    middle = (ordered[0].time + ordered[-1].time) // 2
    labelled = list(_judged(ordered, judge))
    before = [text for time, text in labelled if time < middle]
    after = [text for time, text in labelled if time >= middle]
    found: dict[str, Any] = {"set": name, "before": _counts(before), "after": _counts(after)}
    try:
        calibration = calibrate(before, judge.version, rate, confidence)
    except CalibrationError as error:
        return {**found, "refused": str(error)}
    kept = [text for text in after if calibration.of(text.source) is not None]
    rates = missed(Router(calibration=calibration), kept)
    return {
        **found,
        "max_miss_rate": rate,
        "missed": {source: round(share, 5) for source, share in sorted(rates.items())},
        "not_calibrated": dict(calibration.refused),
        "noticed": noticed(calibration, before, after),
    }


def noticed(calibration: Calibration, before: Sequence[Labelled], after: Sequence[Labelled]) -> list[str]:
    """Return what the drift watch says of the later half as it came, with the earlier half as its reference."""
    router = Router(calibration=calibration)
    watch = DriftWatch(len(before), max(LEAST, len(after) // BLOCKS))
    kinds: set[str] = set()
    for text in (*before, *after):
        band = router.band(text.source, text.alerts_from)
        benign = text.malicious < band.low
        watch.count("benign" if benign else "malicious" if text.malicious >= band.high else "unsettled", text.malicious)
        kinds |= {drift.kind for drift in watch.drifts()}
    return sorted(kinds)


def generated(seed: int = 1) -> Iterator[Timed]:
    """Yield the texts of generated traffic, with the generator's truth."""
    start = int(datetime(2024, 1, 8, tzinfo=UTC).timestamp() * 1e6)
    traffic = Traffic(seed, start, TrafficSettings(rate=RATE, attacks_per_hour=ATTACKS, scenarios=list(TEXTUAL)))
    decoders: dict[tuple[str, str], Decoder] = {}
    for number, message in enumerate(traffic.messages(start + int(HOURS * 3.6e9))):
        if message.truth not in (BENIGN, *TEXTUAL):
            continue
        key = message.format, message.host
        if key not in decoders:
            decoders[key] = Decoder("generated-0", FormatSettings(), message.format, default_host=message.host)
        for event in decoders[key].decode_batch([message.value], [number], message.time).events:
            yield from _texts(event, message.truth != BENIGN)


def windows(data: Path) -> Iterator[Timed]:
    """Yield the texts of windows_events; malicious ones are those on whose event a severe Sigma rule matches."""
    severe = _severe(data)
    bad: set[int] = set()
    with _plain(data / "sigma_expected" / "windows_events_matches.csv.zst") as matches:
        for row in csv.DictReader(io.TextIOWrapper(matches)):
            if row["rule_id"] in severe:
                bad.add(int(row["line_index0"]))
    decoder = Decoder("windows-0", FormatSettings())
    with _plain(data / "windows_events" / "events.jsonl.zst") as file:
        for number, line in enumerate(file):
            for event in decoder.decode_batch([line.rstrip(b"\n")], [number], 0).events:
                yield from _texts(event, number in bad)


def _severe(data: Path) -> set[str]:
    """Return the ids of Sigma rules of level high and above."""
    found = set()
    with _plain(data / "sigma" / "rules.tar.zst") as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            text = file.read().decode(errors="replace") if file is not None else ""
            rule = re.search(r"^id: *(\S+)", text, re.M)
            level = re.search(r"^level: *(\w+)", text, re.M)
            if rule and level and level[1] in _LEVELS:
                found.add(rule[1])
    return found


def _plain(path: Path) -> io.BufferedReader:
    return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(path.open("rb"), read_across_frames=True))


def _texts(event: Event, truth: bool) -> Iterator[Timed]:
    for carried in texts_of(event):
        if carried.source == event.text_kind:  # a user agent is not what the attack is in
            yield Timed(event.time, carried.text, carried.source, truth)


def _judged(ordered: Sequence[Timed], judge: TextJudge) -> Iterator[tuple[int, Labelled]]:
    asked = Bar(BertSettings().alert_from).asked(judge)
    for start in range(0, len(ordered), 512):
        some = ordered[start : start + 512]
        for text, verdict in zip(some, judge.judge([(each.text, each.source) for each in some]), strict=True):
            if isinstance(verdict, Verdict):
                score, label = max(zip(verdict.scores, judge.labels, strict=True))
                yield text.time, Labelled(text.source, text.truth, score, asked[label])


def _counts(texts: Sequence[Labelled]) -> dict[str, str]:
    """Return by source how many texts there are, and how many of them are malicious."""
    whole = Counter(text.source for text in texts)
    bad = Counter(text.source for text in texts if text.truth)
    return {source: f"{bad[source]:,} of {count:,}" for source, count in sorted(whole.items())}
