"""Replay: the detect graph over files, as fast as it goes, on one process or several. Needs no server."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import orjson
from bytewax.run import cli_main

from analyzers.router.times import Judges, JudgeTimes, LaneTimes
from flows.cluster import run_workers
from flows.detect import build, load_metrics, load_rules
from flows.settings import Settings
from flows.texts import load_texts
from flows.usage import UsageError
from operators.files import UNREADABLE, FileSource, name_files
from operators.formats import FORMATS
from operators.sinks.parts import Part, PartsSink

#: Days of silence after which a replay forgets a host: more than a recording has.
NEVER = 36_500


class ReplaySpec(msgspec.Struct):
    """What a worker of a replay needs to know, besides the settings."""

    files: dict[str, str]
    parts: str
    format: str


def replay(
    files: Sequence[Path],
    out: Path,
    settings: Settings,
    format: str = "auto",
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Run the files through the detect graph and write the results to ``out``; return the summary.

    Raises:
        UsageError: a file that cannot be read, or not to its end (what could be read is written all the same), an
            unknown format, an output folder that cannot be made.
    """
    named = _checked(files, format)
    # A recording may hold years with pauses between; its summary counts all events of a host.
    limits = settings.limits.model_copy(update={"forget_days": NEVER})
    settings = settings.model_copy(update={"limits": limits})
    try:
        out.mkdir(parents=True, exist_ok=True)
        parts = Path(tempfile.mkdtemp(prefix=".parts-", dir=out))
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror}") from error
    try:
        spec = ReplaySpec({name: str(path) for name, path in named.items()}, str(parts), format)
        started = time.perf_counter()
        if workers == 1:
            work(spec, settings, progress=progress)
        else:
            run_workers(["flows.replay", msgspec.json.encode(spec).decode()], workers, settings)
        return _write(out, parts, time.perf_counter() - started, settings.router.call_price)
    finally:
        shutil.rmtree(parts, ignore_errors=True)


def work(
    spec: ReplaySpec,
    settings: Settings,
    process: int | None = None,
    addresses: list[str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Be one worker of a replay."""
    files = {name: Path(path) for name, path in spec.files.items()}
    source = FileSource(files, settings.formats, settings.time, spec.format, progress)
    times = LaneTimes()
    sinks = [PartsSink(Path(spec.parts), times)]
    texts = load_texts(settings)
    flow = build(source, sinks, load_rules(settings), load_metrics(settings), settings, texts=texts, times=times)
    cli_main(flow, process_id=process, addresses=addresses)


def _checked(files: Sequence[Path], format: str) -> dict[str, Path]:
    if format != "auto" and format not in FORMATS:
        raise UsageError(f"no such format: {format}; known: auto, {', '.join(FORMATS)}")
    for path in files:
        if not path.is_file():
            raise UsageError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}")
        if not os.access(path, os.R_OK):
            raise UsageError(f"{path}: cannot be read")
    try:
        return name_files(files)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _write(out: Path, parts: Path, seconds: float, price: float) -> dict[str, Any]:
    whole = Part()
    for path in sorted(parts.glob("part-*.msgpack")):
        part = msgspec.msgpack.decode(path.read_bytes(), type=Part)
        whole.alerts.update(part.alerts)
        whole.hosts.update(part.hosts)
        whole.ledger.update(part.ledger)
        whole.incidents.update(part.incidents)
        whole.times.merge(part.times)
    alerts = sorted(whole.alerts.values(), key=lambda alert: (alert.first_seen, alert.id))
    _write_lines(out / "alerts.jsonl", [orjson.dumps(alert.message()) for alert in alerts])
    # One that is part of another has no line of its own: the other names it among its aliases.
    incidents = [incident for incident in whole.incidents.values() if incident.state != "merged"]
    incidents.sort(key=lambda incident: (incident.first_seen, incident.id))
    _write_lines(out / "incidents.jsonl", [orjson.dumps(incident.message()) for incident in incidents])
    rejected = [line for path in parts.glob("rejected-*.jsonl") for line in path.read_bytes().splitlines()]
    _write_lines(out / "rejected.jsonl", sorted(rejected, key=_place))
    escalated = [line for path in parts.glob("escalations-*.jsonl") for line in path.read_bytes().splitlines()]
    _write_lines(out / "escalations.jsonl", sorted(escalated, key=_asked))
    told = [line for path in parts.glob("notifications-*.jsonl") for line in path.read_bytes().splitlines()]
    _write_lines(out / "notifications.jsonl", sorted(told, key=_notified))
    rows = whole.ledger.values()
    total = {
        name: sum(getattr(row, name) for row in rows)
        for name in ("consumed", "rejected", "skipped", "rule", "bert", "llm", "late", "future")
    }
    events = total["rule"] + total["bert"] + total["llm"]
    summary = {
        "events": events,
        "rejected": total["rejected"],
        "skipped": total["skipped"],
        "late": total["late"],
        "future": total["future"],
        "alerts": len(alerts),
        "incidents": len(incidents),
        "escalations": len(escalated),
        "notifications": len(told),
        "lanes": {lane: total[lane] for lane in ("rule", "bert", "llm")},
        "judging": _judging(whole.times, len(escalated), events, price),
        "hosts": {host: whole.hosts[host].events for host in sorted(whole.hosts)},
        "events_per_second": round(events / seconds) if seconds else 0,
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    damaged = [item for item in map(orjson.loads, rejected) if item["reason"] == UNREADABLE]
    if damaged:
        said = "; ".join(
            f"{item['file']} cannot be read after line {item['line']}: {item['detail']}" for item in damaged
        )
        raise UsageError(f"{said} (what could be read is in {out})")
    return summary


def _judging(times: LaneTimes, wanted: int, events: int, price: float) -> dict[str, Any]:
    """Return what each lane cost: of rules and text model as measured, of an LLM as expected.

    ``microseconds`` is the work an event that the lane decides, with that of the lanes before it; ``p50`` and ``p99``
    in how many seconds the batch was judged that it came in, which is what an event waits for.
    """
    found: dict[str, Any] = {}
    judges: tuple[Judges, ...] = ("rule", "bert")
    for judge in judges:
        known = times.of.get(judge, JudgeTimes())
        found[judge] = {
            "read": known.events,
            "microseconds": round(times.cost(judge) * 1e6, 2),
            "p50": round(known.percentile(0.5), 6),
            "p99": round(known.percentile(0.99), 6),
        }
    found["llm"] = {"wanted": wanted, "price": round(wanted * price, 6), "price_of_all": round(events * price, 6)}
    return found


def _place(line: bytes) -> tuple[str, int]:
    item = orjson.loads(line)
    return item["file"], item["line"]


def _asked(line: bytes) -> tuple[int, str]:
    item = orjson.loads(line)
    return item["time"], item["id"]


def _notified(line: bytes) -> tuple[str, str, str]:
    item = orjson.loads(line)
    return item["notified_at"], item["id"], item["notification"]


def _write_lines(path: Path, lines: Sequence[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines(line + b"\n" for line in lines)


if __name__ == "__main__":
    from flows.cluster import worker_settings

    index, addresses, settings = worker_settings()
    work(msgspec.json.decode(sys.argv[1], type=ReplaySpec), settings, index, addresses)
