"""Metrics count the same whatever the order, and a broken definition is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzers.metrics import Distinct, MetricSet, Partial
from state.events import Event, Kind

FAILED = Kind("linux.sshd", "authentication", "logon-failed", "failure")
CONN = Kind("zeek.conn", "network", "connection")


def event(kind: Kind, offset: int, **fields: object) -> Event:
    return Event("t-0", offset, 0, str(fields.pop("host", "10.0.0.1")), kind, b"", "json", **fields)  # type: ignore[arg-type]


def values(events: list[Event]) -> dict[str, float]:
    metrics = MetricSet.load()
    partial = Partial()
    for one in events:
        metrics.count(partial, [one])
    return {metrics.names[i]: v for i, v in partial.values().items()}


def test_failed_logons_and_users_are_counted() -> None:
    got = values([event(FAILED, i, user=f"u{i % 3}", source_ip="192.0.2.1", inbound=True) for i in range(9)])
    assert got == {"events": 9.0, "logons_failed": 9.0, "users": 3.0, "sources": 1.0}


def test_bytes_out_are_the_hosts_own_whichever_side_it_is() -> None:
    sent = event(CONN, 0, source_ip="10.0.0.1", destination_ip="192.0.2.1", source_bytes=70, destination_bytes=5)
    served = event(
        CONN, 1, source_ip="192.0.2.9", destination_ip="10.0.0.1", source_bytes=1, destination_bytes=30, inbound=True
    )
    got = values([sent, served])
    assert (got["bytes_out"], got["bytes_in"], got["peers"]) == (100.0, 6.0, 2.0)


@given(st.lists(st.integers(0, 200), max_size=300), st.lists(st.integers(0, 200), max_size=300))
def test_distinct_merges_in_any_order(left: list[int], right: list[int]) -> None:
    one, two, both = Distinct(), Distinct(), Distinct()
    one.add(left)
    two.add(right)
    both.add(right + left)
    merged, other = Distinct(set(one.hashes)), Distinct(set(two.hashes))
    merged.merge(two)
    other.merge(one)
    assert merged.count() == other.count() == both.count()
    if len(set(left + right)) < 64:
        assert both.count() == len(set(left + right))


def test_distinct_estimates_many_within_its_error() -> None:
    counted = Distinct()
    counted.add(range(100_000))
    assert abs(counted.count() / 100_000 - 1) < 4 * 0.127


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {name: a, description: x, aggregate: count, of: user}", "metric a"),
        ("- {name: a, description: x, aggregate: sum}", "metric a"),
        ("- {name: a, description: x, aggregate: count, treshold: 3}", "treshold"),
        ("- {name: A B, description: x, aggregate: count}", "name"),
        ("- [", "metrics.yml"),
    ],
)
def test_broken_definition_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "metrics.yml"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        MetricSet.load(path)
