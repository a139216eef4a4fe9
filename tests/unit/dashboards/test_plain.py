"""What an analyst could be tricked by: text that rearranges, hides or forges what is shown."""

from __future__ import annotations

import pytest

from dashboards.plain import MAX_SHOWN, count, pretty, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Zürich 東京 🦊", "Zürich 東京 🦊"),
        ("invoice\u202efdp.exe", "invoice\\u202efdp.exe"),
        ("a\u200bb\ufeffc", "a\\u200bb\\ufeffc"),
        ("two\nlines\r\x1b[31m\x00", "two\\u000alines\\u000d\\u001b[31m\\u0000"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_does_not_show_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_json_is_indented_and_stays_itself() -> None:
    assert pretty(b'{"a":[1,"\\u202e<b>"],"b":{}}') == '{\n  "a": [\n    1,\n    "\\u202e<b>"\n  ],\n  "b": {}\n}'


def test_a_repeated_key_is_not_hidden_by_indenting() -> None:
    raw = b'{"user":"root","user":"nobody"}'
    assert pretty(raw) == raw.decode()


@pytest.mark.parametrize(
    "raw", [b"\xff\xfe<13>su: x", b"", b"{", b"[" * 200_000, b'{"a":' + b"9" * 5_000 + b"}", b"\x00"]
)
def test_anything_else_is_shown_as_it_is_and_never_fails(raw: bytes) -> None:
    shown = pretty(raw)
    assert len(shown) <= MAX_SHOWN + 60
    if raw.startswith(b"\xff"):
        assert shown == "\\xff\\xfe<13>su: x"


def test_a_long_event_says_how_much_is_left_out() -> None:
    assert pretty(b"x" * (MAX_SHOWN + 5)).endswith("x\n… 5 more characters")


def test_figures_are_short() -> None:
    assert [count(n) for n in (0, 999_999, 1_000_000, 999_900_000, 5e9)] == [
        *("0", "999,999", "1.00 M", "1000 M", "5.00 G")
    ]
