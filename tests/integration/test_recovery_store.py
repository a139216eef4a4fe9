"""The recovery store after a kill: Bytewax goes on where we think it does, and from nothing left unfinished."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.errors import BytewaxRuntimeError
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, run_main

from flows.recovery import resume_epoch, trim_store

#: Keys and numbers; at None the flow crashes, once.
ITEMS = (("a", 1), ("a", 2), None, ("b", 10), None, ("a", 4))


class Crash(Exception):
    """The flow dies."""


class Numbers(FixedPartitionedSource[tuple[str, int], int]):
    """The items, one at a time; each crash happens once for all runs that share ``crashed``."""

    def __init__(self, crashed: set[int]) -> None:
        self.crashed = crashed

    def list_parts(self) -> list[str]:
        return ["items"]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> Part:
        return Part(self.crashed, resume_state or 0)


class Part(StatefulSourcePartition[tuple[str, int], int]):
    def __init__(self, crashed: set[int], next_item: int) -> None:
        self.crashed = crashed
        self.next = next_item

    def next_batch(self) -> list[tuple[str, int]]:
        if self.next == len(ITEMS):
            raise StopIteration
        index, item = self.next, ITEMS[self.next]
        if item is None and index not in self.crashed:
            self.crashed.add(index)
            raise Crash
        self.next += 1
        return [item] if item is not None else []

    def snapshot(self) -> int:
        return self.next


def sums(folder: Path, crashed: set[int]) -> list[tuple[str, int]]:
    """Run a flow of running sums until it ends or dies, with an epoch a batch; return what it put out."""
    out: list[tuple[str, int]] = []
    flow = Dataflow("sums")
    numbers = op.input("source", flow, Numbers(crashed))
    added = op.stateful_map("add", numbers, lambda state, value: ((state or 0) + value,) * 2)
    op.output("out", added, TestingSink(out))
    with suppress(BytewaxRuntimeError):
        run_main(flow, epoch_interval=timedelta(0), recovery_config=RecoveryConfig(folder))
    return out


def rows(folder: Path, query: str) -> Iterator[tuple[int, ...]]:
    for path in sorted(folder.glob("part-*.sqlite3")):
        with closing(sqlite3.connect(path)) as database:
            yield from database.execute(query).fetchall()


def test_bytewax_resumes_at_the_epoch_that_we_compute(tmp_path: Path) -> None:
    init_db_dir(tmp_path, 4)
    crashed: set[int] = set()
    assert resume_epoch(tmp_path) is None
    sums(tmp_path, crashed)
    for execution in (1, 2, 3):
        expected = resume_epoch(tmp_path)
        assert expected is not None
        sums(tmp_path, crashed)
        assert dict(rows(tmp_path, "SELECT ex_num, resume_epoch FROM exs"))[execution] == expected


def test_what_was_left_unfinished_is_not_gone_on_from(tmp_path: Path) -> None:
    init_db_dir(tmp_path, 1)
    crashed: set[int] = set()
    out = sums(tmp_path, crashed)
    assert out == [("a", 1), ("a", 3)]
    epoch = resume_epoch(tmp_path)
    assert epoch is not None
    # What a worker leaves that got further than the one that died: the sum with an event that is yet to be read again.
    with closing(sqlite3.connect(tmp_path / "part-0.sqlite3")) as database, database:
        database.execute(
            "INSERT INTO snaps (step_id, state_key, snap_epoch, ser_change) "
            "SELECT step_id, state_key, ?, ? FROM snaps WHERE state_key = 'a' LIMIT 1",
            (epoch, pickle.dumps(7)),
        )
    for _ in range(2):
        epoch = resume_epoch(tmp_path)
        assert epoch is not None
        finished = set(rows(tmp_path, f"SELECT step_id, state_key, snap_epoch FROM snaps WHERE snap_epoch < {epoch}"))
        trim_store(tmp_path, epoch)
        assert set(rows(tmp_path, "SELECT step_id, state_key, snap_epoch FROM snaps")) == finished
        out += sums(tmp_path, crashed)
    # Without the trim Bytewax 0.21.1 takes that sum up in the third run, and says 11 of a.
    assert dict(out) == {"a": 7, "b": 10}
