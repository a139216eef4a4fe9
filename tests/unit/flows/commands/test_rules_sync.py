"""``winnow rules sync``: a release of rules from a file or a server, checked, whole, or not at all."""

from __future__ import annotations

import hashlib
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from analyzers.rules import RuleSet, archive
from flows.cli import main

IDS = [f"{digit * 8}-1111-4111-8111-111111111111" for digit in "123"]
Output = pytest.CaptureFixture[str]


def rule(i: int, value: int = 1, **more: Any) -> str:
    return yaml.safe_dump(
        {
            "title": f"Rule {i}",
            "id": IDS[i],
            "logsource": {"product": "windows"},
            "detection": {"sel": {"a": value}, "condition": "sel"},
            **more,
        }
    )


def release(path: Path, files: dict[str, str]) -> str:
    with zipfile.ZipFile(path, "w") as made:
        for name, text in files.items():
            made.writestr(name, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    release(Path("one.zip"), {"rules/a.yml": rule(0), "rules/b.yml": rule(1)})
    release(Path("two.zip"), {"rules/a.yml": rule(0, 2), "rules-threat-hunting/c.yml": rule(2)})
    return tmp_path


class Server:
    """A web server on loopback with a few pages."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        pages = self.pages

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, headers, body = pages[self.path.partition("?")[0]]
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def refused(capsys: Output, *words: str) -> str:
    """Return the one line of a sync that was refused, which leaves nothing behind."""
    before = sorted(path.name for path in Path.cwd().iterdir())
    capsys.readouterr()
    assert main(["rules", "sync", *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1, err
    assert sorted(path.name for path in Path.cwd().iterdir()) == before
    return err


def test_the_second_release_replaces_the_first_and_says_what_changed(capsys: Output) -> None:
    assert main(["rules", "sync", "one.zip", "--out", "out"]) == 0
    assert "2 new, 0 changed, 0 reworded, 0 removed, 0 unchanged" in capsys.readouterr().out
    assert main(["rules", "sync", "two.zip", "--out", "out", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    fates = {name: [each["id"] for each in report[name]] for name in ("new", "changed", "reworded", "removed")}
    assert fates == {"new": [IDS[2]], "changed": [IDS[0]], "reworded": [], "removed": [IDS[1]]}
    assert report["new"][0]["path"] == "rules-threat-hunting/c.yml" and not report["filters_changed"]
    rules = RuleSet.load("out")
    assert {found.id for found in rules.rules} == {IDS[0], IDS[2]} and not rules.problems
    made = archive.manifest(Path("out"))
    assert made is not None and (made.source, made.rules) == ("two.zip", 2)
    assert made.sha256 == hashlib.sha256(Path("two.zip").read_bytes()).hexdigest()


def test_only_some_folders(capsys: Output) -> None:
    assert main(["rules", "sync", "two.zip", "--out", "out", "--only", "rules-threat-hunting"]) == 0
    assert [path.name for path in Path("out").rglob("*.yml")] == ["c.yml"]
    assert "nowhere" in refused(capsys, "two.zip", "--out", "out", "--only", "rules,nowhere")


def test_a_wrong_checksum_changes_nothing(capsys: Output) -> None:
    main(["rules", "sync", "one.zip", "--out", "out"])
    assert "sha256 is " in refused(capsys, "two.zip", "--out", "out", "--sha256", "0" * 64)
    assert sorted(path.name for path in Path("out").rglob("*.yml")) == ["a.yml", "b.yml"]
    digest = hashlib.sha256(Path("two.zip").read_bytes()).hexdigest()
    assert main(["rules", "sync", "two.zip", "--out", "out", "--sha256", digest.upper()]) == 0


def test_what_people_changed_is_not_lost_unasked(capsys: Output) -> None:
    main(["rules", "sync", "one.zip", "--out", "out"])
    Path("out/rules/own.test.yaml").write_text("mine")
    assert "changed by hand since: rules/own.test.yaml (--discard-changes" in refused(capsys, "two.zip", "--out", "out")
    assert main(["rules", "sync", "two.zip", "--out", "out", "--discard-changes"]) == 0
    assert not Path("out/rules/own.test.yaml").exists()


def test_a_folder_of_others_is_never_replaced(capsys: Output) -> None:
    Path("mine").mkdir()
    Path("mine/work.txt").write_text("x")
    assert "did not put there" in refused(capsys, "one.zip", "--out", "mine", "--discard-changes")
    Path("link").symlink_to("mine")
    assert "not a folder" in refused(capsys, "one.zip", "--out", "link")
    assert Path("mine/work.txt").read_text() == "x"


def test_a_release_from_a_server_needs_its_checksum(server: Server, capsys: Output) -> None:
    raw = Path("one.zip").read_bytes()
    server.pages["/one.zip"] = (200, {}, raw)
    server.pages["/moved"] = (302, {"Location": "/one.zip"}, b"")
    address = f"{server.address}/moved?token=secret"
    assert "needs --sha256" in refused(capsys, address, "--out", "out")
    assert "sha256 is" in refused(capsys, address, "--out", "out", "--sha256", "0" * 64)
    assert main(["rules", "sync", address, "--out", "out", "--sha256", hashlib.sha256(raw).hexdigest()]) == 0
    made = archive.manifest(Path("out"))
    assert made is not None and made.source == f"{server.address}/moved"
    assert "secret" not in "".join(capsys.readouterr())
    assert main(["rules", "sync", address, "--out", "out", "--insecure-no-checksum"]) == 0


@pytest.mark.parametrize(
    ("status", "headers", "body", "said"),
    [
        (404, {}, b"", "HTTP status 404"),
        (200, {"Content-Length": str(10**12)}, b"", "larger than"),
        (200, {"Content-Length": "1000"}, b"short", "broke off after 5 of 1000 bytes"),
        (200, {}, b"<html>no zip</html>", "not a sound zip archive"),
        (302, {"Location": "file:///etc/passwd"}, b"", "HTTP status 302"),
        (302, {"Location": "ftp://127.0.0.1/a.zip"}, b"", "redirected from http to ftp"),
    ],
)
def test_what_a_server_may_do_wrong_is_said(
    server: Server, capsys: Output, status: int, headers: dict[str, str], body: bytes, said: str
) -> None:
    server.pages["/a.zip"] = (status, headers, body)
    assert said in refused(capsys, f"{server.address}/a.zip", "--out", "out", "--insecure-no-checksum")


def test_a_stream_without_end_is_cut_off(server: Server, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_ARCHIVE", 100_000)
    server.pages["/a.zip"] = (200, {}, b"x" * 1_000_000)
    assert "larger than 100,000" in refused(capsys, f"{server.address}/a.zip", "--out", "o", "--insecure-no-checksum")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("gone.zip", "--out", "out"), "no such file"),
        (("one.zip", "--out", "out", "--sha256", "12"), "--sha256 must be 64"),
        (("one.zip", "--out", "out", "--only", ","), "--only names no folder"),
        (("http://", "--out", "out", "--insecure-no-checksum"), "names no host"),
        (("http://u:hunter2@127.0.0.1:1/a", "--out", "out", "--insecure-no-checksum"), "no user or password"),
        (("http://127.0.0.1:1/a.zip", "--out", "out", "--insecure-no-checksum"), "cannot be reached"),
        (("one.zip", "--out", "one.zip/out"), "one.zip"),
    ],
)
def test_bad_input_is_status_2_and_one_line(words: tuple[str, ...], said: str, capsys: Output) -> None:
    err = refused(capsys, *words)
    assert said in err and "hunter2" not in err
