"""Which texts of an event are read: of a request its URL and its user agent, whatever sensor reports it."""

from __future__ import annotations

import json

import pytest

from operators.formats import Decoder
from operators.formats.settings import FormatSettings
from operators.texts import Carried, texts_of

SHELLSHOCK = "() { :;}; /bin/bash -c 'id'"
URL = Carried("/cgi-bin/a?x=1", "http", "url.original")
AGENT = Carried(SHELLSHOCK, "user-agent", "user_agent.original")
ZEEK = {
    "_path": "http",
    "ts": 1_704_700_800,
    "id.orig_h": "10.0.0.1",
    "id.orig_p": 4_000,
    "id.resp_h": "192.0.2.1",
    "id.resp_p": 80,
    "uri": URL.text,
    "user_agent": SHELLSHOCK,
}
EVE = {
    "timestamp": "2024-01-08T08:00:00.000000+0000",
    "event_type": "http",
    "src_ip": "10.0.0.1",
    "dest_ip": "192.0.2.1",
    "http": {"url": URL.text, "http_user_agent": SHELLSHOCK},
}
ACCESS = f'10.0.0.1 - - [08/Jan/2024:08:00:00 +0000] "GET {URL.text} HTTP/1.1" 200 5 "-" "{SHELLSHOCK}"'
JSON = {
    "timestamp": "2024-01-08T08:00:00Z",
    "host": "web-1",
    "url": {"original": URL.text},
    "user_agent": {"original": SHELLSHOCK},
}


def carried(message: dict[str, object] | str) -> list[Carried]:
    raw = (message if isinstance(message, str) else json.dumps(message)).encode()
    (event,) = Decoder("t-0", FormatSettings(), "auto", default_host="web-1").decode_batch([raw], [0], 0).events
    return texts_of(event)


@pytest.mark.parametrize("message", [ZEEK, EVE, ACCESS, JSON], ids=["zeek", "suricata", "apache", "json"])
def test_a_request_has_two_texts(message: dict[str, object] | str) -> None:
    assert carried(message) == [URL, AGENT]


@pytest.mark.parametrize("agent", [None, "", "-", 5, ["a"], {"a": 1}])
def test_without_a_user_agent_or_with_one_of_a_wrong_type_the_url_is_read_all_the_same(agent: object) -> None:
    assert carried({**ZEEK, "user_agent": agent}) == [URL]
    assert carried({**EVE, "http": {"url": URL.text, "http_user_agent": agent}}) == [URL]


def test_an_endless_user_agent_is_cut() -> None:
    _, agent = carried({**ZEEK, "user_agent": "a" * 100_000})
    assert len(agent.text) == 16_384


def test_an_event_without_text_has_none() -> None:
    assert carried({**ZEEK, "_path": "conn", "uri": ""}) == []
