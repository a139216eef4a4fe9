"""The same input, shuffled within the lateness, gives the same windows, scores and alerts."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.run import cli_main

from analyzers.alerts import AlertUpdate
from flows.detect import build, load_metrics, load_rules
from flows.settings import Settings
from flows.traffic import Traffic
from flows.traffic.settings import TrafficSettings
from operators.files import FileSource
from operators.sinks import Out, Sink
from state.alerts import Alert
from state.windows import HostSeen, HostWindow

START = 1_704_700_800_000_000  # Monday 2024-01-08 08:00 UTC
HOUR = 3_600_000_000


class Kept(Sink, StatelessSinkPartition[Out]):
    """Keep what the flow puts out, of one worker in this process."""

    name = "parts"

    def __init__(self) -> None:
        self.windows: dict[tuple[str, int, int], HostWindow] = {}
        self.hosts: dict[str, HostSeen] = {}
        self.alerts: dict[str, Alert] = {}

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Kept:
        return self

    def write_batch(self, items: list[Out]) -> None:
        for item in items:
            if isinstance(item, HostWindow):
                key = (item.host, item.seconds, item.start)
                assert key not in self.windows, "a window must be put out once"
                self.windows[key] = item
            elif isinstance(item, HostSeen):
                self.hosts[item.host] = item
            elif isinstance(item, AlertUpdate):
                self.alerts[item.alert.id] = item.alert


def results(path: Path, lines: list[bytes]) -> Kept:
    path.write_bytes(b"\n".join(lines) + b"\n")
    settings = Settings.model_validate({"formats": {"year": 2024}})
    kept = Kept()
    source = FileSource({"in.log": path}, settings.formats, settings.time)
    cli_main(build(source, [kept], load_rules(settings), load_metrics(settings), settings))
    return kept


@pytest.mark.parametrize("seed", [1, 2])
def test_shuffled_within_the_lateness(tmp_path: Path, seed: int) -> None:
    assert issubclass(Kept, DynamicSink)
    traffic = Traffic(5, START, TrafficSettings(hosts=10, rate=5.0, attacks_per_hour=12))
    messages = [(message.time, message.value) for message in traffic.messages(START + HOUR)]
    expected = results(tmp_path / "a.log", [value for _, value in messages])
    order = random.Random(seed)
    # Each may come up to four seconds late, and then still before the watermark, which is five seconds back.
    late = sorted((time + order.randint(0, 4_000_000), number) for number, (time, _) in enumerate(messages))
    shuffled = results(tmp_path / "b.log", [messages[number][1] for _, number in late])
    assert [number for _, number in late] != list(range(len(messages)))
    assert len(expected.windows) > 500
    assert len(expected.alerts) > 5
    assert shuffled.hosts == expected.hosts
    assert shuffled.windows == expected.windows

    def told(kept: Kept) -> dict[str, tuple[object, ...]]:
        # Evidence is named by line, and lines are what was shuffled; how many there are must agree.
        return {a.id: (a.count, a.first_seen, a.last_seen, a.level, len(a.evidence)) for a in kept.alerts.values()}

    assert told(shuffled) == told(expected)
