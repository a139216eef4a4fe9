"""Attacks of the generator, amid ordinary work, through replay: each is named, on the right host, at the right time.

And the other half of that: ordinary work alone leaves the queue nearly empty.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from flows.replay import replay
from flows.settings import Settings
from flows.traffic import SCENARIOS, Traffic, write_files
from flows.traffic.clock import HOUR, MINUTE, SECOND
from flows.traffic.files import TRUTH_FILE
from flows.traffic.settings import TrafficSettings

#: Monday 8 January 2024, 08:00 UTC: offices fill, which is when the load changes most.
START = 1_704_700_800 * SECOND
HOSTS = 12
#: Benign messages a second: a sixth of the default, so that the suite stays short.
RATE = 4.0


def run(traffic: Traffic, hours: int, folder: Path, aliased: bool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Write traffic to files as sensors and hosts would, replay them, and return the summary and the alerts."""
    write_files(traffic, traffic.start + hours * HOUR, folder / "in")
    files = sorted(path for path in (folder / "in").iterdir() if path.name != TRUTH_FILE)
    aliases = traffic.fleet.aliases if aliased else {}
    # Syslog stamps name no year, and these files are not of today.
    settings = Settings.model_validate({"formats": {"year": 2024, "host_aliases": aliases}})
    summary = replay(files, folder / "out", settings)
    return summary, [orjson.loads(line) for line in (folder / "out" / "alerts.jsonl").read_bytes().splitlines()]


def micros(stamp: str) -> int:
    return round(datetime.fromisoformat(stamp).timestamp() * SECOND)


@pytest.mark.parametrize(("seed", "aliased"), [(1, True), (2, False), (3, True)])
def test_every_attack_is_named_on_a_host_it_concerns_while_it_goes_on(tmp_path: Path, seed: int, aliased: bool) -> None:
    # Once in each of two hours, so that one hour's alerts cannot answer for the other's, from anywhere in a minute.
    step = 50 * 60 / len(SCENARIOS)
    plan = [
        (name, hour * 3600 + 150 + number * step + (seed * 17 + number * 7) % 60)
        for hour in range(2)
        for number, name in enumerate(SCENARIOS)
    ]
    attacks = TrafficSettings(hosts=HOSTS, rate=RATE, attacks_per_hour=0, attacks=plan)  # type: ignore[arg-type]
    traffic = Traffic(seed, START, attacks)
    summary, alerts = run(traffic, 2, tmp_path, aliased)
    assert summary["rejected"] == summary["late"] == summary["future"] == 0

    # What the generator knows and the detector does not.
    times: dict[str, list[int]] = defaultdict(list)
    concerned: dict[str, set[str]] = defaultdict(set)
    addresses = {host.name: host.ip for host in traffic.fleet.hosts}
    for line in (tmp_path / "in" / TRUTH_FILE).read_bytes().splitlines():
        truth = orjson.loads(line)
        times[truth["attack"]].append(truth["time"])
        concerned[truth["attack"]] |= {truth["host"], addresses[truth["host"]]}
    assert len(times) == 2 * len(SCENARIOS)

    for attack, own in times.items():
        scenario = SCENARIOS[attack.rpartition("-")[0]]
        named = [alert for alert in alerts if alert["name"] in scenario.expects]
        # A metric's alert bears the start of its minute.
        first = min(own) - min(own) % MINUTE
        fitting = [
            a for a in named if a["entity"] in concerned[attack] and first <= micros(a["first_seen"]) <= max(own)
        ]
        assert fitting, f"{attack} on {concerned[attack]}: only {[(a['entity'], a['first_seen']) for a in named]}"
        if scenario.name == "encoded_powershell":
            # A rule's alert cites the events that met it, and they are the attack's.
            cited = {event for alert in fitting for event in alert["evidence"]}
            assert cited and cited <= _events_of(tmp_path / "in" / TRUTH_FILE, attack)


def test_six_hours_of_ordinary_work_leave_the_queue_nearly_empty(tmp_path: Path) -> None:
    hours = 6
    traffic = Traffic(4, START - HOUR, TrafficSettings(hosts=HOSTS, rate=RATE, attacks_per_hour=0))
    summary, alerts = run(traffic, hours, tmp_path, aliased=True)
    assert summary["events"] > 50_000
    assert len(summary["hosts"]) == HOSTS
    # One alert a host and day at most, and none that pages anyone.
    assert len(alerts) <= HOSTS * hours / 24, [(a["entity"], a["name"], a["reason"]) for a in alerts]
    assert not [alert for alert in alerts if alert["level"] in ("high", "critical")]


def _events_of(truth: Path, attack: str) -> set[str]:
    lines = map(orjson.loads, truth.read_bytes().splitlines())
    return {line["event"] for line in lines if line["attack"] == attack}
