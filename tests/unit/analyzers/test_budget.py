"""Alerting by budget: an operator gets at most so many anomalies a host and day, and each says why."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.anomaly.budget import DAY, HELD, MINUTE, Alarm, Verdict
from analyzers.anomaly.budget_anomaly import NAME, READINGS, Anomaly, Reading, Unusual, decades, rare_readings, unusual
from analyzers.anomaly.rarity import Surprise
from analyzers.anomaly.scorers.light import LightBank
from analyzers.anomaly.settings import BudgetSettings

HOUR = 60 * MINUTE
READING = st.builds(
    Reading,
    st.sampled_from([f"m{n}" for n in range(12)]),
    st.floats(0, 100),
    st.floats(2, 15),
    st.just(0.0),
    st.just(50.0),
)
#: Minutes since the window before, and what was unusual.
STREAMS = st.lists(st.tuples(st.integers(1, 600), st.lists(READING, min_size=1, max_size=4)), max_size=60)


def reading(metric: str = "logins", surprise: float = 6.0, value: float = 90.0) -> Reading:
    return Reading(metric, value, surprise, 2.0, 12.0, ("attack.t1110",))


def warm(**changed: float) -> BudgetSettings:
    return BudgetSettings.model_validate({"warm_hours": 0.0, **changed})


def judge(alarm: Alarm, time: int, *readings: Reading) -> Verdict:
    found = unusual("web-1", time, 0, readings, 0.0)
    assert found is not None
    return alarm.judge(found)


def windows(stream: list[tuple[int, list[Reading]]]) -> list[Unusual]:
    at, found = 0, []
    for minutes, readings in stream:
        at += minutes * MINUTE
        one = unusual("web-1", at, 0, readings, 3.0)
        found += [one] if one else []
    return found


@settings(max_examples=200, deadline=None)
@given(STREAMS, st.integers(1, 4), st.sampled_from([0.0, 15.0]))
def test_no_stretch_of_24_hours_has_more_anomalies_than_the_budget(stream: list, per_day: int, opened: float) -> None:
    alarm = Alarm("web-1", warm(per_day=per_day, step=0.0, habituation=0.0, mute_minutes=0.0, open_minutes=opened))
    said = [w.time for w in windows(stream) if alarm.judge(w).status == "alarm"]
    for time in said:
        assert sum(time <= other < time + DAY for other in said) <= per_day


def test_what_the_budget_has_no_room_for_is_counted_and_there_is_room_again_a_day_later() -> None:
    alarm = Alarm("web-1", warm(per_day=2, step=0.0))
    said = [judge(alarm, hour * HOUR, reading(f"m{hour}")).status for hour in (1, 2, 3, 24, 25, 26)]
    assert said == ["alarm", "alarm", "spent", "spent", "alarm", "alarm"]
    assert alarm.refused == 2


def test_a_new_host_is_silent_and_says_until_when() -> None:
    alarm = Alarm("web-1", BudgetSettings(warm_hours=24))
    born = 5 * HOUR
    first = alarm.judge(Unusual("web-1", born + HOUR, born, (reading(),)))
    assert (first.status, first.anomaly, first.warm_at) == ("warming", None, born + 24 * HOUR)
    assert alarm.judge(Unusual("web-1", born + 24 * HOUR, born, (reading(),))).status == "alarm"


def test_a_noisy_host_must_be_louder_than_a_quiet_one_and_is_heard_again_days_later() -> None:
    settings = warm(step=0.3, open_minutes=0.0)
    noisy, quiet = Alarm("noisy", settings), Alarm("quiet", settings)
    for hour in range(1, 13):
        judge(noisy, hour * HOUR, reading(f"m{hour}", 5.0))
    assert judge(noisy, 38 * HOUR, reading("faint", 3.2)).status == "quiet"
    assert judge(quiet, 38 * HOUR, reading("faint", 3.2)).status == "alarm"
    assert judge(noisy, 38 * HOUR + 5 * DAY, reading("faint", 3.2)).status == "alarm"


def test_a_storm_while_a_host_is_new_does_not_make_it_deaf_for_long() -> None:
    alarm = Alarm("web-1", BudgetSettings(warm_hours=24))
    for minute in range(1_400):
        judge(alarm, minute * MINUTE, reading(f"m{minute}", 12.0))
    assert judge(alarm, 2 * DAY, reading("attack", 4.5)).status == "alarm"


def test_an_alarmed_metric_is_mute_for_a_while_and_others_are_not() -> None:
    alarm = Alarm("web-1", warm(mute_minutes=60, habituation=0.0, open_minutes=0.0))
    assert judge(alarm, 0, reading("logins")).status == "alarm"
    assert judge(alarm, 30 * MINUTE, reading("logins")).status == "muted"
    both = judge(alarm, 31 * MINUTE, reading("logins"), reading("bytes"))
    assert both.anomaly is not None
    assert (both.anomaly.lead.metric, [one.metric for one in both.anomaly.passed]) == ("bytes", ["bytes"])
    assert judge(alarm, 60 * MINUTE, reading("logins")).status == "alarm"


def test_a_metric_that_alarms_day_after_day_is_heard_less_and_less_unless_it_gets_louder() -> None:
    alarm = Alarm("web-1", warm(habituation=0.5, step=0.0))
    said = [judge(alarm, day * DAY, reading("backup", 4.0)).status for day in range(1, 15)]
    assert said[:7].count("alarm") > said[7:].count("alarm") > 0
    assert judge(alarm, 15 * DAY, reading("backup", 7.0)).status == "alarm"
    assert judge(alarm, 16 * DAY, reading("other", 4.0)).status == "alarm"


def test_the_steps_of_an_attack_are_one_anomaly_that_grows() -> None:
    alarm = Alarm("web-1", warm(per_day=1, open_minutes=15))
    steps = [judge(alarm, minute * MINUTE, reading(f"step-{minute}", 6.0)) for minute in (1, 5, 14, 17)]
    assert [step.status for step in steps] == ["alarm", "added", "added", "spent"]
    assert [step.anomaly.opened for step in steps if step.anomaly] == [MINUTE] * 3


def test_dips_count_as_peaks_do() -> None:
    bank = LightBank(1)
    for minute in range(400):
        bank.learn([100.0 + minute % 7], minute * MINUTE)
    _, [low], [high] = bank.band(400 * MINUTE)
    surprises = [bank.surprises([v], 400 * MINUTE)[0] for v in (40.0, 103.0, 270.0)]
    found = [Reading("events", v, s, low, high) for v, s in zip((40.0, 103.0, 270.0), surprises, strict=True)]
    assert [one.surprise >= 3.0 for one in found] == [True, False, True]
    assert [one.side for one in found if one.surprise >= 3.0] == ["dip", "peak"]
    for one in (found[0], found[2]):
        assert judge(Alarm("web-1", warm()), 0, one).status == "alarm"


def test_an_anomaly_says_value_band_since_when_tags_and_what_moved_with_it() -> None:
    alarm = Alarm("web-1", warm(least=5.0))
    for minute in (1, 2, 3):
        judge(alarm, minute * MINUTE, reading("logins", 2.5))
    others = [reading("failures", 4.0, 80.0), reading("kerberos", 3.0), reading("bytes", 2.5), reading("dns", 2.2)]
    verdict = judge(alarm, 4 * MINUTE, reading("logins", 6.0), *others)
    assert verdict.anomaly is not None
    anomaly = verdict.anomaly
    assert (anomaly.lead.value, anomaly.lead.low, anomaly.lead.high) == (90.0, 2.0, 12.0)
    assert (anomaly.since, anomaly.time) == (MINUTE, 4 * MINUTE)
    assert [one.metric for one in anomaly.moved] == ["failures", "kerberos", "bytes"]
    assert anomaly.tags == ("attack.t1110",)
    assert anomaly.text() == (
        "logins was 90 on web-1 at 1970-01-01T00:04:00.000000Z; 2 to 12 is usual here; unusual since "
        "1970-01-01T00:01:00.000000Z; with it moved failures (80), kerberos (90), bytes (90)"
    )


def test_a_metric_that_was_usual_in_between_is_unusual_since_then_only() -> None:
    alarm = Alarm("web-1", warm(least=5.0))
    judge(alarm, 0, reading("logins", 2.5))
    verdict = judge(alarm, 20 * MINUTE, reading("logins", 6.0))
    assert verdict.anomaly is not None
    assert verdict.anomaly.since == 20 * MINUTE
    assert "since" not in verdict.anomaly.text()


def test_what_is_rare_says_how_often_it_is_seen() -> None:
    found = [Surprise("4625", 3.0, 4.0, 0.5, 4.2, 9_000.0), Surprise("4624", 1.0, 2.5, 0.0, 2.5, 30.0)]
    readings = rare_readings(found, 4.6, ("windows",))
    assert [one.surprise for one in readings] == [4.6, 2.5]
    text = Anomaly("dc", 0, 0, readings[0], 0, (), tuple(readings)).text()
    assert text == "4625 was 3 on dc at 1970-01-01T00:00:00.000000Z; it is seen here once in 150 hours or so"


@settings(max_examples=150, deadline=None)
@given(STREAMS, st.integers(0, 60))
def test_a_restart_midway_gives_the_same_alarms(stream: list, cut: int) -> None:
    chosen = BudgetSettings(per_day=2, warm_hours=8, mute_minutes=120)
    steady, restarted = Alarm("web-1", chosen), Alarm("web-1", chosen)
    for number, window in enumerate(windows(stream)):
        if number == cut:
            restarted = Alarm.restore(chosen, restarted.snapshot())
        assert steady.judge(window) == restarted.judge(window)
    assert steady.snapshot() == restarted.snapshot()


def test_what_a_host_holds_is_bounded_whatever_its_metrics_are_called() -> None:
    alarm = Alarm("web-1", warm(per_day=1_000, open_minutes=0.0, step=0.0))
    for minute in range(2_000):
        judge(alarm, minute * MINUTE, *(reading(f"{minute}-{n}" * 50, 14.0) for n in range(3)))
    assert len(alarm._alarmed) <= HELD
    assert len(alarm._runs) <= HELD
    crowd = unusual("web-1", 0, 0, [reading(f"m{n}", 2.0 + n / 100) for n in range(500)], 3.0)
    assert crowd is not None
    assert len(crowd.readings) == READINGS
    assert crowd.readings[0].metric == "m499"
    (named,) = rare_readings([Surprise("x" * 10_000, 1.0, 4.0, 0.0, 4.0, 9.0)], 4.0)
    assert len(named.metric) == NAME
    small = Alarm("web-1", BudgetSettings(warm_hours=0))
    for minute in range(2_000):
        judge(small, minute * MINUTE, *(reading(f"{minute}-{n}" * 50, 14.0) for n in range(3)))
    assert len(small.snapshot()) < 2_500


@pytest.mark.parametrize(("score", "expected"), [(-1.0, 0.0), (0.0, 0.0), (math.nan, 0.0), (0.99, 2.0), (2.0, 15.0)])
def test_scores_become_decades_and_what_has_no_score_no_surprise(score: float, expected: float) -> None:
    assert decades(score) == expected
    found = unusual("web-1", 0, 0, [Reading("m", 1.0, decades(score), 0.0, 0.0)], 3.0)
    assert (found is None) == (expected < 3.0)


def test_a_snapshot_of_another_version_is_refused() -> None:
    state = Alarm("web-1", BudgetSettings()).snapshot()
    with pytest.raises(ValueError, match="alarm of web-1: snapshot version 9"):
        Alarm.restore(BudgetSettings(), state.replace(b"\xa7version\x01", b"\xa7version\x09"))


def test_what_does_not_tell_raises_nothing_and_is_named_beside_what_does() -> None:
    silent = Reading("sources", 90.0, 6.0, 2.0, 12.0, tells=False)
    assert unusual("web-1", 0, 0, [silent], 3.0) is None
    telling = reading("logins", 4.0)
    window = unusual("web-1", 0, 0, [silent, telling], 3.0)
    assert window is not None
    verdict = Alarm("web-1", warm()).judge(window)
    assert verdict.anomaly is not None
    assert (verdict.anomaly.lead, verdict.anomaly.moved, verdict.anomaly.passed) == (telling, (silent,), (telling,))


def test_forty_metrics_that_do_not_tell_do_not_crowd_out_one_that_does() -> None:
    crowd = [Reading(f"m{number}", 90.0, 6.0, 2.0, 12.0, tells=False) for number in range(40)]
    window = unusual("web-1", 0, 0, [*crowd, reading("logins", 4.0)], 3.0)
    assert window is not None and len(window.readings) == READINGS
    assert "logins" in [one.metric for one in window.readings]


def test_a_value_above_what_is_expected_is_a_peak_where_the_band_is_cut_at_0() -> None:
    assert Reading("logins", 2.0, 3.0, 0.0, 6.0, middle=0.2).side == "peak"
    assert Reading("logins", 2.0, 3.0, 0.0, 6.0).side == "dip"
