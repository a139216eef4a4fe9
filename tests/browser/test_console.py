"""The console as its users meet it: in a real browser, over a real database."""

from __future__ import annotations

import json
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from psycopg import sql
from pydantic import SecretStr

from dashboards.server import ConsoleServer
from state.alerts import Alert, Evidence, Level
from state.embedded import EmbeddedPostgres
from state.postgres import PostgresSettings, connect
from state.reviews import find, review
from state.revisions import migrate
from state.store import Store
from state.suppressions import Suppressed
from tests.browser import sample
from tests.browser.chromium import BINARY, Chromium

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not BINARY.exists(), reason=f"NO BROWSER: {BINARY} is missing; apt-get install chromium"),
]

#: Where the first alert of the list can be clicked, in pixels from the corner of the list's canvas.
FIRST_ROW = (15, 27 * 1.5)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium() as opened:
        yield opened


@pytest.fixture
def dsn(postgres_dsn: str) -> str:
    migrate(postgres_dsn)
    return postgres_dsn


@pytest.fixture
def store(dsn: str) -> Iterator[Store]:
    with Store(PostgresSettings(dsn=SecretStr(dsn))) as opened:
        yield opened


def click_alert(browser: Chromium, row: int = 0, panel: str = "alerts") -> None:
    left, top = browser.evaluate(
        f"(() => {{ const panel = document.querySelector('.st-key-panel-{panel} canvas');"
        " panel.scrollIntoView({block: 'center'}); const r = panel.getBoundingClientRect();"
        " return [r.left, r.top] })()"
    )
    browser.click(left + FIRST_ROW[0], top + FIRST_ROW[1] + 27 * row)


def test_what_arrives_what_was_alerted_and_why_are_on_the_page(
    browser: Chromium, dsn: str, store: Store, tmp_path: Path
) -> None:
    assert sample.fill(store) == 30
    with ConsoleServer(dsn) as console:
        browser.open(console.url)
        for text in ("3.20 M", "windows.sysmon", "printer-3", "Encoded PowerShell Command Line", "T1059.001"):
            browser.see(text)
        shown = browser.text()
        assert "Critical alerts\n\n3" in shown
        assert "Hosts\n\n12" in shown
        assert "Raised by" not in shown
        click_alert(browser, row=1)
        for text in ("CRITICAL", "Raised by", "winnow.telemetry-", '"ParentImage": "C:\\\\Program Files'):
            browser.see(text)
        # What is suppressed is listed as soon as it is.
        assert "SUPPRESSED" not in browser.text()
        store.write_suppressed([Suppressed("c-1", "ws-chen", "rule", "r", 0, 3, 0, 0)])
        browser.see("SUPPRESSED: NO ALERTS OF THESE")
        # A new alert comes within seconds, and the open one stays open.
        store.write_alerts([an_alert("a-new", name="Fresh from the flow")])
        browser.see("1 newer, show them")
        assert "CRITICAL" in browser.text()
        picture = Path(os.environ.get("WINNOW_SCREENSHOT") or tmp_path / "console.png")
        browser.screenshot(picture)
        assert picture.stat().st_size > 50_000


def test_the_queue_comes_first_and_an_incident_tells_its_story(
    browser: Chromium, dsn: str, store: Store, tmp_path: Path
) -> None:
    sample.fill(store)
    with connect(dsn, autocommit=True) as own:
        own.execute(
            "INSERT INTO incident_summaries (incident_id, status, severity, tactics, text, citations, model, "
            "written_at) VALUES ('i-0123456789abcdef0123', 'written', 3, '{}', %s, %s, 'some-model', now())",
            ("Chen ran it. [1]\u202e", '[{"event_id": "t-0-1", "field": "uri"}]'),
        )
    with ConsoleServer(dsn) as console:
        browser.open(console.url)
        browser.see("Encoded PowerShell and other signs on ws-chen")
        assert browser.text().index("INCIDENTS") < browser.text().index("ALERTS, NEWEST")
        assert "ask who ran it" not in browser.text()
        click_alert(browser, panel="incidents")
        for text in (
            "HIGH  Encoded PowerShell and other signs",
            "Next: ask who ran it.",
            "Summary, written by some-model and not by an analyst:",
            "Chen ran it. [1]\\u202e",
            "[1] event t-0-1, uri",
            "TIMELINE, 3 ALERTS",
            "nobody yet",
        ):
            browser.see(text)
        # An analyst's word is on the page within seconds.
        with connect(dsn, autocommit=True) as own:
            incident = find(own, "i-0123456789abcdef0123")
            assert incident is not None
            review(own, incident, "acknowledged", "ann", "asking chen")
        browser.see("acknowledged: asking chen")
        picture = Path(os.environ.get("WINNOW_SCREENSHOT_INCIDENT") or tmp_path / "incident.png")
        browser.screenshot(picture)
        assert picture.stat().st_size > 50_000


def an_alert(id_: str, **changes: object) -> Alert:
    now = sample.time.time_ns() // 1_000
    fields = {
        "id": id_, "kind": "rule", "rule": "r1", "name": "A rule", "level": Level.high, "entity": "web-1",
        "window_start": now, "first_seen": now, "last_seen": now, "count": 1, "reason": "because",
    }  # fmt: skip
    return Alert(**{**fields, **changes})


def test_nothing_in_an_event_becomes_markup_or_runs(browser: Chromium, dsn: str, store: Store) -> None:
    attack = '<img src=x onerror="window.pwned=1"> **bold** [x](javascript:window.pwned=1) $x^2$ :red[r] \u202e'
    store.write_alerts(
        [an_alert("a-1", name=attack, rule=attack, reason=attack, entity=attack, evidence=(attack,), tactics=(attack,))]
    )
    hostile = {
        "title": attack,
        "explanation": attack,
        "entities": (attack,),
        "tactics": (attack,),
        "techniques": (attack,),
    }
    alerts = [an_alert("a-1", evidence=(attack,))]
    store.write_incidents([sample.an_incident(alerts, sample.time.time_ns() // 1_000, **hostile)])
    raw = json.dumps({attack: attack, "script": "</code></pre><script>window.pwned=1</script>"}).encode()
    store.write_evidence([Evidence(attack, "a-1", attack, sample.time.time_ns() // 1_000, raw)])
    with ConsoleServer(dsn) as console:
        browser.open(console.url)
        browser.see("**bold**")
        click_alert(browser)
        browser.see("<script>window.pwned=1</script>")
        click_alert(browser, panel="incidents")
        browser.see("TIMELINE, 1 ALERTS")
        assert browser.evaluate("window.pwned") is None
        for panel in ("why", "incident", "incidents"):
            inside = f"document.querySelector('.st-key-panel-{panel}')"
            assert browser.evaluate(f"{inside}.querySelectorAll('img, strong, a, script, .katex').length") == 0
        assert "**bold** [x](javascript:window.pwned=1) $x^2$ :red[r] \\u202e" in browser.text()


def test_an_empty_database_says_that_it_waits_and_fills_by_itself(browser: Chromium, dsn: str, store: Store) -> None:
    with ConsoleServer(dsn) as console:
        browser.open(console.url)
        browser.see("No event has been read.")
        sample.fill(store, repeats=1)
        browser.see("Encoded PowerShell Command Line")


def test_a_database_that_goes_away_is_said_so_and_the_page_recovers(
    browser: Chromium, postgres: EmbeddedPostgres, dsn: str, store: Store
) -> None:
    sample.fill(store, repeats=1)
    store.close()
    with ConsoleServer(dsn) as console, connect(postgres.dsn, autocommit=True) as admin, connect(dsn) as own:
        [name] = own.execute("SELECT current_database()").fetchone() or []
        own.close()
        browser.open(console.url)
        browser.see("printer-3")
        admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        browser.see("The database cannot be read.")
        browser.miss("printer-3")
        admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name)))
        browser.see("printer-3")
        browser.miss("The database cannot be read.")


def test_the_page_is_served_on_loopback_and_is_gone_with_its_server(dsn: str) -> None:
    with ConsoleServer(dsn) as console:
        port = int(console.url.rsplit(":", 1)[1])
        [listener] = [c for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port]
        assert listener.laddr.ip == "127.0.0.1"
        argv = " ".join(psutil.Process(listener.pid).cmdline())
        assert dsn not in argv
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(console.url, timeout=2)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
