"""Lines become texts: each line one answer, and what is broken says so."""

from __future__ import annotations

import random

import pytest

from analyzers.bert.lines import MAX_LINE, LineError, LineReader


def test_plain_lines_are_texts_as_they_stand() -> None:
    reader = LineReader(source="http")
    assert [reader.read(line) for line in (b"id=1", b"", b'{"a": 1}', b"\xff")] == [
        ("id=1", "http"),
        ("", "http"),
        ('{"a": 1}', "http"),
        ("\ufffd", "http"),
    ]


def test_records_are_known_by_the_first_line_and_a_broken_one_is_an_error() -> None:
    reader = LineReader()
    assert reader.read(b"") == ("", "unknown")
    assert reader.read(b'{"text": "id", "source": "SHELL"}') == ("id", "shell")
    assert reader.read(b'{"text": "id"}') == ("id", "unknown")
    for line in (b'{"text":', b"id", b"", b"[]", b'{"text": 5}', b'{"text": "a", "source": 5}', b'{"source": "x"}'):
        with pytest.raises(LineError):
            reader.read(line)


def test_a_first_record_that_is_broken_is_no_plain_text() -> None:
    with pytest.raises(LineError):
        LineReader().read(b'{"source": "http", "text": "a')


def test_what_looks_like_a_record_is_text_if_so_asked() -> None:
    assert LineReader("text").read(b'{"text": "a"}') == ('{"text": "a"}', "unknown")


def test_random_lines_are_read_or_refused() -> None:
    rng = random.Random(2)
    for shape in ("auto", "json", "text"):
        for _ in range(2_000):
            try:
                text, _ = LineReader(shape).read(rng.randbytes(rng.randrange(60)))  # type: ignore[arg-type]
            except LineError as error:
                assert str(error)
            else:
                assert isinstance(text, str)
    with pytest.raises(LineError, match="longer"):
        LineReader().read(b"a" * (MAX_LINE + 1))
