"""The traffic: reproducible, ordered, in rhythm, and silent about what it is."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import pytest
from pydantic import ValidationError

from flows.traffic import BENIGN, SCENARIOS, Message, Traffic, TrafficSettings
from flows.traffic.clock import DAY, HOUR, MINUTE, RHYTHMS, SECOND, WEEK_HOURS, load

#: Monday 8 January 2024, 00:00 UTC.
MONDAY = 1_704_672_000 * SECOND
ALL_ATTACKS = tuple((name, 30 + 20 * number) for number, name in enumerate(SCENARIOS))


def traffic(seed: int = 1, start: int = MONDAY + 10 * HOUR, **settings: object) -> Traffic:
    return Traffic(seed, start, TrafficSettings.model_validate({"attacks_per_hour": 0, **settings}))


def take(source: Traffic, minutes: float) -> list[Message]:
    return list(source.messages(source.start + int(minutes * MINUTE)))


def test_same_seed_and_start_give_the_same_bytes() -> None:
    first, again = (take(traffic(attacks=ALL_ATTACKS, attacks_per_hour=30), 10) for _ in range(2))
    assert first == again
    assert len(first) > 10_000


def test_another_seed_gives_other_traffic() -> None:
    assert take(traffic(seed=1), 1) != take(traffic(seed=2), 1)


def test_a_shorter_run_is_the_beginning_of_a_longer_one() -> None:
    short = take(traffic(attacks_per_hour=60), 3.3)
    assert take(traffic(attacks_per_hour=60), 8)[: len(short)] == short


def test_attacks_do_not_change_the_benign_traffic() -> None:
    calm, attacked = take(traffic(), 6), take(traffic(attacks=ALL_ATTACKS), 6)
    assert [message for message in attacked if message.truth == BENIGN] == calm


def test_messages_come_in_the_order_of_time_and_before_the_end() -> None:
    source = traffic(attacks=ALL_ATTACKS)
    messages = take(source, 12)
    assert all(before.time <= after.time for before, after in pairwise(messages))
    assert source.start <= messages[0].time and messages[-1].time < source.start + 12 * MINUTE


def test_offices_are_busy_by_day_and_quiet_by_night_and_at_the_weekend() -> None:
    def of_workstations(start: int) -> int:
        return sum(message.host.startswith("ws-") for message in take(traffic(start=start), 20))

    day = of_workstations(MONDAY + 10 * HOUR)
    assert day > 5 * of_workstations(MONDAY + 2 * HOUR)
    assert day > 4 * of_workstations(MONDAY + 5 * DAY + 10 * HOUR)


def test_local_time_shifts_the_office_hours() -> None:
    assert load("office", MONDAY + 10 * HOUR) == pytest.approx(load("office", MONDAY + 15 * HOUR, -5))


def test_every_rhythm_is_one_on_average_over_a_week() -> None:
    for name in RHYTHMS:
        samples = [load(name, MONDAY + hour * HOUR) for hour in range(WEEK_HOURS)]
        assert sum(samples) / len(samples) == pytest.approx(1), name


@pytest.mark.parametrize("rate", [20, 100])
def test_the_rate_is_kept_on_average(rate: int) -> None:
    # Sample each hour of a day, a workday: a week's mean lies a little below it.
    seconds = 0
    count = 0
    for hour in range(24):
        count += len(take(traffic(start=MONDAY + hour * HOUR, rate=rate), 0.25))
        seconds += 15
    assert 0.8 * rate < count / seconds < 1.4 * rate


def test_rare_habits_stay_rare_at_a_high_rate() -> None:
    failed = re.compile(rb'Failed password|"(EventID|event_id)":4625,')

    def failures(rate: int) -> int:
        return sum(bool(failed.search(message.value)) for message in take(traffic(rate=rate), 4))

    assert failures(200) <= failures(20) + 15


def test_no_message_says_what_it_is() -> None:
    messages = take(traffic(attacks=ALL_ATTACKS), 12)
    seen = {message.truth for message in messages}
    assert seen == {BENIGN, *SCENARIOS}
    for message in messages:
        value = message.value.lower()
        assert b"benign" not in value and b"winnow" not in value and b"attack_id" not in value
        assert not any(name.encode() in value for name in SCENARIOS), message
        assert not message.attack_id or message.attack_id.encode() not in value


def test_attack_ids_name_each_occurrence() -> None:
    source = traffic(attacks=[("port_scan", 10), ("port_scan", 40)])
    ids = Counter(message.attack_id for message in take(source, 5))
    assert set(ids) == {"", "port_scan-1", "port_scan-2"}
    assert all(bool(message.attack_id) == (message.truth != BENIGN) for message in take(source, 5))


def test_random_attacks_come_as_often_as_asked() -> None:
    source = traffic(attacks_per_hour=10, scenarios=("sql_injection",))
    hours = 0
    for number, occurrence in enumerate(source.attacks()):
        assert occurrence.scenario == "sql_injection"
        if number == 1_000:
            hours = (occurrence.time - source.start) / HOUR
            break
    assert 85 < hours < 118


def test_planned_attacks_start_when_planned() -> None:
    source = traffic(attacks=[("exfiltration", 120.5)], attacks_per_hour=4)
    planned = [at for at, _ in zip(source.attacks(), range(20), strict=False) if at.scenario == "exfiltration"]
    assert source.start + int(120.5 * SECOND) in [occurrence.time for occurrence in planned]


def test_fleets_have_the_size_and_names_asked_for() -> None:
    assert len({host.name for host in traffic(hosts=12).fleet.hosts}) == 12
    large = traffic(hosts=20_000).fleet
    assert len({host.ip for host in large.hosts}) == len({host.name for host in large.hosts}) == 20_000
    assert large.aliases[large.hosts[7].ip] == large.hosts[7].name


def test_a_large_fleet_is_heard_of_as_a_whole() -> None:
    messages = take(traffic(hosts=500, rate=2_000), 0.15)
    assert len({message.host for message in messages}) > 400


@pytest.mark.parametrize("wrong", [{"host": 5}, {"hosts": 1}, {"rate": 0}, {"attacks": [("port_scan", -1)]}])
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        TrafficSettings.model_validate(wrong)


def test_an_unknown_scenario_is_named() -> None:
    with pytest.raises(ValueError, match="unknown scenario: port_scam"):
        traffic(attacks=[("port_scam", 1)])
