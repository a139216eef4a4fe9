"""Bad input becomes a dead letter with its reason, and harms nobody beside it."""

from __future__ import annotations

import json

import pytest

from operators.formats import FORMATS, Decoder, FormatSettings, fields
from state.events import Event

REFERENCE = 1_700_000_000_000_000
GOOD = b'{"_path":"conn","ts":1600000000.0,"id.orig_h":"10.0.0.5","id.resp_h":"192.0.2.9"}'


def nxlog(**changes: object) -> bytes:
    record = {
        "EventID": 4624,
        "Channel": "Security",
        "Hostname": "WS1.acme.example",
        "@timestamp": "2020-09-13T12:26:40.000Z",
        **changes,
    }
    return json.dumps(record).encode()


BAD: list[tuple[str, bytes, str]] = [
    ("empty", b"", "empty"),
    ("blank", b"  \r\n", "empty"),
    ("truncated JSON", GOOD[:-20], "malformed_json"),
    ("truncated Windows JSON", nxlog()[:-9], "malformed_json"),
    ("5 MB line", GOOD[:-1] + b',"x":"' + b"a" * 5_000_000 + b'"}', "too_large"),
    ("nested in a known format", GOOD[:-1] + b',"x":' + b"[" * 80 + b"]" * 80 + b"}", "too_deep"),
    ("nested objects", b'{"a":' * 80 + b"1" + b"}" * 80, "too_deep"),
    ("nested past any parser", b"[" * 200_000, "too_deep"),
    ("nested past any parser, in an object", b'{"a":' * 100_000, "too_deep"),
    ("invalid UTF-8 in a field nobody reads", GOOD[:-1] + b',"x":"\xff\xfe"}', "not_utf8"),
    ("year 9999, Windows", nxlog(**{"@timestamp": "9999-12-31T23:59:59Z"}), "time_out_of_range"),
    ("year 9999, Zeek", GOOD.replace(b"1600000000.0", b"253402300799.0"), "time_out_of_range"),
    ("year 9999, JSON", b'{"timestamp":"9999-12-31T23:59:59-05:00","host":"a"}', "time_out_of_range"),
    ("year 1999", b'{"timestamp":"1999-12-31T23:59:59Z","host":"a"}', "time_out_of_range"),
    ("no date at all", b'{"timestamp":"yesterday","host":"a"}', "bad_time"),
    ("13th month", b'{"timestamp":"2020-13-01T00:00:00Z","host":"a"}', "bad_time"),
    ("null host, JSON", b'{"timestamp":"2020-01-01T00:00:00Z","host":null}', "missing_host"),
    ("null host.name, JSON", b'{"timestamp":"2020-01-01T00:00:00Z","host":{"name":null}}', "missing_host"),
    ("null host, Windows", nxlog(Hostname=None), "missing_host"),
    ("blank host", nxlog(Hostname=" "), "missing_host"),
    ("host with a line break", nxlog(Hostname="a\nb"), "bad_host"),
    ("host with a NUL", nxlog(Hostname="a\0b"), "bad_host"),
    ("number for a host", nxlog(Hostname=17), "bad_type"),
    ("number for a host, JSON", b'{"timestamp":"2020-01-01T00:00:00Z","host":17}', "bad_type"),
    ("number for an address", GOOD.replace(b'"10.0.0.5"', b"5"), "bad_type"),
    ("text for an event id", nxlog(EventID="many"), "bad_type"),
    ("no time", b'{"host":"a"}', "missing_time"),
    ("null time", b'{"timestamp":null,"host":"a"}', "missing_time"),
    ("a JSON number", b"17", "unknown_format"),
    ("a JSON list", b"[1,2]", "bad_type"),
    ("prose", b"it was a dark and stormy night", "unknown_format"),
    ("TSV without header", b"1600000000.1\tC1\t10.0.0.5", "missing_header"),
]


@pytest.mark.parametrize(("what", "raw", "reason"), BAD, ids=[b[0] for b in BAD])
def test_bad_message_is_rejected_with_its_reason_and_its_neighbours_live(what: str, raw: bytes, reason: str) -> None:
    decoder = Decoder("t-3", FormatSettings(), default_host="stem")
    done = decoder.decode_batch([GOOD, raw, GOOD], [7, 8, 9], REFERENCE)
    assert [e.offset for e in done.events] == [7, 9]
    (rejected,) = done.rejected
    assert (rejected.id, rejected.reason, rejected.raw) == ("t-3-8", reason, raw)
    assert len(rejected.detail) <= 300
    assert "\n" not in rejected.detail


def test_a_bad_message_does_not_change_what_comes_after() -> None:
    clean = Decoder("t-0", FormatSettings(), default_host="s").decode_batch([GOOD] * 2, [1, 2], REFERENCE)
    decoder = Decoder("t-0", FormatSettings(), default_host="s")
    decoder.decode_batch([raw for _, raw, _ in BAD], list(range(len(BAD))), REFERENCE)
    assert decoder.decode_batch([GOOD] * 2, [1, 2], REFERENCE).events == clean.events


def test_the_format_that_refused_is_named() -> None:
    decoder = Decoder("t-0", FormatSettings())
    done = decoder.decode_batch([nxlog(Hostname=None), b"prose", b'{"x":1}'], [0, 1, 2], REFERENCE)
    assert [r.format for r in done.rejected] == ["windows_nxlog", "", "json"]


def test_an_unexpected_error_is_a_dead_letter_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(raw: bytes, at: object) -> Event:
        raise KeyError("oops")

    monkeypatch.setattr(FORMATS["zeek_json"], "decode", broken)
    done = Decoder("t-0", FormatSettings()).decode_batch([GOOD, nxlog()], [0, 1], REFERENCE)
    assert [(r.reason, r.format) for r in done.rejected] == [("internal_error", "zeek_json")]
    assert "KeyError" in done.rejected[0].detail
    assert [e.offset for e in done.events] == [1]


def test_a_wrong_type_in_a_field_that_decides_nothing_is_coerced() -> None:
    raws = [
        nxlog(TargetUserName=500, IpPort=445, CommandLine=None, Image=["x"]),
        GOOD[:-1] + b',"orig_bytes":"12","conn_state":3,"id.orig_p":"80","local_orig":"yes"}',
    ]
    done = Decoder("t-0", FormatSettings()).decode_batch(raws, [0, 1], REFERENCE)
    assert not done.rejected
    assert done.events[0].user == "500"
    assert (done.events[1].source_bytes, done.events[1].source_port) == (12, 80)


def test_numbers_that_fit_no_database_column_are_cut() -> None:
    raw = GOOD[:-1] + b',"orig_bytes":99999999999999999999999999,"resp_bytes":-5,"id.orig_p":70000}'
    (event,) = Decoder("t-0", FormatSettings()).decode_batch([raw], [0], REFERENCE).events
    assert 0 <= event.source_bytes < 2**63
    assert (event.destination_bytes, event.source_port) == (0, 0)


def test_a_number_beyond_all_range_hides_no_event_from_the_rules() -> None:
    """Typed decoding skips the number; so must reading the original fields."""
    done = Decoder("t-0", FormatSettings()).decode_batch([nxlog(User="eve")[:-1] + b',"x":1e999}'], [0], REFERENCE)
    assert fields(done.events[0])["User"] == "eve"


def test_many_brackets_inside_text_are_not_nesting() -> None:
    raw = nxlog(CommandLine="{" * 300 + "[" * 300 + '\\"')
    assert Decoder("t-0", FormatSettings()).decode_batch([raw], [0], REFERENCE).events
    log = b'192.0.2.7 - - [13/Sep/2020:12:26:40 +0000] "GET /' + b"[" * 200 + b' HTTP/1.1" 404 12'
    assert Decoder("t-0", FormatSettings(), default_host="w").decode_batch([log], [0], REFERENCE).events


@pytest.mark.parametrize(
    "agent", ['"_path":"conn"', '"EventID":1,"Channel":"x","Hostname":"y"', '"winlog"', '"System"']
)
def test_content_cannot_pass_for_another_format(agent: str) -> None:
    """What an attacker writes into a user agent is escaped in JSON, and a nested key decides nothing."""
    base = {"timestamp": "2020-09-13T12:26:40.000001+0000", "flow_id": 1, "event_type": "http", "src_ip": "10.0.0.5"}
    quoted = json.dumps({**base, "http": {"http_user_agent": agent, "url": "/"}}).encode()
    nested = json.dumps({**base, "http": {"_path": "conn", "winlog": {}, "EventID": 1, "Channel": "", "Hostname": ""}})
    for before in ([], [GOOD], [nxlog()]):
        raws = [*before, quoted, nested.encode()]
        done = Decoder("t-0", FormatSettings()).decode_batch(raws, list(range(len(raws))), REFERENCE)
        assert [e.format for e in done.events[-2:]] == ["suricata", "suricata"]


def test_formats_mix_freely_in_one_stream() -> None:
    eve = b'{"timestamp":"2020-09-13T12:26:40Z","event_type":"dns","flow_id":1,"src_ip":"10.0.0.5"}'
    own = b'{"timestamp":"2020-09-13T12:26:40Z","event_type":"login","device_id":"d1"}'
    log = b"Sep 13 12:26:40 web1 cron[1]: (root) CMD (true)"
    raws = [GOOD, own, eve, log, nxlog(), own, log, eve, GOOD, nxlog()]
    done = Decoder("t-0", FormatSettings()).decode_batch(raws, list(range(10)), REFERENCE)
    assert [e.format for e in done.events] == [
        "zeek_json",
        "json",
        "suricata",
        "syslog",
        "windows_nxlog",
        "json",
        "syslog",
        "suricata",
        "zeek_json",
        "windows_nxlog",
    ]


def test_a_named_format_takes_nothing_else() -> None:
    done = Decoder("t-0", FormatSettings(), "suricata").decode_batch([GOOD, b"prose"], [0, 1], REFERENCE)
    assert [(r.reason, r.format) for r in done.rejected] == [
        ("unknown_format", "suricata"),
        ("malformed_json", "suricata"),
    ]


def test_an_unknown_format_name_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"sysl0g.*known: auto.*syslog"):
        Decoder("t-0", FormatSettings(), "sysl0g")


@pytest.mark.parametrize("data", [b"", b"[]", b'{"version":99}', b"\x80\x04."])
def test_a_foreign_snapshot_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="snapshot"):
        Decoder("t-0", FormatSettings()).restore(data)


def test_yesterdays_snapshot_still_restores() -> None:
    decoder = Decoder("t-0", FormatSettings())
    header = '{"path":"conn","separator":"\\t","set_separator":",","empty":"(empty)","unset":"-","types":[]}'
    saved = {"version": 1, "header": "ts\tid.orig_h\tid.resp_h\n" + header, "last": "zeek_tsv", "clocks": {"ws1": 1}}
    decoder.restore(json.dumps(saved).encode())
    (event,) = decoder.decode_batch([b"1600000000.1\t10.0.0.5\t192.0.2.9"], [0], REFERENCE).events
    assert (event.kind.source, event.host) == ("zeek.conn", "10.0.0.5")


def test_misspelt_setting_is_named() -> None:
    with pytest.raises(ValueError, match="time_zone"):
        FormatSettings(time_zone="UTC")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="Mars/Olympus"):
        FormatSettings(timezone="Mars/Olympus")
