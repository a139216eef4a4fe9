"""A rule's values mean what the Sigma specification says, whatever the event's spelling and types."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

Matches = Callable[..., bool]


def table(*rows: tuple[dict[str, Any], dict[str, Any], bool]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("detection", "fields", "expected"), rows)


@table(
    ({"A": "whoami"}, {"A": "WhoAmI"}, True),
    ({"A": "whoami"}, {"A": "whoami.exe"}, False),
    ({"A|contains": "who"}, {"A": "C:\\WHOAMI.exe"}, True),
    ({"A|contains": "who"}, {"A": "wh"}, False),
    ({"A|startswith": "C:\\"}, {"A": "c:\\windows"}, True),
    ({"A|startswith": "C:\\"}, {"A": "xc:\\windows"}, False),
    ({"A|endswith": "\\cmd.exe"}, {"A": "C:\\CMD.EXE"}, True),
    ({"A|endswith": "\\cmd.exe"}, {"A": "C:\\cmd.exe "}, False),
    ({"A": ["x", "y"]}, {"A": "Y"}, True),
    ({"A|contains|all": ["x", "y"]}, {"A": "y-x"}, True),
    ({"A|contains|all": ["x", "y"]}, {"A": "x"}, False),
    ({"A": ""}, {"A": ""}, True),
    ({"A": ""}, {}, False),
    ({"A": ""}, {"A": None}, False),
    ({"A|contains": "ÜBER"}, {"A": "x über y"}, True),
    ({"A": "straße"}, {"A": "STRASSE"}, True),
    ({"A|contains": "ος"}, {"A": "ΛΟΓΟΣΑ"}, True),
)
def test_text_comparison_ignores_case_by_unicode(
    matches: Matches, detection: dict[str, Any], fields: dict[str, Any], expected: bool
) -> None:
    assert matches(detection, fields) is expected


@table(
    ({"A|cased": "Abc"}, {"A": "Abc"}, True),
    ({"A|cased": "Abc"}, {"A": "abc"}, False),
    ({"A|contains|cased": "Abc"}, {"A": "xAbcx"}, True),
    ({"A|contains|cased": "Abc"}, {"A": "xabcx"}, False),
    ({"A|cased": "A*c"}, {"A": "Abc"}, True),
    ({"A|cased": "A*c"}, {"A": "abC"}, False),
)
def test_cased_values_keep_case(
    matches: Matches, detection: dict[str, Any], fields: dict[str, Any], expected: bool
) -> None:
    assert matches(detection, fields) is expected


@table(
    ({"A": "a*c"}, {"A": "a\n-c"}, True),
    ({"A": "a*c"}, {"A": "abcd"}, False),
    ({"A": "a*b*a"}, {"A": "aba"}, True),
    ({"A": "a*a"}, {"A": "a"}, False),
    ({"A": "*b*a*"}, {"A": "ab"}, False),
    ({"A": "*a*a*"}, {"A": "a"}, False),
    ({"A": "*ab*ba*"}, {"A": "aba"}, False),
    ({"A": "*ab*ba*"}, {"A": "abba"}, True),
    ({"A": "a?c"}, {"A": "aXc"}, True),
    ({"A": "a?c"}, {"A": "a\nc"}, True),
    ({"A": "a?c"}, {"A": "ac"}, False),
    ({"A": "a?*"}, {"A": "a"}, False),
    ({"A": "*.e?e"}, {"A": "x.(exe"}, False),
    ({"A": "*(.e?e"}, {"A": "x(.exe"}, True),
    ({"A": "a\\*c"}, {"A": "a*c"}, True),
    ({"A": "a\\*c"}, {"A": "abc"}, False),
    ({"A": "a\\?c"}, {"A": "a?c"}, True),
    ({"A": "a\\?c"}, {"A": "abc"}, False),
    ({"A": "a\\\\*"}, {"A": "a\\b"}, True),
    ({"A": "a\\\\*"}, {"A": "a*"}, False),
    ({"A": "a\\b"}, {"A": "a\\b"}, True),
    ({"A": "*"}, {"A": ""}, True),
    ({"A": "*"}, {}, False),
    ({"A": "?*"}, {"A": ""}, False),
    ({"A": "a?c"}, {"A": "a\ud800c"}, True),
)
def test_wildcards_and_their_escapes(
    matches: Matches, detection: dict[str, Any], fields: dict[str, Any], expected: bool
) -> None:
    assert matches(detection, fields) is expected


@table(
    ({"EventID": 4624}, {"EventID": 4624}, True),
    ({"EventID": 4624}, {"EventID": "4624"}, True),
    ({"EventID": "4624"}, {"EventID": 4624}, True),
    ({"EventID": 4624}, {"EventID": 4624.0}, True),
    ({"EventID": 4624}, {"EventID": "46240"}, False),
    ({"A": 1}, {"A": True}, False),
    ({"A": 1.5}, {"A": 1.5}, True),
    ({"A": True}, {"A": True}, True),
    ({"A": True}, {"A": "True"}, True),
    ({"A": True}, {"A": 1}, False),
    ({"A": "true"}, {"A": True}, True),
    ({"A": False}, {"A": False}, True),
    ({"A": False}, {}, False),
    ({"A": None}, {}, True),
    ({"A": None}, {"A": None}, True),
    ({"A": None}, {"A": ""}, False),
    ({"A": ["x", None]}, {}, True),
    ({"A": "b"}, {"A": ["a", "B"]}, True),
    ({"A|contains|all": ["a", "b"]}, {"A": ["xa", "xb"]}, True),
    ({"A": 2}, {"A": [1, [2]]}, True),
    ({"A": "b"}, {"A": {"x": "b"}}, False),
)
def test_numbers_booleans_null_and_lists(
    matches: Matches, detection: dict[str, Any], fields: dict[str, Any], expected: bool
) -> None:
    assert matches(detection, fields) is expected


@table(
    ({"A|lt": 5}, {"A": 4}, True),
    ({"A|lt": 5}, {"A": "4.9"}, True),
    ({"A|lt": 5}, {"A": 5}, False),
    ({"A|lte": 5}, {"A": "5"}, True),
    ({"A|gt": 5}, {"A": 6}, True),
    ({"A|gt": 5}, {"A": "six"}, False),
    ({"A|gt": 5}, {}, False),
    ({"A|gt": 9007199254740992}, {"A": 9007199254740993}, True),
    ({"A|gte": 5}, {"A": 5.0}, True),
    ({"A|gte": 5}, {"A": "nan"}, False),
    ({"A|neq": "x"}, {"A": "X"}, False),
    ({"A|neq": "x"}, {"A": "y"}, True),
    ({"A|neq": ["x", "y"]}, {"A": "y"}, False),
    ({"A|exists": True}, {"A": ""}, True),
    ({"A|exists": True}, {"A": None}, True),
    ({"A|exists": True}, {}, False),
    ({"A|exists": False}, {}, True),
    ({"A|fieldref": "B"}, {"A": "x", "B": "X"}, True),
    ({"A|fieldref": "B"}, {"A": "x", "B": "y"}, False),
    ({"A|fieldref": "B"}, {}, False),
    ({"A|fieldref|startswith": "B"}, {"A": "xy", "B": "x"}, True),
    ({"A|fieldref|endswith": "B"}, {"A": "xy", "B": "x"}, False),
    ({"A|fieldref|contains": "B"}, {"A": "axb", "B": "X"}, True),
)
def test_comparison_presence_and_other_fields(
    matches: Matches, detection: dict[str, Any], fields: dict[str, Any], expected: bool
) -> None:
    assert matches(detection, fields) is expected


@table(
    ({"A|cidr": "10.0.0.0/8"}, {"A": "10.255.1.2"}, True),
    ({"A|cidr": "10.0.0.0/8"}, {"A": "11.0.0.1"}, False),
    ({"A|cidr": "10.0.0.0/8"}, {"A": "::ffff:10.0.0.1"}, True),
    ({"A|cidr": "10.0.0.0/8"}, {"A": "10.0.0.1.example"}, False),
    ({"A|cidr": ["10.0.0.0/8", "fe80::/10"]}, {"A": "FE80::1"}, True),
    ({"A|cidr": "fe80::/10"}, {"A": "10.0.0.1"}, False),
    ({"A|cidr": "10.0.0.0/8"}, {"A": ["192.0.2.1", "10.0.0.1"]}, True),
)
def test_addresses_in_networks(
    matches: Matches, detection: dict[str, Any], fields: dict[str, Any], expected: bool
) -> None:
    assert matches(detection, fields) is expected


@table(
    ({"A|re": "^ab+c$"}, {"A": "abbc"}, True),
    ({"A|re": "^ab+c$"}, {"A": "ABBC"}, False),
    ({"A|re|i": "^ab+c$"}, {"A": "ABBC"}, True),
    ({"A|re|i": "über"}, {"A": "ÜBER"}, True),
    ({"A|re": "b"}, {"A": "abc"}, True),
    ({"A|re": "a.c"}, {"A": "a\nc"}, False),
    ({"A|re|s": "a.c"}, {"A": "a\nc"}, True),
    ({"A|re": "^b"}, {"A": "a\nb"}, False),
    ({"A|re|m": "^b"}, {"A": "a\nb"}, True),
    ({"A|re|i|m|s": "^B.c"}, {"A": "a\nb\nC"}, True),
    ({"A|re": "[0-9]{4}"}, {"A": 4624}, True),
    ({"A|re": "foo(?!bar)"}, {"A": "foobaz"}, True),
    ({"A|re": "foo(?!bar)"}, {"A": "foobar"}, False),
    ({"A|re": "(?<=a)b"}, {"A": "ab"}, True),
    ({"A|re": r"(\w)\1"}, {"A": "xaay"}, True),
    ({"A|re": "a|b"}, {"A": "xb"}, True),
    ({"A|re": ""}, {"A": ""}, True),
)
def test_regular_expressions_search_and_keep_case(
    matches: Matches, detection: dict[str, Any], fields: dict[str, Any], expected: bool
) -> None:
    assert matches(detection, fields) is expected


@pytest.mark.parametrize("dash", ["-", "/", "–", "—", "―"])
def test_windash_takes_every_dash_windows_takes(matches: Matches, dash: str) -> None:
    assert matches({"A|contains|windash": " -enc "}, {"A": f"powershell {dash}ENC abc"})
    assert matches({"A|windash|contains|all": [" -enc ", " -nop"]}, {"A": f"powershell {dash}nop {dash}enc abc"})
    assert not matches({"A|contains|windash": " -enc "}, {"A": "powershell +enc abc"})


@pytest.mark.parametrize("padding", ["", "x", "xy"])
def test_base64offset_finds_text_at_any_offset(matches: Matches, padding: str) -> None:
    encoded = base64.b64encode(f"{padding}Invoke-Expression;".encode()).decode()
    assert matches({"A|base64offset|contains": "Invoke-Expression"}, {"A": f"-enc {encoded}"})
    assert not matches({"A|base64offset|contains": "Invoke-Command"}, {"A": f"-enc {encoded}"})


@pytest.mark.parametrize(("modifier", "codec"), [("wide", "utf-16-le"), ("utf16be", "utf-16-be")])
def test_wide_text_is_encoded_before_base64(matches: Matches, modifier: str, codec: str) -> None:
    encoded = base64.b64encode("ping".encode(codec)).decode()
    assert matches({f"A|{modifier}|base64": "ping"}, {"A": encoded})
    assert not matches({f"A|{modifier}|base64": "pong"}, {"A": encoded})


def test_utf16_puts_a_byte_order_mark_first(matches: Matches) -> None:
    encoded = base64.b64encode(b"\xff\xfe" + "ping".encode("utf-16-le")).decode()
    assert matches({"A|utf16|base64": "ping"}, {"A": encoded})


@pytest.mark.parametrize(
    ("part", "value", "other"),
    [("minute", 56, 55), ("hour", 10, 11), ("day", 18, 19), ("week", 42, 43), ("month", 10, 9), ("year", 2020, 2021)],
)
def test_parts_of_a_time(matches: Matches, part: str, value: int, other: int) -> None:
    for written in (
        "2020-10-18T10:56:18.955Z",
        "2020-10-18 06:56:18-04:00",
        "2020-10-18 10:56:18",
        1603018578,
        1603018578955,
    ):
        assert matches({f"A|{part}": value}, {"A": written}), written
        assert not matches({f"A|{part}": other}, {"A": written}), written
    assert not matches({f"A|{part}": value}, {"A": "no time"})
    assert not matches({f"A|{part}": value}, {})


def test_placeholders_stand_for_the_values_of_the_settings(matches: Matches) -> None:
    values = {"admins": ["root", "adm_*"]}
    assert matches({"A|expand": "%admins%"}, {"A": "ADM_jane"}, placeholders=values)
    assert matches({"A|contains|expand": "x-%admins%"}, {"A": "1 x-root 2"}, placeholders=values)
    assert not matches({"A|expand": "%admins%"}, {"A": "jane"}, placeholders=values)


@table(
    ({"commandline": "x"}, {"CommandLine": "x"}, True),
    ({"ProcessId": "2"}, {"ProcessID": "1", "ProcessId": "2"}, True),
    ({"ProcessId": "1"}, {"ProcessID": "1", "ProcessId": "2"}, False),
    ({"ProcessId": "1"}, {"ProcessID": "1"}, True),
    ({"ProcessId": "1"}, {"ProcessID": "1", "ProcessId": None}, False),
    ({"processid": "2"}, {"ProcessID": "1", "ProcessId": "2"}, True),
    ({"Größe": "1"}, {"GRÖSSE": "1"}, True),
    ({"id.orig_h": "1"}, {"id.orig_h": "1"}, True),
)
def test_field_names_in_any_case_the_exact_one_first(
    matches: Matches, detection: dict[str, Any], fields: dict[str, Any], expected: bool
) -> None:
    assert matches(detection, fields) is expected
