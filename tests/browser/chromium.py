"""Drives a headless chromium by its DevTools protocol: open a page, wait for text, click, take a picture."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

BINARY = Path("/usr/bin/chromium")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars --remote-debugging-port=0"
)


class Chromium:
    """A browser with one page, its profile in a folder of its own; both are gone after the ``with``."""

    def __init__(self, width: int = 1600, height: int = 1000, *, timeout: float = 60.0) -> None:
        self._size, self._timeout = (width, height), timeout
        self._calls = 0
        self._opened = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._profile = tempfile.TemporaryDirectory(prefix="winnow-chromium-", ignore_cleanup_errors=True)
        width, height = self._size
        self._process = subprocess.Popen(
            [
                str(BINARY),
                *FLAGS.split(),
                f"--user-data-dir={self._profile.name}",
                f"--window-size={width},{height}",
                "about:blank",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port = self.wait(self._port)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=10) as reply:
                pages = [page for page in json.load(reply) if page["type"] == "page"]
            address = pages[0]["webSocketDebuggerUrl"]
            self._socket: ClientConnection = self._opened.enter_context(connect(address, max_size=None))
            self.call(
                "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
            )
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()
        self._end()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._calls += 1
        self._socket.send(json.dumps({"id": self._calls, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=self._timeout))
            if message.get("id") == self._calls:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                result: dict[str, Any] = message["result"]
                return result

    def open(self, url: str) -> None:
        """Go to a page."""
        self.call("Page.navigate", url=url)

    def evaluate(self, script: str) -> Any:
        """Return the value of a JavaScript expression."""
        reply = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in reply:
            raise RuntimeError(f"{script}: {reply['exceptionDetails']}")
        return reply["result"].get("value")

    def text(self) -> str:
        """Return the page's text as a reader sees it, and that of its tables, which are drawn on canvases."""
        return str(
            self.evaluate(
                "(document.body?.innerText ?? '') + '\\n' + [...document.querySelectorAll('canvas td, canvas th')]"
                ".map(cell => cell.textContent).join('\\n')"
            )
        )

    def see(self, text: str) -> None:
        """Wait until the page shows ``text``; fail with what it shows instead."""
        self.wait(lambda: text in self.text(), lambda: f"no {text!r} on the page, which shows:\n{self.text()[:4000]}")

    def miss(self, text: str) -> None:
        """Wait until the page no longer shows ``text``."""
        self.wait(lambda: text not in self.text(), lambda: f"{text!r} is still on the page")

    def click(self, x: float, y: float) -> None:
        """Click at a place of the window."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Write a picture of the window, or of the whole page, as PNG."""
        reply = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(reply["data"]))

    def wait(self, ready: Callable[[], Any], explain: Callable[[], str] | None = None) -> Any:
        """Call ``ready`` until it returns something true, and return that."""
        deadline = time.monotonic() + self._timeout
        while True:
            if found := ready():
                return found
            if self._process.poll() is not None:
                raise RuntimeError(f"chromium ended with status {self._process.returncode}")
            if time.monotonic() > deadline:
                raise AssertionError(explain() if explain else f"nothing happened in {self._timeout:g} s")
            time.sleep(0.1)

    def _port(self) -> str | None:
        try:
            return (Path(self._profile.name) / "DevToolsActivePort").read_text().splitlines()[0]
        except (FileNotFoundError, IndexError):
            return None

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._profile.cleanup()
