"""A quiet host stays quiet, an attack on it does not, and a restart changes neither."""

from __future__ import annotations

import random

from analyzers.host import WINDOW, Host, HostEvents, HostSettings
from analyzers.metrics import MetricSet, Partial
from state.alerts import Level, Signal
from state.windows import HostWindow

METRICS = MetricSet.load()
INDEX = {name: i for i, name in enumerate(METRICS.names)}


def window(minute: int, **sums: int) -> HostEvents:
    partial = Partial({INDEX[name]: value for name, value in sums.items()}) if sums else None
    start = minute * WINDOW
    return HostEvents("web-1", start, partial, start if sums else 0, start + 5 if sums else 0, sums.get("events", 0))


def day(seed: int, minutes: int) -> list[HostEvents]:
    rng = random.Random(seed)
    return [window(m, events=rng.randint(200, 260), logons_failed=rng.choice((0, 0, 0, 1))) for m in range(minutes)]


def play(host: Host, windows: list[HostEvents]) -> tuple[list[HostWindow], list[Signal]]:
    rows: list[HostWindow] = []
    signals: list[Signal] = []
    for one in windows:
        got, said = host.close_window(one)
        rows += got
        signals += said
    return rows, signals


def test_quiet_day_raises_nothing() -> None:
    assert play(Host("web-1", METRICS, HostSettings()), day(1, 1440))[1] == []


def test_threshold_names_the_attack_even_on_a_new_host() -> None:
    _, signals = play(Host("web-1", METRICS, HostSettings()), [window(0, events=60, logons_failed=55)])
    assert [(s.kind, s.name, s.level, s.techniques) for s in signals] == [
        ("threshold", "Password brute force", Level.high, ("T1110",))
    ]


def test_the_last_minute_of_an_attack_is_no_second_alert_beside_the_threshold() -> None:
    host = Host("web-1", METRICS, HostSettings())
    play(host, day(1, 300))
    _, signals = play(host, [window(300, events=260, logons_failed=55), window(301, events=230, logons_failed=15)])
    assert [(s.kind, s.rule) for s in signals] == [("threshold", "logons_failed:peak")]


def test_peak_below_the_threshold_is_an_anomaly_with_its_band_and_then_muted() -> None:
    host = Host("web-1", METRICS, HostSettings())
    play(host, day(1, 300))
    _, signals = play(host, [window(300 + m, events=230, logons_failed=15) for m in range(5)])
    assert [(s.kind, s.rule, s.level) for s in signals] == [("anomaly", "logons_failed:peak", Level.medium)]
    assert "15 in a minute" in signals[0].reason and "usual here" in signals[0].reason


def test_an_attack_does_not_teach_the_scorer_that_attacks_are_normal() -> None:
    host = Host("web-1", METRICS, HostSettings(mute_windows=0))
    play(host, day(1, 300))
    _, signals = play(host, [window(300 + m, events=230, logons_failed=15) for m in range(10)])
    assert len(signals) == 10


def test_restart_midway_gives_the_same_rows_and_signals() -> None:
    windows = [*day(3, 200), *(window(200 + m, events=2_000, logons_failed=30) for m in range(3)), *day(4, 50)]
    windows = [HostEvents("web-1", i * WINDOW, w.partial, w.first, w.last, w.events) for i, w in enumerate(windows)]
    whole = play(Host("web-1", METRICS, HostSettings()), windows)
    host = Host("web-1", METRICS, HostSettings())
    first = play(host, windows[:120])
    host = Host.restore(METRICS, HostSettings(), host.snapshot())
    second = play(host, windows[120:])
    assert (first[0] + second[0], first[1] + second[1]) == whole


def test_roll_ups_add_up_to_their_minutes() -> None:
    rows, _ = play(Host("web-1", METRICS, HostSettings()), day(5, 121))
    minutes = [dict(zip(r.metrics, r.values, strict=True))["events"] for r in rows if r.seconds == 60]
    hours = [dict(zip(r.metrics, r.values, strict=True))["events"] for r in rows if r.seconds == 3600]
    assert hours == [sum(minutes[:60]), sum(minutes[60:120])]


def test_silent_window_is_a_zero_not_a_gap() -> None:
    host = Host("web-1", METRICS, HostSettings())
    play(host, day(1, 60))
    rows, _ = host.close_window(window(60))
    values = dict(zip(rows[-1].metrics, rows[-1].values, strict=True))
    assert values["events"] == 0.0
    assert dict(zip(rows[-1].metrics, rows[-1].scores, strict=True))["events"] > 0.999
