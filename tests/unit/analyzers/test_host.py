"""A quiet host stays quiet, an attack on it does not, and a restart changes neither."""

from __future__ import annotations

import random

from analyzers.alerts import AlertBook, AlertSettings
from analyzers.anomaly.settings import AnomalySettings
from analyzers.anomaly.telling import HostAlarm
from analyzers.host import WINDOW, Host, HostEvents
from analyzers.metrics import MetricSet, Partial
from state.alerts import Level, Signal
from state.windows import HostWindow

METRICS = MetricSet.load()
#: Judged from its first scores on, which are of hours and not of days: lower ones than are asked for must do.
WARM = AnomalySettings(warm_hours=0, least=2.2)
INDEX = {name: i for i, name in enumerate(METRICS.names)}


def window(minute: int, **sums: int) -> HostEvents:
    partial = Partial({INDEX[name]: value for name, value in sums.items()}) if sums else None
    start = minute * WINDOW
    return HostEvents("web-1", start, partial, start if sums else 0, start + 5 if sums else 0, sums.get("events", 0))


def day(seed: int, minutes: int) -> list[HostEvents]:
    rng = random.Random(seed)
    return [window(m, events=rng.randint(200, 260), logons_failed=rng.choice((0, 0, 0, 1))) for m in range(minutes)]


class Told:
    """A host with its alarm, as in a fleet that knows no shifts."""

    def __init__(self, metrics: MetricSet = METRICS, settings: AnomalySettings | None = None) -> None:
        self.metrics, self.settings = metrics, settings or AnomalySettings()
        self.host = Host("web-1", metrics, self.settings)
        self.alarm = HostAlarm("web-1", metrics, self.settings)

    def restart(self, metrics: MetricSet = METRICS) -> Told:
        again = Told(metrics, self.settings)
        again.host = Host.restore(metrics, self.settings, self.host.snapshot())
        again.alarm = HostAlarm.restore(metrics, self.settings, self.alarm.snapshot())
        return again

    def close_window(self, events: HostEvents) -> tuple[list[HostWindow], list[Signal]]:
        rows, signals = self.host.close_window(events)
        assert self.host.report is not None
        said = self.alarm.judge(self.host.report)
        return rows, [*signals, said] if said else signals


def play(host: Host | Told, windows: list[HostEvents]) -> tuple[list[HostWindow], list[Signal]]:
    rows: list[HostWindow] = []
    signals: list[Signal] = []
    for one in windows:
        got, said = host.close_window(one)
        rows += got
        signals += said
    return rows, signals


def test_quiet_day_raises_nothing() -> None:
    assert play(Told(), day(1, 1440))[1] == []


def test_threshold_names_the_attack_even_on_a_new_host() -> None:
    _, signals = play(Told(), [window(0, events=60, logons_failed=55)])
    assert [(s.kind, s.name, s.level, s.techniques) for s in signals] == [
        ("threshold", "Password brute force", Level.high, ("T1110",))
    ]


def test_the_last_minute_of_an_attack_is_no_second_alert_beside_the_threshold() -> None:
    host = Host("web-1", METRICS, AnomalySettings())
    play(host, day(1, 300))
    _, signals = play(host, [window(300, events=260, logons_failed=55), window(301, events=230, logons_failed=15)])
    assert [(s.kind, s.rule) for s in signals] == [("threshold", "logons_failed:peak")]


def test_peak_below_the_threshold_is_an_anomaly_with_its_band_and_then_muted() -> None:
    host = Told(METRICS, WARM)
    play(host, day(1, 300))
    _, signals = play(host, [window(300 + m, events=230, logons_failed=15) for m in range(5)])
    assert [(s.kind, s.rule, s.level) for s in signals] == [("anomaly", "logons_failed:peak", Level.medium)]
    assert signals[0].techniques == ("T1110",)
    assert signals[0].reason.startswith("logons_failed was 15 on web-1 at 1970-01-01T05:00:00")
    assert "is usual here" in signals[0].reason


def test_a_host_whose_events_stop_is_told_as_one_with_too_many_is() -> None:
    host = Told(METRICS, WARM)
    play(host, day(1, 300))
    _, signals = play(host, [window(300 + m) for m in range(5)])
    assert [(s.kind, s.rule, s.name) for s in signals] == [("anomaly", "events:dip", "Fewer events than usual")]
    assert signals[0].reason.startswith("events was 0 on web-1")


def test_a_new_host_tells_no_anomaly_until_it_is_warm_and_counts_what_it_does_not() -> None:
    host = Told(METRICS, AnomalySettings(warm_hours=10, least=2.2))
    usual = [window(m, events=200 + m % 50, peers=5 + m % 3, logons_failed=m % 2) for m in range(602)]
    play(host, usual[:300])
    _, signals = play(host, [window(300, events=230, peers=6, logons_failed=15)])
    assert signals == [] and host.alarm.verdict is not None
    assert (host.alarm.verdict.status, host.alarm.verdict.warm_at) == ("warming", 600 * WINDOW)
    assert host.host.seen().judged_from == 600 * WINDOW
    play(host, usual[301:601])
    _, signals = play(host, [window(601, events=230, peers=90)])
    assert [s.rule for s in signals] == ["peers:peak"]


def test_the_steps_of_an_attack_are_one_alert_over_the_hour() -> None:
    host = Told(METRICS, WARM)
    play(host, day(1, 356))
    _, signals = play(host, [window(358, events=230, logons_failed=15), window(361, events=4_000)])
    assert [(s.rule, s.opened) for s in signals] == [("logons_failed:peak", 358 * WINDOW)] * 2
    [update] = AlertBook(AlertSettings()).add(signals)
    assert (update.alert.count, update.alert.first_seen, update.alert.last_seen) == (2, 358 * WINDOW, 361 * WINDOW)


def test_a_budget_of_two_says_two_a_day_and_counts_the_rest() -> None:
    host = Told(METRICS, AnomalySettings(warm_hours=0, least=2.2, per_day=2, open_minutes=0, step=0))
    rng = random.Random(1)
    peaks = {"logons_failed": 19, "peers": 90, "ports": 80, "users": 30}
    play(host, [window(m, **{name: rng.randint(0, 1) for name in peaks}) for m in range(300)])
    said, statuses = [], []
    for minute, (name, value) in enumerate(peaks.items(), 300):
        said += play(host, [window(minute, **(dict.fromkeys(peaks, 1) | {name: value}))])[1]
        statuses.append(host.alarm.verdict.status if host.alarm.verdict else "")
    assert [signal.rule for signal in said] == ["logons_failed:peak", "peers:peak"]
    assert statuses == ["alarm", "alarm", "spent", "spent"]


def test_an_attack_of_ten_minutes_stays_unusual_to_its_end() -> None:
    host = Told(METRICS, WARM)
    play(host, day(1, 1_440))
    rows, _ = play(host, [window(1_440 + m, events=230, logons_failed=15) for m in range(10)])
    scores = [dict(zip(r.metrics, r.scores, strict=True))["logons_failed"] for r in rows if r.seconds == 60]
    assert min(scores) > 0.98


def test_restart_midway_gives_the_same_rows_and_signals() -> None:
    windows = [*day(3, 200), *(window(200 + m, events=2_000, logons_failed=30) for m in range(3)), *day(4, 50)]
    windows = [HostEvents("web-1", i * WINDOW, w.partial, w.first, w.last, w.events) for i, w in enumerate(windows)]
    whole = play(Told(METRICS, WARM), windows)
    assert {signal.kind for signal in whole[1]} == {"threshold", "anomaly"}
    for stop in (120, 201, 202, 230):
        host = Told(METRICS, WARM)
        first = play(host, windows[:stop])
        host = host.restart()
        second = play(host, windows[stop:])
        assert (first[0] + second[0], first[1] + second[1]) == whole


def test_a_metric_that_is_no_longer_defined_takes_nothing_from_the_others() -> None:
    fewer = MetricSet([metric for metric in METRICS.metrics if metric.name != "users"])
    index = {name: i for i, name in enumerate(fewer.names)}
    whole, host = Told(fewer, WARM), Told(METRICS, WARM)
    rng = random.Random(1)
    values = [
        {"events": rng.randint(200, 260), "users": rng.randint(1, 3), "peers": rng.randint(5, 9)} for _ in range(300)
    ]
    for minute, value in enumerate(values):
        host.close_window(window(minute, **value))
        part = Partial({index[name]: n for name, n in value.items() if name in index})
        whole.close_window(HostEvents("web-1", minute * WINDOW, part, 0, 0, value["events"]))
    host = host.restart(fewer)
    peak = HostEvents("web-1", 300 * WINDOW, Partial({index["events"]: 250, index["peers"]: 90}), 0, 0, 250)
    rows, signals = host.close_window(peak)
    assert (rows, signals) == whole.close_window(peak) and [s.rule for s in signals] == ["peers:peak"]


def test_roll_ups_add_up_to_their_minutes() -> None:
    rows, _ = play(Told(), day(5, 121))
    minutes = [dict(zip(r.metrics, r.values, strict=True))["events"] for r in rows if r.seconds == 60]
    hours = [dict(zip(r.metrics, r.values, strict=True))["events"] for r in rows if r.seconds == 3600]
    assert hours == [sum(minutes[:60]), sum(minutes[60:120])]


def test_silent_window_is_a_zero_not_a_gap() -> None:
    host = Host("web-1", METRICS, AnomalySettings())
    play(host, day(1, 200))
    rows, _ = host.close_window(window(200))
    values = dict(zip(rows[-1].metrics, rows[-1].values, strict=True))
    assert values["events"] == 0.0
    assert dict(zip(rows[-1].metrics, rows[-1].scores, strict=True))["events"] > 0.999


def test_scores_of_a_metric_still_being_learned_are_minus_1() -> None:
    rows, _ = play(Told(), day(1, 160))
    scores = [dict(zip(r.metrics, r.scores, strict=True))["events"] for r in rows if r.seconds == 60]
    assert set(scores[:150]) == {-1.0} and min(scores[150:]) >= 0.0


def test_a_sum_that_is_negative_or_no_number_harms_nothing() -> None:
    host, same = Told(METRICS, WARM), Told(METRICS, WARM)
    for minute in range(200):
        host.close_window(window(minute, events=200 + minute % 50, bytes_out=(-1) ** minute * 10 ** (minute % 17)))
        same.close_window(window(minute, events=200 + minute % 50))
    found, expected = (one.close_window(window(200, events=4_000)) for one in (host, same))
    assert dict(zip(found[0][-1].metrics, found[0][-1].scores, strict=True))["events"] == expected[0][-1].scores[0]
    assert [signal.rule for signal in found[1]] == [signal.rule for signal in expected[1]] == ["events:peak"]
    assert host.restart().host.snapshot() == host.host.snapshot()
