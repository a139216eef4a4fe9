"""``winnow bench``: what a user of the command line sees."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli import main
from flows.commands import bench


def test_without_a_name_the_benchmarks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench"]) == 0
    listed = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert {"rules", "throughput", "snapshot", "longrun"} <= set(listed)
    assert all(said.strip().endswith(".") for said in listed.values())
    # Modules that benchmarks are made of are none.
    assert "peers" not in listed and "__init__" not in listed


@pytest.mark.parametrize("name", ["nonsense", "peers", "../flows/cli", "rules.py"])
def test_a_benchmark_that_there_is_not_is_refused_in_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", name]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert f"no benchmark {name!r}" in line and "rules" in line


def test_an_installation_without_the_source_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bench, "FOLDER", tmp_path / "benchmarks")
    assert main(["bench", "rules"]) == 2
    assert "run from Winnow's source" in capsys.readouterr().err


def test_a_benchmark_that_lacks_its_data_names_the_option(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flows.cli", "bench", "rules", "--data", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=bench.FOLDER.parent)
    assert done.returncode == 2
    assert "--data" in done.stderr and "Traceback" not in done.stderr
