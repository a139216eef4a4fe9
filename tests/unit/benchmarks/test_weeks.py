"""The generated weeks hold what they say, and what alarms tell of them is sorted rightly."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.weeks import ECHO, JUDGED, Told, measure, sort_out, table
from benchmarks.weeks_fleet import METRICS, MINUTES, Incident, Weeks, at, weeks
from benchmarks.weeks_panels import PANELS, Panel, each


def test_the_weeks_have_a_daily_rhythm_and_what_is_planned_and_are_the_same_for_a_seed() -> None:
    one, same, other = weeks(6, 1), weeks(6, 1), weeks(6, 2)
    assert np.array_equal(one.counts, same.counts)
    assert not np.array_equal(one.counts, other.counts)
    assert one.counts.shape == (6, len(METRICS), MINUTES)
    events = one.counts[0, 0].reshape(28, 24, 60)
    assert events[:5, 10:16].mean() > 10 * events[:5, :5].mean()
    assert events[:5, 10:16].mean() > 5 * events[5:7, 10:16].mean()
    by_name = {incident.name: incident for incident in one.incidents}
    silence = by_name["silence by day"]
    assert one.counts[silence.host, :, silence.start : silence.start + silence.minutes].sum() == 0
    theft = by_name["exfiltration by night"]
    during = one.counts[theft.host, METRICS.index("bytes_out"), theft.start : theft.start + theft.minutes]
    assert during.mean() > 40_000
    assert all(i.start >= JUDGED and i.start + i.minutes <= MINUTES and i.host < 6 for i in one.incidents)


def test_an_alarm_is_an_incident_found_its_echo_or_false() -> None:
    incidents = (
        Incident("theft", 2, ("dns",), 1.0, 0.0, 1_000, 30),
        Incident("missed", 3, ("dns",), 1.0, 0.0, 5_000, 30),
        Incident("patch", -1, ("dns",), 1.0, 0.0, 9_000, 30),
    )
    dns, others = frozenset({"dns", "logins"}), frozenset({"logins"})
    minutes = [(2, 999), (2, 1_005), (2, 1_030 + ECHO - 1), (2, 1_030 + ECHO), (1, 1_010), (3, 5_100), (-1, 9_001)]
    told = [*(Told(*one, dns) for one in minutes), Told(2, 1_001, others)]
    report = sort_out(told, incidents, 10.0)
    assert report["incidents"] == {
        "theft": {"minutes_to_alarm": 5, "alarms": 2},
        # Too late to count as found, and still no false alarm.
        "missed": {"minutes_to_alarm": None, "alarms": 1},
        "patch": {"minutes_to_alarm": 1, "alarms": 1},
    }
    assert (report["alarms"], report["false"], report["shifts"]) == (8, 4, 1)
    assert report["false_per_host_day"] == 0.4
    assert report["most_per_host_day"] == 5


class Threshold:
    """A scorer that must be told the time, and finds unusual what is far from 10."""

    def score_one(self, value: float, t: int) -> float:
        return 0.9999 if abs(value - 10.0) > 5.0 and t else 0.1

    def learn_one(self, value: float, t: int) -> None:
        assert t


def test_any_scorer_can_be_measured_and_dips_are_told() -> None:
    counts = np.full((6, len(METRICS), JUDGED + 300), 10.0)
    dip = Incident("dip", 4, ("events",), 0.0, 0.0, JUDGED + 100, 20)
    counts[4, 0, dip.start : dip.start + dip.minutes] = 0.0
    panels = {"mine": Panel("plain", lambda counts: each(Threshold, counts))}
    report = measure([Weeks(counts, (dip,))], panels, [3.0, 5.0]) | {"seeds": [1]}
    found, deaf = (report["scorers"]["mine"]["least"][least][0] for least in ("3", "5"))
    assert found["incidents"] == {"dip": {"minutes_to_alarm": 0, "alarms": 1}}
    assert (found["alarms"], found["false"], report["hosts"]) == (1, 0, 6)
    assert deaf["alarms"] == 0
    assert "1/1, 0 min" in table(report)


def test_hours_become_minutes() -> None:
    assert at(2, 3.5) == 2 * 1_440 + 210


@pytest.mark.parametrize("name", sorted(PANELS))
def test_every_scorer_runs_over_the_weeks_and_says_nothing_before_it_is_warm(name: str) -> None:
    counts = weeks(6, 1).counts[:1, :1, :600].copy()
    counts[0, 0, 599] = 1e7
    found = PANELS[name].run(counts).decades
    assert found.shape == counts.shape
    assert not found[0, 0, :30].any()
    assert found[0, 0, 599] > 1.0
