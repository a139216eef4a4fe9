"""Series in CSV files: read a row, score it, write it. One row in memory, whatever the file holds."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple, TextIO

from analyzers.anomaly.scorers.scorer import TIME, Scorer
from flows.usage import UsageError

#: Characters of a line that is read.
LONGEST = 65_536
#: Rows of a file that are named when they cannot be scored; of more the number is told.
NAMED = 20
#: Rows after which progress is told.
PROGRESS = 200_000
SCORE = "anomaly_score"


class Summary(NamedTuple):
    """What became of a file."""

    name: str
    rows: int
    alarms: int
    #: Rows without a score.
    failed: int
    #: Rows older than the one before.
    backwards: int

    def __str__(self) -> str:
        """Return a line for the log."""
        said = f"{self.name}: {self.rows:,} rows, {self.alarms:,} alarms"
        if self.backwards:
            said += f", {self.backwards:,} older than the row before"
        return said + (f", {self.failed:,} without a score" if self.failed else "")


class Row(NamedTuple):
    """A row of a series."""

    #: Line in the file, from 1.
    line: int
    #: As it was read, without its end.
    text: str
    #: µs since 1970, UTC.
    time: int
    value: float
    #: Why it cannot be scored; then time and value say nothing.
    problem: str | None = None


class Series:
    """One file. Reads the header at once.

    Raises:
        UsageError: the file cannot be read, is empty, or has no columns ``timestamp`` and ``value``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as file:
            self.header = file.readline(LONGEST).rstrip("\r\n")
        columns = [name.strip().lower() for name in _cells(self.header) or []]
        if not any(columns):
            raise UsageError(f"{path}: empty; a header timestamp,value is needed")
        for name in ("timestamp", "value"):
            if columns.count(name) != 1:
                raise UsageError(f"{path}: line 1: one column {name} is needed, {columns.count(name)} found")
        if SCORE in columns:
            raise UsageError(f"{path}: line 1: has a column {SCORE} already")
        self._width, self._time, self._value = len(columns), columns.index("timestamp"), columns.index("value")

    def score(self, scorer: Scorer, out: Path) -> Summary:
        """Write the rows with their scores; name on stderr those that have none."""
        part = out.with_name(out.name + ".part")
        rows = alarms = failed = backwards = before = 0
        try:
            with part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                file.write(f"{self.header},{SCORE}\n")
                for row in self.rows():
                    rows += 1
                    if rows % PROGRESS == 0:
                        print(f"{self.path.name}: {rows:,} rows", file=sys.stderr)
                    if row.problem is not None:
                        failed += 1
                        self._name(row, failed)
                        file.write(f"{row.text},\n")
                        continue
                    if rows - failed > 1 and row.time < before:
                        backwards += 1
                    before = row.time
                    x = {TIME: row.time}
                    score = scorer.score_one(x, row.value)
                    scorer.learn_one(x, row.value)
                    alarms += score >= scorer.ALARM
                    file.write(f"{row.text},{score:.12g}\n")
            part.replace(out)
        except OSError as error:
            raise UsageError(f"{out}: {error.strerror}") from None
        finally:
            part.unlink(missing_ok=True)
        return Summary(self.path.name, rows, alarms, failed, backwards)

    def rows(self) -> Iterator[Row]:
        """Yield the rows after the header; blank lines are none."""
        with self._open() as file:
            file.readline(LONGEST)
            for line, text in _lines(file):
                if text.strip():
                    yield self._row(line, text)

    def _row(self, line: int, text: str) -> Row:
        if len(text) >= LONGEST:
            return Row(line, "", 0, 0.0, f"longer than {LONGEST:,} characters")
        cells = _cells(text)
        if cells is None or len(cells) != self._width:
            found = "no CSV" if cells is None else f"{len(cells)} columns"
            return Row(line, text, 0, 0.0, f"{found}, not {self._width} columns")
        time = parse_time(cells[self._time])
        if time is None:
            return Row(line, text, 0, 0.0, f"timestamp {cells[self._time][:40]!r} is no time")
        try:
            value = float(cells[self._value])
        except ValueError:
            return Row(line, text, 0, 0.0, f"value {cells[self._value][:40]!r} is no number")
        if not math.isfinite(value) or abs(value) >= 1e150:
            return Row(line, text, 0, 0.0, f"value {cells[self._value][:40]!r} is not finite, or too large")
        return Row(line, text, time, value)

    def _name(self, row: Row, failed: int) -> None:
        if failed <= NAMED:
            print(f"{self.path}: line {row.line}: {row.problem}", file=sys.stderr)
        elif failed == NAMED + 1:
            print(f"{self.path}: further rows without a score are only counted", file=sys.stderr)

    def _open(self) -> TextIOWrapper:
        try:
            # Bytes that are no UTF-8 are written as they were read.
            return self.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
        except OSError as error:
            raise UsageError(f"{self.path}: {error.strerror}") from None


def parse_time(text: str) -> int | None:
    """Return a time in µs since 1970, UTC; ``None`` if the text is none of 1900 to 2199.

    ISO 8601, UTC unless it names a zone; or seconds since 1970, or milliseconds if they are over 10¹¹.

    >>> parse_time("2014-04-01 00:00:01"), parse_time("1396310401")
    (1396310401000000, 1396310401000000)
    """
    text = text.strip()
    try:
        time = datetime.fromisoformat(text)
        stamp = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        try:
            stamp = float(text)
        except ValueError:
            return None
        if abs(stamp) > 1e11:
            stamp /= 1e3
    if not -2_208_988_800 <= stamp < 7_258_118_400:
        return None
    return round(stamp * 1e6)


def _lines(file: TextIO) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines after the header; of a longer one its first ``LONGEST`` characters."""
    number = 1
    while text := file.readline(LONGEST):
        number += 1
        whole = text
        while len(whole) == LONGEST and not whole.endswith("\n"):
            whole = file.readline(LONGEST)
        yield number, text.rstrip("\r\n") if whole is text else text


def _cells(line: str) -> list[str] | None:
    """Return the cells of one line; ``None`` if it is no CSV. A quote cannot reach over lines: a row is a line."""
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error:
        return None
