"""Run Sigma rules as SQL over a SQLite table of the events: what pySigma's SQLite backend is made for.

Run by ``benchmarks.peers`` with the Python of a virtual environment that has the packages; imports nothing of Winnow.
One argument: a JSON file naming ``engine``, ``lines`` (a file of JSON lines), ``converted`` (the rules that
``convert.py`` wrote), ``result`` (the JSON file to write). Seconds are processor time. Every engine gets the same SQL,
the same rows, only the columns that rules name, indexes on event id and channel, and gives only the number of the line
back: what is cheapest for it.
"""

from __future__ import annotations

import functools
import json
import re
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

#: What Winlogbeat and NXLog call otherwise than rules do.
HEADER = {
    "event_id": "EventID",
    "log_name": "Channel",
    "computer_name": "Computer",
    "source_name": "Provider_Name",
    "Hostname": "Computer",
    "SourceName": "Provider_Name",
}
#: Where Winlogbeat keeps the fields of the event.
INNER = ("event_data", "user_data")
#: The columns that decide an event's log source.
ROUTING = ("EventID", "Channel")

Rule = dict[str, Any]
Row = dict[str, Any]
Pair = tuple[int, str]


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Load and query; return seconds of each, rules that SQLite refused by reason, and (line, rule id) pairs."""
    rules: list[Rule] = json.loads(Path(job["converted"]).read_text())
    began = time.process_time()
    with Path(job["lines"]).open("rb") as file:
        rows = list(read(file, columns(rules)))
    query = ENGINES[job["engine"]](rows, kinds(rows, columns(rules)))
    loaded = time.process_time()
    pairs: set[Pair] = set()
    refused: dict[str, str] = {}
    for rule in rules:
        try:
            pairs.update((line, rule["id"]) for line in query(rule))
        except sqlite3.Error as error:
            refused[rule["id"]] = f"{type(error).__name__}: {error}"
    return {
        "refused": refused,
        "load_seconds": loaded - began,
        "query_seconds": time.process_time() - loaded,
        "pairs": sorted(pairs),
    }


def columns(rules: list[Rule]) -> dict[str, str]:
    """Return the fields that rules name by their lower-cased names, for SQLite's columns know no case."""
    named = sorted({name for rule in rules for name in rule["required_fields"]}.union(ROUTING))
    return {name.lower(): name for name in named}


def read(lines: Iterator[bytes], wanted: dict[str, str]) -> Iterator[Row]:
    """Yield a row a line: its number and the wanted fields; a field spelled as the rules do goes before others."""
    for number, line in enumerate(lines):
        event = orjson.loads(line)
        fields = {name: value for name, value in event.items() if name not in INNER}
        for part in INNER:
            fields.update(event.get(part) or {})
        for name, column in HEADER.items():
            if name in event:
                fields.setdefault(column, event[name])
        row: Row = {"line": number}
        for name, value in fields.items():
            column = wanted.get(name.lower())
            if column is not None and value is not None and (name == column or column not in row):
                row[column] = scalar(value)
        yield row


def scalar(value: Any) -> Any:
    """Return what a column can hold: lists and objects as JSON, booleans as the words that rules compare with."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str | int | float) else orjson.dumps(value).decode()


def kinds(rows: list[Row], wanted: dict[str, str]) -> list[tuple[str, type]]:
    """Return each column with int if it has only numbers, else str."""
    numbers: dict[str, bool] = {}
    for row in rows:
        for name, value in row.items():
            numbers[name] = numbers.get(name, True) and isinstance(value, int)
    return [("line", int), *((name, int if numbers.get(name) else str) for name in wanted.values())]


def plain(rows: list[Row], fields: list[tuple[str, type]]) -> Callable[[Rule], list[int]]:
    """Load the rows with the standard library's sqlite3; return how a rule is asked for its lines."""
    database = sqlite3.connect(":memory:")
    database.create_function("regexp", 2, lambda pattern, value: value is not None and found(pattern, str(value)))
    declared = ", ".join(f'"{name}" {"INTEGER" if kind is int else "TEXT COLLATE NOCASE"}' for name, kind in fields)
    database.execute(f"CREATE TABLE logs ({declared})")
    inserts: dict[tuple[str, ...], str] = {}
    for row in rows:
        names = tuple(row)
        if names not in inserts:
            quoted = ", ".join(f'"{name}"' for name in names)
            inserts[names] = f"INSERT INTO logs ({quoted}) VALUES ({', '.join('?' * len(names))})"
        database.execute(inserts[names], tuple(row.values()))
    for name in ROUTING:
        database.execute(f"CREATE INDEX of_{name} ON logs ({name})")

    def query(rule: Rule) -> list[int]:
        return [line for sql in rule["rule"] for (line,) in database.execute(lean(sql))]

    return query


def zargunlite(rows: list[Row], fields: list[tuple[str, type]]) -> Callable[[Rule], list[int]]:
    """Load the rows with Zargunlite, Zircolite's engine as a library; return how a rule is asked for its lines."""
    from zargunlite.core import ZargunCore
    from zargunlite.model import ZircoliteRule

    core = ZargunCore()
    core.load_data(rows, fields=fields, strict_field_name=False)
    for name in ROUTING:
        core.create_index(name)

    def query(rule: Rule) -> list[int]:
        asked = ZircoliteRule(title=rule["title"], id=rule["id"], rule=[lean(sql) for sql in rule["rule"]])
        return [match["line"] for match in core.execute_zircolite_rule(asked).matches]

    return query


def lean(sql: str) -> str:
    """Return the query for the number of the line alone."""
    return sql.replace("SELECT * FROM", "SELECT line FROM", 1)


@functools.cache
def pattern_of(pattern: str) -> re.Pattern[str]:
    """Return the compiled pattern; Python's own cache holds fewer than the rules have."""
    return re.compile(pattern)


def found(pattern: str, value: str) -> bool:
    """Return whether the pattern is anywhere in the value."""
    return pattern_of(pattern).search(value) is not None


ENGINES = {"sqlite": plain, "zargunlite": zargunlite}

if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text())
    Path(asked["result"]).write_text(json.dumps(run(asked)))
