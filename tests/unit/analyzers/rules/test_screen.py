"""Most messages are told from their bytes that they meet no rule; none that meets one may be lost by that."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from analyzers.rules import RuleSet
from analyzers.rules.keywords import fragment, scan_of
from analyzers.rules.literals import Budget, PatternScanner
from analyzers.rules.screen import DOUBT, RARE, SAMPLE, Screen
from operators.formats import UNDECODED, Decoder, FormatSettings, fields
from state.events import Event, Fields

Load = Callable[..., RuleSet]
Make = Callable[..., dict[str, Any]]

HEADER = {"Channel": "Microsoft-Windows-Sysmon/Operational", "EventID": 11, "Hostname": "pc1"}
SOURCE = {"product": "windows", "category": "file_event"}


def lines(values: Iterable[dict[str, Any]]) -> list[bytes]:
    return [json.dumps({**HEADER, "@timestamp": "2020-10-18T10:56:18Z", **each}).encode() for each in values]


class Stream:
    """Judges messages and counts those whose fields were all decoded."""

    def __init__(self, rules: RuleSet) -> None:
        self.rules = rules
        self.decoded = 0
        self._decoder = Decoder("test-0", FormatSettings())

    def titles(self, values: Iterable[dict[str, Any]]) -> list[str]:
        raws = lines(values)
        events = self._decoder.decode_batch(raws, range(len(raws)), 0).events
        assert len(events) == len(raws)
        return [match.rule.title for match in self.rules.match_batch(events, self._fields, UNDECODED)]

    def _fields(self, event: Event) -> Fields:
        self.decoded += 1
        return fields(event)


@pytest.fixture
def stream(rule_set: Load, make_rule: Make) -> Stream:
    """Two rules, of a file's name and of a process with a common and a rare part, after both were learned."""
    found = Stream(
        rule_set(
            make_rule({"sel": {"TargetFilename|endswith": "\\evil.txt"}, "condition": "sel"}, SOURCE, title="name"),
            make_rule(
                {
                    "sel": {"Image|endswith": "\\cmd.exe", "TargetFilename|contains": "\\startup\\"},
                    "filter": {"TargetFilename|endswith": ".lnk"},
                    "condition": "sel and not filter",
                },
                SOURCE,
                title="process",
            ),
        )
    )
    quiet = ({"Image": "C:\\Windows\\cmd.exe", "TargetFilename": f"C:\\some\\{n}"} for n in range(RARE + SAMPLE + 10))
    assert found.titles(quiet) == []
    found.decoded = 0
    return found


def test_messages_without_what_is_rare_are_not_decoded(stream: Stream) -> None:
    many = [{"Image": "C:\\Windows\\cmd.exe", "TargetFilename": f"C:\\new\\{n}"} for n in range(100)]
    assert stream.titles(many) == []
    assert stream.decoded == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"TargetFilename": "C:\\EVIL.txt"},
        {"targetfilename": "C:\\evil.txt"},
        {"TargetFilename": ["C:\\good.txt", "C:\\evil.txt"]},
        {"TARGETFILENAME": "C:\\ev\u0131l.txt \\evil.txt"},
    ],
)
def test_what_meets_a_rule_is_found_however_it_is_spelled(stream: Stream, fields: dict[str, Any]) -> None:
    assert stream.titles([{"Image": "x"}, fields, {"Image": "y"}]) == ["name"]


def test_escapes_do_not_hide_a_field_or_a_value(stream: Stream) -> None:
    decoder = Decoder("test-0", FormatSettings())
    plain = lines([{"TargetFilename": "C:\\evil.txt"}])[0]
    for hidden in (
        plain.replace(b"evil", b"\\u0065vil"),
        plain.replace(b"TargetFilename", b"Target\\u0046ilename"),
        plain.replace(b"C:\\\\evil", b"C:\\u005cevil"),
    ):
        (event,) = decoder.decode_batch([hidden], [0], 0).events
        assert [match.rule.title for match in stream.rules.match_batch([event], fields, UNDECODED)] == ["name"]


def test_a_screen_learns_again_when_what_was_rare_is_everywhere(stream: Stream) -> None:
    other = [{"Image": "C:\\notepad.exe", "TargetFilename": f"C:\\startup\\{n}"} for n in range(DOUBT + SAMPLE + 10)]
    assert stream.titles(other) == []
    stream.decoded = 0
    assert stream.titles(other) == []
    assert stream.decoded == 0
    assert stream.titles([{"Image": "C:\\cmd.exe", "TargetFilename": "C:\\startup\\a"}]) == ["process"]
    assert stream.titles([{"Image": "C:\\cmd.exe", "TargetFilename": "C:\\startup\\a.lnk"}]) == []


def test_a_screen_that_fails_loses_no_event(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(screen: Screen[object], message: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Screen, "plan_for", fail)
    assert stream.titles([{"Image": "x"}, {"TargetFilename": "C:\\evil.txt"}]) == ["name"]
    assert stream.rules.failures == 0


def test_a_fragment_is_what_json_writes_in_one_way() -> None:
    assert fragment('a\\b"c') == 'a\\\\b\\"c'
    assert fragment("us/bin/x") == "bin"
    assert fragment("straße") == "stra"
    assert fragment("12345.6") == fragment("inf") == fragment("é") == ""


def test_letters_that_fold_to_ascii_count_as_found() -> None:
    anything, ascii_alone = scan_of(["mask"])
    assert ascii_alone(b'{"a":"nothing"}') and anything('{"a":"é"}'.encode())
    assert not anything('{"a":"MAS\u212a"}'.encode())
    assert not ascii_alone(b'{"a":"MAS\\u212a"}')


def test_a_text_that_engines_read_differently_may_match_every_pattern() -> None:
    patterns = PatternScanner([(1, "0:\\sx"), (2, "0:y")])
    assert patterns.of(" x") == (1,)
    assert patterns.of("z") == ()
    assert patterns.of("\x1cx") == patterns.of("é") == (1, 2)


def test_caches_of_a_part_go_with_it() -> None:
    whole = Budget(10_000)
    part = whole.part()
    cache = {"a": 1}
    part.join(cache)
    part.spend(20_000)
    assert cache == {}
    del part
    gc.collect()
    assert not whole._parts


@pytest.fixture
def patterns(rule_set: Load, make_rule: Make) -> Stream:
    """A pattern of a case, one of none, and a rule that a long text's own words exclude, after all were learned."""
    found = Stream(
        rule_set(
            make_rule({"sel": {"Details|re": "cmd.{0,5}/c.+hosts"}, "condition": "sel"}, SOURCE, title="cased"),
            make_rule({"sel": {"Details|re": "(?i)set.*&&.*hosts"}, "condition": "sel"}, SOURCE, title="any case"),
            make_rule(
                {
                    "sel": {"Image|contains": "*"},
                    "filter": {"Image|contains": ["= powershell", "= C:\\PowerShell\\"]},
                    "condition": "sel and not filter",
                },
                SOURCE,
                title="unknown host",
            ),
        )
    )
    usual = "Host = powershell " + "x" * 2_000
    assert found.titles({"Image": usual, "Details": f"CMD /C {n} hosts"} for n in range(RARE + SAMPLE + 10)) == []
    found.decoded = 0
    return found


def test_what_a_pattern_must_hold_is_looked_for_in_its_case(patterns: Stream) -> None:
    usual = {"Image": "Host = powershell " + "x" * 2_000}
    assert patterns.titles({**usual, "Details": f"CMD /C {n} hosts set"} for n in range(50)) == []
    assert patterns.decoded == 0
    for details, title in (
        ("cmd  /c type hosts", "cased"),
        ("SET a=1&&type HOSTS", "any case"),
        ("\u017fet a=1&&type ho\u017fts", "any case"),  # a long s, which folds to s
    ):
        assert patterns.titles([{**usual, "Details": details}]) == [title], details
    escaped = lines([{**usual, "Details": "set a && hosts"}])[0].replace(b"&", b"\\u0026")
    (event,) = Decoder("test-0", FormatSettings()).decode_batch([escaped], [0], 0).events
    assert [match.rule.title for match in patterns.rules.match_batch([event], fields, UNDECODED)] == ["any case"]


@pytest.mark.parametrize(
    ("image", "met"),
    [
        ("Host = POWERSHELL " + "x" * 2_000, False),
        ("Host = c:\\powershell\\ " + "x" * 2_000, False),
        ("x" * 2_000 + " = powershell", False),
        ("Host = other " + "x" * 2_000, True),
        ("Host = powershel" + "x" * 2_000, True),
        ("Host =\u00a0powershell " + "x" * 2_000, True),
    ],
)
def test_a_long_text_is_excluded_by_its_own_words_wherever_they_stand(patterns: Stream, image: str, met: bool) -> None:
    assert patterns.titles([{"Image": image, "Details": "a"}]) == (["unknown host"] if met else [])
