"""What goes wrong if partitions are paced wrongly: memory without bound, or a flow that stands still for ever."""

from __future__ import annotations

import os
import subprocess
import sys
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.batch import END_OF_TIME, UNKNOWN
from operators.pace import Pace, make_board, open_board

AHEAD = 100
pytestmark = pytest.mark.usefixtures("always_looking")


@pytest.fixture
def always_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operators.pace.LOOK", 0.0)


class Cluster:
    """Partitions with event times to read, spread over processes that share where they are."""

    def __init__(self, backlogs: list[list[int]], processes: int) -> None:
        self.left = [list(reversed(times)) for times in backlogs]
        self.clocks = [UNKNOWN] * len(backlogs)
        self.names = [str(number) for number in range(len(backlogs))]
        board = [UNKNOWN] * len(backlogs)
        self.paces = [Pace(self.names, AHEAD, board) for _ in range(processes)]

    def may_read(self, number: int) -> bool:
        return self.paces[number % len(self.paces)].may_read(self.names[number])

    def read(self, number: int) -> None:
        """Read the next event."""
        self.clocks[number] = max(self.clocks[number], self.left[number].pop())
        self.report(number)

    def report(self, number: int) -> None:
        pace = self.paces[number % len(self.paces)]
        pace.report(self.names[number], self.clocks[number], at_end=not self.left[number])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.integers(0, 5_000), max_size=30), min_size=1, max_size=6), st.integers(1, 4), st.integers(0)
)
def test_all_is_read_and_nobody_is_far_ahead(backlogs: list[list[int]], processes: int, seed: int) -> None:
    chance = Random(seed)
    cluster = Cluster(backlogs, processes)
    numbers = range(len(backlogs))
    for number in numbers:
        cluster.report(number)
    while behind := [number for number in numbers if cluster.left[number]]:
        may = [number for number in behind if cluster.may_read(number)]
        assert may, "somebody must be able to read on, whoever is behind"
        number = chance.choice(may)
        known = [cluster.clocks[n] for n in behind if cluster.clocks[n] != UNKNOWN]
        if len(known) == len(behind):
            assert cluster.clocks[number] <= min(known) + AHEAD
        cluster.read(number)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 8), st.integers(0))
def test_one_without_a_sign_lets_the_others_go_no_further_than_from_where_they_began(others: int, seed: int) -> None:
    chance = Random(seed)
    cluster = Cluster([list(range(1_000, 9_000, 10)) for _ in range(others)] + [[7_000]], 2)
    for number in range(others + 1):
        cluster.report(number)
    for _ in range(others * 20):
        may = [number for number in range(others) if cluster.may_read(number)]
        if may:
            cluster.read(chance.choice(may))
    assert all(clock <= 1_000 + AHEAD + 10 for clock in cluster.clocks[:others])
    assert cluster.may_read(others)
    cluster.read(others)
    assert all(cluster.may_read(number) for number in range(others))


def test_without_shared_memory_partitions_of_other_processes_hold_nobody_back() -> None:
    pace = Pace(["mine", "theirs"], AHEAD)
    pace.report("mine", UNKNOWN)
    for time in range(0, 10_000, 1_000):
        assert pace.may_read("mine")
        pace.report("mine", time)


def test_processes_see_each_others_clocks() -> None:
    board = make_board(3)
    try:
        mine = open_board(board, 3)
        assert list(mine) == [UNKNOWN] * 3
        code = f"from operators.pace import open_board\nopen_board({board}, 3)[1] = {END_OF_TIME}"
        subprocess.run([sys.executable, "-c", code], check=True, pass_fds=[board], env={**os.environ})
        mine[2] = -5
        assert list(open_board(board, 3)) == [UNKNOWN, END_OF_TIME, -5]
    finally:
        os.close(board)
