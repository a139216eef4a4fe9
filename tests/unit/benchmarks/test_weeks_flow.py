"""What is measured of the flow's anomalies is what its host step does."""

from __future__ import annotations

import numpy as np

from benchmarks.weeks import JUDGED
from benchmarks.weeks_fleet import METRICS, Incident, Weeks
from benchmarks.weeks_flow import measure


def test_a_silence_of_one_metric_is_told_and_nothing_else_is() -> None:
    counts = np.random.default_rng(1).poisson(40.0, (1, len(METRICS), JUDGED + 200)).astype(float)
    dip = Incident("dip", 0, ("events",), 0.0, 0.0, JUDGED + 100, 20)
    counts[0, 0, dip.start : dip.start + dip.minutes] = 0.0
    report = measure(Weeks(counts, (dip,)))
    assert report["incidents"] == {"dip": {"minutes_to_alarm": 0, "alarms": 1}}
    assert report["false"] <= 1
