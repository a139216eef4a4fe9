"""The benchmark of many hosts gives figures for each scorer and way to hold them, and sees that a restart is exact."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks import hosts


def test_quick_figures_are_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["hosts", "--quick", "--json", "--metrics", "5", "--scorers", "windows"])
    assert hosts.main() == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["hosts"], row["held"]) for row in rows] == [
        (count, held) for count in (3, 30) for held in ("a bank a host", "at once")
    ]
    for row in rows:
        assert row["same_after_restart"] is True
        assert row["micros_per_host_window"] > 0
        assert 5 * 150 <= row["snapshot_per_host"] <= 5 * 200 + 64
    assert "windows" in hosts.table(rows)


@pytest.mark.parametrize("options", [["--scorers", "none"], ["--hosts", "x"], ["--hosts", "0"]])
def test_what_cannot_be_measured_is_said(options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["hosts", *options])
    assert hosts.main() == 2


def test_a_restart_that_changes_scores_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(hosts.WindowBank):
        def load(self, state: bytes) -> None:
            super().load(state)
            self._row["lean"][:] = 0.0

    monkeypatch.setitem(hosts.BANKS, "windows", Forgetful)
    assert hosts._measure(hosts.Task("windows", 3, 2, False, 10))["same_after_restart"] is False
