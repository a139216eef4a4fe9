"""Zeek's logs, JSON and TSV, give the same events; the host is the side that is ours."""

from __future__ import annotations

import json
from typing import Any

import pytest

from operators.formats import Decoder, FormatSettings, fields
from operators.formats.decoder import Decoded

OURS, THEIRS = "10.0.0.5", "192.0.2.9"


def decode(*lines: dict[str, Any] | str, default_host: str = "", **config: Any) -> Decoded:
    raws = [line.encode() if isinstance(line, str) else json.dumps(line).encode() for line in lines]
    decoder = Decoder("t-0", FormatSettings(**config), default_host=default_host)
    return decoder.decode_batch(raws, list(range(len(raws))), 0)


def zeek(path: str, orig: str = OURS, resp: str = THEIRS, **more: Any) -> dict[str, Any]:
    ids = {"id.orig_h": orig, "id.orig_p": 50000, "id.resp_h": resp, "id.resp_p": 443}
    return {"_path": path, "ts": "2018-03-24T17:15:20.865716Z", "uid": "C1", **ids, **more}


HTTP = ["ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "uri", "username", "status_code", "tags"]
HEADER = [
    "#separator \\x09",
    "#set_separator\t,",
    "#empty_field\t(empty)",
    "#unset_field\t-",
    "#path\thttp",
    "#fields\t" + "\t".join([*HTTP, "label", "detailedlabel"]),
    "#types\ttime\tstring\taddr\tport\taddr\tport\tstring\tstring\tcount\tset[enum]\tstring\tstring",
]
ROW = "1521911720.865716\tC1\t10.0.0.5\t50000\t192.0.2.9\t443\t/a?b=c\t-\t404\t(empty)\tMalicious\tC&C"


def test_json_and_tsv_give_the_same_event() -> None:
    (from_json,) = decode(zeek("http", uri="/a?b=c", status_code=404)).events
    done = decode(*HEADER, ROW)
    (from_tsv,) = done.events
    assert done.skipped == list(range(7))
    for name in ("time", "host", "kind", "source_ip", "source_port", "destination_port", "text", "text_kind", "user"):
        assert getattr(from_json, name) == getattr(from_tsv, name), name
    assert from_json.time == 1521911720865716
    assert (from_json.text, from_json.text_kind, from_json.kind.category) == ("/a?b=c", "http", "web")


def test_tsv_fields_are_typed_and_truth_labels_stay_out_of_the_event() -> None:
    (event,) = decode(*HEADER, ROW).events
    found = fields(event)
    assert (found["status_code"], found["tags"], found["id.orig_p"]) == (404, [], 50000)
    assert "username" not in found
    assert found["label"] == "Malicious"
    typed = {name: getattr(event, name) for name in event.__struct_fields__ if name not in ("raw", "header")}
    assert "Malicious" not in repr(typed)
    assert "C&C" not in repr(typed)


def test_a_tsv_line_before_any_header_or_after_the_end_is_rejected() -> None:
    done = decode(ROW, *HEADER, ROW, "#close\t2018-03-24", ROW)
    assert [(r.offset, r.reason) for r in done.rejected] == [(0, "missing_header"), (10, "missing_header")]
    assert [e.offset for e in done.events] == [8]


def test_a_tsv_line_with_a_column_too_few_is_rejected() -> None:
    done = decode(*HEADER, ROW.rpartition("\t")[0], ROW)
    assert [r.reason for r in done.rejected] == ["wrong_columns"]
    assert len(done.events) == 1


def test_a_new_header_replaces_the_old() -> None:
    other = ["#separator \\x09", "#path\tsoftware", "#fields\tts\thost\tname", "#types\ttime\taddr\tstring"]
    done = decode(*HEADER, ROW, *other, "1600000000.0\t10.0.0.7\tOpenSSH")
    assert [(e.kind.source, e.host) for e in done.events] == [("zeek.http", OURS), ("zeek.software", "10.0.0.7")]
    assert fields(done.events[0])["uri"] == "/a?b=c"
    assert fields(done.events[1])["name"] == "OpenSSH"


def test_a_comma_separated_log_is_read_by_its_header() -> None:
    done = decode("#separator ,", "#path,conn", "#fields,ts,id.orig_h,id.resp_h", f"1600000000.5,{OURS},{THEIRS}")
    (event,) = done.events
    assert (event.host, event.destination_ip) == (OURS, THEIRS)


@pytest.mark.parametrize(
    ("orig", "resp", "flags", "host"),
    [
        (OURS, THEIRS, {}, OURS),
        (THEIRS, OURS, {}, OURS),
        (OURS, "10.0.0.6", {}, OURS),
        (THEIRS, "198.51.100.1", {}, THEIRS),
        ("147.32.81.1", THEIRS, {"local_orig": True, "local_resp": False}, "147.32.81.1"),
        (THEIRS, "147.32.81.1", {"local_orig": False, "local_resp": True}, "147.32.81.1"),
        (THEIRS, OURS, {"local_orig": False, "local_resp": False}, OURS),
        ("::ffff:10.0.0.5", THEIRS, {}, OURS),
    ],
)
def test_host_is_the_local_side(orig: str, resp: str, flags: dict[str, bool], host: str) -> None:
    (event,) = decode(zeek("conn", orig, resp, **flags)).events
    assert event.host == host


def test_home_networks_are_settable() -> None:
    (event,) = decode(zeek("conn", "10.9.9.9", THEIRS), home_networks=("192.0.2.0/24",)).events
    assert event.host == THEIRS


@pytest.mark.parametrize(
    ("record", "host"),
    [
        ({"_path": "known_hosts", "ts": 1600000000.0, "host": "10.0.0.7"}, "10.0.0.7"),
        ({"_path": "software", "ts": 1600000000.0, "host": "10.0.0.7", "name": "x"}, "10.0.0.7"),
        ({"_path": "files", "ts": 1600000000.0, "tx_hosts": [THEIRS], "rx_hosts": [OURS]}, OURS),
        ({"_path": "dhcp", "ts": 1600000000.0, "client_addr": "10.0.0.8"}, "10.0.0.8"),
        ({"_path": "x509", "ts": 1600000000.0, "fingerprint": "ab"}, "sensor1"),
        ({"_path": "stats", "ts": 1600000000.0, "peer": "zeek"}, "sensor1"),
        ({"_path": "notice", "ts": 1600000000.0, "note": "Scan::Port_Scan", "src": OURS}, OURS),
        ({"_path": "made_up", "ts": 1600000000.0, "id.orig_h": OURS}, OURS),
    ],
)
def test_logs_without_a_connection_have_a_host(record: dict[str, Any], host: str) -> None:
    (event,) = decode(record, default_host="sensor1").events
    assert event.host == host


def test_no_address_and_no_default_is_rejected() -> None:
    (rejected,) = decode({"_path": "x509", "ts": 1600000000.0}).rejected
    assert rejected.reason == "missing_host"


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (zeek("conn", conn_state="SF"), ("zeek.conn", "network", "connection", "success")),
        (zeek("conn", conn_state="REJ"), ("zeek.conn", "network", "connection", "failure")),
        (zeek("conn", conn_state="OTH"), ("zeek.conn", "network", "connection", "unknown")),
        (zeek("dns", rcode=3, query="a"), ("zeek.dns", "network", "dns-query", "failure")),
        (zeek("dns", query="a"), ("zeek.dns", "network", "dns-query", "unknown")),
        (zeek("http", status_code=200), ("zeek.http", "web", "http-request", "success")),
        (zeek("notice", note="X::Y"), ("zeek.notice", "intrusion_detection", "alert", "unknown")),
        (zeek("ssh", auth_success=False), ("zeek.ssh", "authentication", "logon-failed", "failure")),
        (zeek("ntlm", success=True), ("zeek.ntlm", "authentication", "logon-succeeded", "success")),
        (zeek("ssl", cipher="x"), ("zeek.ssl", "network", "tls-handshake", "unknown")),
        (zeek("Odd Path!"), ("zeek.odd-path", "network", "odd-path", "unknown")),
    ],
)
def test_kinds(record: dict[str, Any], kind: tuple[str, ...]) -> None:
    (event,) = decode(record).events
    assert (event.kind.source, event.kind.category, event.kind.action, event.kind.outcome) == kind


def test_nested_id_and_no_path_are_understood() -> None:
    ids = {"orig_h": OURS, "orig_p": 5, "resp_h": THEIRS, "resp_p": 53}
    (event,) = decode({"ts": 1600000000.5, "uid": "C", "id": ids, "qtype": 1, "query": "a.example"}).events
    assert (event.kind.source, event.text, event.text_kind) == ("zeek.dns", "a.example", "dns")
    assert fields(event)["id.resp_p"] == 53


def test_bytes_count_once_by_the_connection_log() -> None:
    (event,) = decode(zeek("conn", orig_bytes=12, resp_bytes=34)).events
    assert (event.source_bytes, event.destination_bytes) == (12, 34)
