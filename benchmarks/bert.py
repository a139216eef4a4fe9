"""How many texts a second one core judges: cold, remembered, and in the order in which telemetry brings them.

``winnow bench bert [--data DIR] [--model DIR] [--texts N] [--passes N] [--quick] [--json]``. ``cold`` is every text
judged anew, canonical form and tokens included, distinct texts in batches of 500; ``raw`` the same texts again, each
a new string; ``canonical`` again with a space more, so that only the canonical form is known. ``in order`` are the
texts of telemetry as the flow meets them, batch by batch, with the memory a worker has. The middle of the passes
counts; times are of the processor, as other work comes and goes. Generated traffic is always there, the data sets if
``--data`` or WINNOW_DATA names them.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import random
import resource
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import zstandard

from analyzers.bert.canonical import SOURCES, canonical
from analyzers.bert.encoder import Encoder
from analyzers.bert.judge import TextJudge
from analyzers.bert.manifest import BUILTIN_MODEL
from flows.traffic import Traffic
from flows.traffic.settings import TrafficSettings
from operators.files import open_lines
from operators.formats import Decoder
from operators.formats.settings import FormatSettings
from operators.texts import texts_of

Text = tuple[str, str]

START = 1_704_700_800_000_000  # Monday 2024-01-08 08:00 UTC
#: Texts judged at once when they are all new, and messages of a batch in the flow.
TOGETHER, BATCH = 500, 2_000


def main() -> int:
    """Measure and print; the figures as JSON with ``--json``."""
    parser = argparse.ArgumentParser(prog="winnow bench bert", description=__doc__)
    parser.add_argument("--data", type=Path, metavar="DIR", help="the data sets (default: WINNOW_DATA)")
    parser.add_argument("--model", type=Path, default=BUILTIN_MODEL, metavar="DIR", help="default: the shipped one")
    parser.add_argument("--texts", type=int, default=4_000, help="distinct texts of a set, at most (default: 4000)")
    parser.add_argument("--events", type=int, default=300_000, help="messages of telemetry, at most (default: 300000)")
    parser.add_argument("--passes", type=int, default=3, help="default: 3")
    parser.add_argument("--quick", action="store_true", help="200 texts, 20,000 messages, one pass")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.quick:
        args.texts, args.events, args.passes = 200, 20_000, 1
    data = args.data or (Path(os.environ["WINNOW_DATA"]) if os.environ.get("WINNOW_DATA") else None)
    encoder = Encoder.load(args.model)
    streams = dict(read_streams(data, args.events))
    sets = {name: distinct(islice((t for batch in batches for t in batch), None)) for name, batches in streams.items()}
    sets.update(read_sets(data))
    rows = [
        measure_set(encoder, name, sample(texts, args.texts), args.passes)
        for name, texts in sets.items()
        if len(texts) >= 20
    ]
    ordered = [measure_stream(encoder, name, batches) for name, batches in streams.items()]
    result = {
        "model": encoder.manifest.version,
        "batches": encoder.together,
        "memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "sets": rows,
        "streams": ordered,
    }
    print(json.dumps(result) if args.json else table(result))
    return 0


def measure_set(encoder: Encoder, name: str, texts: Sequence[Text], passes: int) -> dict[str, Any]:
    """Return the figures of distinct texts."""
    tokens = [len(ids) for ids in encoder.tokens([text for text, _ in texts])]
    rates: dict[str, list[float]] = defaultdict(list)
    cleared = 0.0
    for _ in range(passes):
        judge = TextJudge(encoder, size=4 * len(texts))
        rates["cold"].append(rate(judge, texts))
        # As often as it takes to measure more than the clock.
        repeats = max(1, 50_000 // len(texts))
        again = [[(fresh(text), source) for text, source in texts] for _ in range(repeats)]
        rates["raw"].append(rate(judge, [text for copy in again for text in copy]))
        rates["canonical"].append(rate(judge, [(f" {text} ", source) for text, source in texts]))
        assert judge.counts["raw"] == repeats * len(texts)
        if encoder.screen is not None:
            screened = TextJudge(encoder, size=4 * len(texts), screened=True)
            rates["cascade"].append(rate(screened, texts))
            cleared = screened.counts["screen"] / len(texts)
            forms = [(canonical(text, source).text, SOURCES.index(source)) for text, source in texts]
            started = time.process_time()
            encoder.screen.scores([text for text, _ in forms], [source for _, source in forms])
            rates["screen"].append(len(forms) / (time.process_time() - started))
    return {
        "set": name,
        "texts": len(texts),
        "characters": round(statistics.mean(len(text) for text, _ in texts)),
        "tokens": round(statistics.mean(tokens)),
        "cleared": round(cleared, 3),
        **{f"{what}_per_second": round(statistics.median(found)) for what, found in rates.items()},
    }


def measure_stream(encoder: Encoder, name: str, batches: Sequence[Sequence[Text]]) -> dict[str, Any]:
    """Return the figures of texts in the order of telemetry, from a memory that is empty at first."""
    judge = TextJudge(encoder)
    texts = sum(map(len, batches))
    copies = [[(fresh(text), source) for text, source in batch] for batch in batches]
    times = []
    for batch in copies:
        started = time.process_time()
        judge.judge(batch)
        times.append(time.process_time() - started)
    took = sum(times)
    remembered = judge.counts["raw"] + judge.counts["canonical"]
    return {
        "stream": name,
        "texts": texts,
        "remembered": round(remembered / texts, 4) if texts else None,
        "per_second": round(texts / took) if texts else None,
        "seconds": round(took, 3),
        # Of a batch: by so much the lane delays what is in it.
        **{f"{name}_ms": round(1000 * value, 1) for name, value in quantiles(times).items()},
    }


def quantiles(times: Sequence[float]) -> dict[str, float]:
    """Return the middle, the 99th percentile and the greatest."""
    found = sorted(times)
    return {"middle": found[len(found) // 2], "p99": found[len(found) * 99 // 100], "worst": found[-1]}


def rate(judge: TextJudge, texts: Sequence[Text]) -> float:
    """Return texts a second."""
    started = time.process_time()
    for start in range(0, len(texts), TOGETHER):
        judge.judge(texts[start : start + TOGETHER])
    return len(texts) / (time.process_time() - started)


def fresh(text: str) -> str:
    """Return an equal string that is another object, as every message brings one: its hash is not known yet."""
    return (text + "\0")[:-1]


def distinct(texts: Iterator[Text]) -> list[Text]:
    """Return each text once, in order."""
    return list(dict.fromkeys(texts))


def sample(texts: Sequence[Text], most: int) -> list[Text]:
    """Return at most so many of them, chosen by a fixed seed."""
    return random.Random(1).sample(list(texts), most) if len(texts) > most else list(texts)


def read_streams(data: Path | None, most: int) -> Iterator[tuple[str, list[list[Text]]]]:
    """Yield telemetry by name: the texts of each batch."""
    traffic = Traffic(1, START, TrafficSettings(rate=300.0, hosts=100, attacks_per_hour=20))
    messages = islice(traffic.messages(START + 3_600_000_000), most)
    yield "generated traffic", batches_of(message.value for message in messages)
    if data is None:
        return
    for name in ("windows_events", "zeek_wrccdc", "windows_attack_samples"):
        for path in sorted((data / name).glob("*.jsonl*")):
            with open_lines(path) as file:
                yield name, batches_of(line.rstrip(b"\n") for line in islice(file, most))


def batches_of(messages: Iterator[bytes]) -> list[list[Text]]:
    """Return the texts of messages, batch by batch."""
    decoder = Decoder("bench-0", FormatSettings(), "auto", default_host="bench")
    found = []
    done = 0
    while batch := list(islice(messages, BATCH)):
        events = decoder.decode_batch(batch, range(done, done + len(batch)), START).events
        found.append([(text.text, text.source) for event in events for text in texts_of(event)])
        done += len(batch)
    return found


def read_sets(data: Path | None) -> dict[str, list[Text]]:
    """Return the labelled sets of texts, each text once."""
    if data is None:
        return {}
    readers: dict[str, Callable[[str], Iterator[Text]]] = {"http_params": payloads, "shell_commands": commands}
    found = {}
    for name, read in readers.items():
        for path in sorted((data / name).glob("*.zst")):
            raw = zstandard.ZstdDecompressor().stream_reader(path.read_bytes(), read_across_frames=True).read()
            found[name] = distinct(read(raw.decode("utf-8", "replace")))
    return found


def payloads(content: str) -> Iterator[Text]:
    """Yield the payloads of http_params; its quoting merges some lines, which does no harm here."""
    for row in csv.DictReader(io.StringIO(content)):
        if row.get("payload"):
            yield row["payload"], "http"


def commands(content: str) -> Iterator[Text]:
    """Yield the commands of shell_commands."""
    for line in content.splitlines():
        record = orjson.loads(line)
        text = next((record[key] for key in ("command", "text", "cmd") if isinstance(record.get(key), str)), "")
        if text:
            yield text, "shell"


def table(result: dict[str, Any]) -> str:
    """Return the figures for people."""
    lines = [
        f"model {result['model']}, {'batches' if result['batches'] else 'one window at a time'}, "
        f"{result['memory_mb']} MB at most",
        "",
        f"{'distinct texts of':<24}{'texts':>8}{'chars':>7}{'tokens':>7}{'cold/s':>9}{'canonical/s':>13}{'raw/s':>11}",
    ]
    lines += [
        f"{row['set']:<24}{row['texts']:>8,}{row['characters']:>7,}{row['tokens']:>7,}{row['cold_per_second']:>9,}"
        f"{row['canonical_per_second']:>13,}{row['raw_per_second']:>11,}"
        for row in result["sets"]
    ]
    if any("cascade_per_second" in row for row in result["sets"]):
        lines += [
            "",
            f"{'with the screen first':<24}{'cleared':>8}{'cold/s':>9}{'the screen alone, canonical texts/s':>38}",
        ]
        lines += [
            f"{row['set']:<24}{row['cleared']:>8.1%}{row['cascade_per_second']:>9,}{row['screen_per_second']:>16,}"
            for row in result["sets"]
        ]
    lines += [
        "",
        f"{'in the order of':<24}{'texts':>8}{'remembered':>13}{'texts/s':>11}{'seconds':>9}"
        f"{'ms a batch: middle, p99, worst':>34}",
    ]
    lines += [
        f"{row['stream']:<24}{row['texts']:>8,}{row['remembered'] or 0:>13.1%}{row['per_second'] or 0:>11,}"
        f"{row['seconds']:>9.2f}{row['middle_ms']:>14,.1f}{row['p99_ms']:>10,.1f}{row['worst_ms']:>10,.1f}"
        for row in result["streams"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
