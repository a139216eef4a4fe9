"""The LLM lane in the flow: an unsettled text is asked about, and what the model says becomes one alert of its host."""

from __future__ import annotations

import json
from pathlib import Path

from state.postgres import connect
from tests.integration.live import create_topic, send
from tests.integration.llm_double import Double, answer, serving
from tests.integration.llm_lane import environment as lane_environment
from tests.integration.llm_lane import triaging, until
from tests.integration.supervised import run, supervised

START = 1_704_700_800.0
#: What no rule knows, and the text judge does not settle.
UNSETTLED = "/item?q=%27%7C%7Cutl_inaddr.get_host_address(user)"


def request(number: int, second: float) -> bytes:
    fields = {
        "_path": "http",
        "ts": START + second,
        "uid": f"CHhAvVGS1DHFjwG{number:02}",
        "id.orig_h": "198.51.100.7",
        "id.orig_p": 4,
    }
    more = {"id.resp_h": "10.0.0.9", "id.resp_p": 80, "method": "GET", "host": "shop.example", "uri": UNSETTLED}
    return json.dumps({**fields, **more, "status_code": 200}).encode()


def connection(number: int, second: float) -> bytes:
    fields = {"_path": "conn", "ts": START + second, "uid": f"C{number}", "id.orig_h": "10.0.0.9", "id.orig_p": 4}
    return json.dumps({**fields, "id.resp_h": "192.0.2.1", "id.resp_p": 443, "proto": "tcp"}).encode()


def test_an_unsettled_text_is_asked_about_and_the_verdict_is_an_alert(
    kafka: str, postgres_dsn: str, topic_name: str, tmp_path: Path
) -> None:
    for topic in (topic_name, f"{topic_name}.escalations", f"{topic_name}.verdicts"):
        create_topic(kafka, topic)
    with serving(Double(lambda _, body: answer(body, severity="critical"))) as double:
        lane = lane_environment(kafka, postgres_dsn, topic_name, double.url)
        flow = supervised(kafka, postgres_dsn, topic_name, tmp_path, "flow", WINNOW_ROUTER__GREY_ODDS="1000000")
        flow |= {name: value for name, value in lane.items() if "LLM" in name or "ESCALATIONS" in name}
        flow["WINNOW_KAFKA__VERDICTS"] = lane["WINNOW_KAFKA__VERDICTS"]
        # The last of them a minute later, so that the others are decided.
        messages = [request(0, 0), connection(1, 1), request(2, 2), request(3, 3), connection(4, 90)]
        with run(flow, 1) as running, triaging(lane) as triage:
            running.until_ready()
            send(kafka, topic_name, messages)
            until(lambda: len(alerts(postgres_dsn)) == 1, triage, 60.0)
            # What closes the next minute: the verdict has its place there.
            send(kafka, topic_name, [connection(5, 300)])
            running.until(lambda: bool(incidents(postgres_dsn)))
    (alert,) = alerts(postgres_dsn)
    assert alert[:4] == ("llm", "malicious", "10.0.0.9", 3), "one alert of all three"
    assert alert[4].startswith("confidence 0.90") and "T1059.001" in alert[5]
    assert len(double.bodies) == 2, "a text that is new here, and one that is not; the third was answered before"
    with connect(postgres_dsn) as database:
        lanes = database.execute("SELECT sum(rule), sum(bert), sum(llm), sum(consumed) FROM ledger").fetchone()
        copies = database.execute("SELECT raw FROM evidence ORDER BY event_id").fetchall()
    assert lanes is not None and int(lanes[2]) == 3 and int(sum(lanes[:3])) >= 5
    assert [bytes(copy[0]) for copy in copies] == [messages[0], messages[2], messages[3]], (
        "what the verdict cites is kept"
    )
    assert "LLM" in json.dumps(incidents(postgres_dsn))


def alerts(dsn: str) -> list[tuple[str, str, str, int, str, list[str]]]:
    with connect(dsn) as database:
        return database.execute("SELECT kind, rule, entity, count, reason, techniques FROM alerts").fetchall()


def incidents(dsn: str) -> list[tuple[str, str]]:
    with connect(dsn) as database:
        return database.execute("SELECT title, explanation FROM incidents").fetchall()
