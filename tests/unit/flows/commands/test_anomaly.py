"""``winnow anomaly``: the same rows with a score; what cannot be scored is named and stays."""

from __future__ import annotations

import csv
import math
import random
from pathlib import Path

import pytest

from flows.cli import main


def series(count: int = 600, peak: int | None = 500) -> str:
    """Return minutes of a quiet metric, with one peak."""
    chance = random.Random(1)
    rows = [f"2024-03-04 {m // 60:02}:{m % 60:02}:00,{chance.gauss(50, 4):.3f}" for m in range(count)]
    if peak is not None:
        rows[peak] = rows[peak].split(",")[0] + ",900"
    return "timestamp,value\n" + "\n".join(rows) + "\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("scorer", ["rich", "light"])
def test_rows_stay_as_they_were_and_the_peak_scores_highest(scorer: str, here: Path) -> None:
    (here / "cpu.csv").write_text(series())
    assert main(["anomaly", "cpu.csv", "--out", "out", "--scorer", scorer]) == 0
    rows = read(here / "out" / "cpu.csv")
    assert [f"{row['timestamp']},{row['value']}" for row in rows] == series().splitlines()[1:]
    scores = [float(row["anomaly_score"]) for row in rows]
    assert all(0 <= score <= 1 for score in scores) and scores.index(max(scores)) == 500 and max(scores) > 0.99


def test_no_score_knows_what_comes_after_it(here: Path) -> None:
    (here / "whole.csv").write_text(series())
    (here / "half.csv").write_text("\n".join(series().splitlines()[:551]) + "\n")
    assert main(["anomaly", "whole.csv", "half.csv", "--out", "out"]) == 0
    assert read(here / "out" / "half.csv") == read(here / "out" / "whole.csv")[:550]


def test_rows_that_cannot_be_scored_are_named_and_kept_and_change_no_other_score(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "good.csv").write_text(series())
    lines = series().splitlines()
    bad = ["soon,5", "2024-03-04 05:00:00,nan", "2024-03-04 05:00:00,inf", "2024-03-04 05:00:00,1e999", "x", '"2024,5']
    bad += [
        "2024-03-04 05:00:00,1,2",
        "9999-01-01 00:00:00,5",
        "2024-03-04 05:00:00,",
        "\x00,\x00",
        "é," + "9" * 70_000,
    ]
    (here / "bad.csv").write_text("\n".join([*lines[:301], *bad, *lines[301:]]) + "\n", encoding="latin-1")
    assert main(["anomaly", "good.csv", "bad.csv", "--out", "out"]) == 1
    said = capsys.readouterr().err
    for line in range(302, 302 + len(bad)):
        assert f"bad.csv: line {line}: " in said
    assert f"bad.csv: {600 + len(bad)} rows" in said and f"{len(bad)} without a score" in said
    written = (here / "out" / "bad.csv").read_bytes().decode("latin-1").split("\n")
    assert [line.rpartition(",")[0] for line in written[301 : 301 + len(bad) - 1]] == bad[:-1]
    assert [line.rpartition(",")[2] for line in written[301 : 301 + len(bad)]] == [""] * len(bad)
    good = (here / "out" / "good.csv").read_text().split("\n")
    assert written[:301] + written[301 + len(bad) :] == good


def test_a_flood_of_bad_rows_is_counted_and_not_printed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a.csv").write_text("timestamp,value\n" + "never,1\n" * 5_000)
    assert main(["anomaly", "a.csv", "--out", "out"]) == 1
    said = capsys.readouterr().err
    assert len(said.splitlines()) < 30 and "5,000 without a score" in said


def test_rows_out_of_order_are_scored_where_they_stand_and_counted(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = series().splitlines()
    lines[100], lines[200] = lines[200], lines[100]
    (here / "a.csv").write_text("\n".join(lines))
    assert main(["anomaly", "a.csv", "--out", "out"]) == 0
    assert "2 older than the row before" in capsys.readouterr().err
    assert len(read(here / "out" / "a.csv")) == 600


def test_times_may_be_seconds_or_name_a_zone_and_columns_may_be_more(here: Path) -> None:
    times = ["1709510400", "1709510460000", "2024-03-04T00:02:00Z", "2024-03-04T01:03:00.000+01:00"]
    (here / "a.csv").write_text("﻿Value,note,Timestamp\r\n" + "".join(f'1,"a, b",{time}\r\n' for time in times))
    assert main(["anomaly", "a.csv", "--out", "out"]) == 0
    rows = read(here / "out" / "a.csv")
    assert [row["note"] for row in rows] == ["a, b"] * 4 and all(row["anomaly_score"] == "0" for row in rows)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a.csv: empty"),
        ("time,value\n1,2\n", "one column timestamp is needed, 0 found"),
        ("timestamp,value,value\n", "one column value is needed, 2 found"),
        ("timestamp,value,anomaly_score\n", "has a column anomaly_score already"),
    ],
)
def test_a_file_that_is_no_series_is_refused_before_anything_is_written(
    text: str, said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "a.csv").write_text(text)
    (here / "good.csv").write_text(series(20, None))
    assert main(["anomaly", "good.csv", "a.csv", "--out", "out"]) == 2
    assert said in capsys.readouterr().err and not (here / "out").exists()


def test_nothing_is_written_over(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a.csv").write_text(series(20, None))
    (here / "sub").mkdir()
    (here / "sub" / "a.csv").write_text(series(20, None))
    assert main(["anomaly", "a.csv", "--out", "."]) == 2
    assert main(["anomaly", "a.csv", "sub/a.csv", "--out", "out"]) == 2
    assert "same name" in capsys.readouterr().err
    assert (here / "a.csv").read_text() == (here / "sub" / "a.csv").read_text() == series(20, None)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("gone.csv", "--out", "out"), "gone.csv: No such file"),
        (("a.csv", "--out", "out", "--scorer", "oracle"), "no scorer 'oracle'; known: "),
        (("a.csv", "--out", "a.csv"), "a.csv: File exists"),
    ],
)
def test_a_mistake_is_one_line(
    words: tuple[str, ...], named: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "a.csv").write_text(series(20, None))
    assert main(["anomaly", *words]) == 2
    said = capsys.readouterr().err
    assert named in said and len(said.splitlines()) == 1


def test_a_header_alone_gives_a_header_alone(here: Path) -> None:
    (here / "a.csv").write_text("timestamp,value\n")
    assert main(["anomaly", "a.csv", "--out", "out"]) == 0
    assert (here / "out" / "a.csv").read_text() == "timestamp,value,anomaly_score\n"


def test_a_gap_is_skipped_and_not_filled(here: Path) -> None:
    lines = series(peak=None).splitlines()
    later = [line.replace("2024-03-04", "2024-06-10") for line in lines[301:]]
    (here / "a.csv").write_text("\n".join([*lines[:301], *later]))
    assert main(["anomaly", "a.csv", "--out", "out"]) == 0
    scores = [float(row["anomaly_score"]) for row in read(here / "out" / "a.csv")]
    assert math.fsum(score > 0.999 for score in scores) == 0
