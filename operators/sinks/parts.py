"""Write the results of a replay: each worker its own part, JSON lines, put together when all have ended."""

from __future__ import annotations

from pathlib import Path

import msgspec
import orjson
from bytewax.outputs import StatelessSinkPartition

from analyzers.alerts import AlertUpdate
from analyzers.router.times import LaneTimes
from operators.sinks import Out, Sink
from state.alerts import Alert
from state.escalations import Escalated
from state.events import Rejected
from state.incidents import Incident, IncidentUpdate
from state.ledger import LedgerRow
from state.windows import HostSeen


class Part(msgspec.Struct):
    """What one worker put out; of alerts, hosts and ledger rows the last state."""

    alerts: dict[str, Alert] = msgspec.field(default_factory=dict)
    hosts: dict[str, HostSeen] = msgspec.field(default_factory=dict)
    ledger: dict[str, LedgerRow] = msgspec.field(default_factory=dict)
    incidents: dict[str, Incident] = msgspec.field(default_factory=dict)
    times: LaneTimes = msgspec.field(default_factory=LaneTimes)


class PartsSink(Sink):
    """Results of a replay, in files: ``part-<worker>.msgpack``, and JSON lines of what is written as it comes."""

    name = "parts"

    def __init__(self, folder: Path, times: LaneTimes | None = None) -> None:
        self._folder = folder
        self._times = LaneTimes() if times is None else times

    def build(self, step_id: str, worker_index: int, worker_count: int) -> PartsPartition:
        """Begin this worker's part."""
        return PartsPartition(self._folder, worker_index, self._times)


class PartsPartition(StatelessSinkPartition[Out]):
    """One worker's part. An entity lives on one worker, so parts do not overlap."""

    def __init__(self, folder: Path, worker: int, times: LaneTimes) -> None:
        self._path = folder / f"part-{worker}.msgpack"
        self._rejected = (folder / f"rejected-{worker}.jsonl").open("wb")
        self._escalations = (folder / f"escalations-{worker}.jsonl").open("wb")
        self._notifications = (folder / f"notifications-{worker}.jsonl").open("wb")
        self._part = Part(times=times)

    def write_batch(self, items: list[Out]) -> None:
        """Keep the last state of each alert, host and ledger row; write rejected messages and escalations out."""
        part = self._part
        for item in items:
            if isinstance(item, AlertUpdate):
                part.alerts[item.alert.id] = item.alert
            elif isinstance(item, IncidentUpdate):
                part.incidents[item.incident.id] = item.incident
                if item.reason:
                    self._notifications.write(orjson.dumps(item.message()) + b"\n")
            elif isinstance(item, HostSeen):
                part.hosts[item.host] = item
            elif isinstance(item, LedgerRow):
                part.ledger[f"{item.topic}-{item.partition}-{item.bucket}"] = item
            elif isinstance(item, Rejected):
                self._rejected.write(msgspec.json.encode(_described(item)) + b"\n")
            elif isinstance(item, Escalated):
                self._escalations.write(item.escalation.encode() + b"\n")

    def close(self) -> None:
        """Write the part."""
        self._rejected.close()
        self._escalations.close()
        self._notifications.close()
        temporary = self._path.with_suffix(".tmp")
        temporary.write_bytes(msgspec.msgpack.encode(self._part))
        temporary.replace(self._path)


def _described(item: Rejected) -> dict[str, object]:
    name, _, _ = item.origin.rpartition("-")
    return {
        "id": item.id,
        "file": name,
        "line": item.offset,
        "reason": item.reason,
        "detail": item.detail,
        "format": item.format,
        "size": len(item.raw),
        "raw": item.raw[:4096].decode(errors="replace"),
    }
