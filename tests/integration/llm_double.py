"""A server that speaks the chat protocol of OpenAI and does what a test says: it answers, lies, stalls, fails, dies."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What a double does with a request: a reply, a status, a number of seconds to stall before it, or None: hang up.
Act = dict[str, Any] | int | float | bytes | None


class Double:
    """What was asked, and how it is answered: ``act(number, body)``, numbers from 0."""

    def __init__(self, act: Callable[[int, dict[str, Any]], Act]) -> None:
        self.act = act
        self.bodies: list[dict[str, Any]] = []
        self.raw: list[bytes] = []
        self.keys: set[str] = set()
        self.url = ""
        self._lock = threading.Lock()

    def take(self, raw: bytes, key: str) -> Act:
        with self._lock:
            number = len(self.bodies)
            self.raw.append(raw)
            self.keys.add(key)
            self.bodies.append(json.loads(raw))
        return self.act(number, self.bodies[number])


@contextmanager
def serving(double: Double, port: int = 0) -> Iterator[Double]:
    """Serve on loopback; after it, the port is closed and connections are cut."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            act = double.take(raw, self.headers.get("authorization", ""))
            with suppress(OSError):
                self.answer(act)

        def answer(self, act: Act) -> None:
            if isinstance(act, float):
                time.sleep(act)
                act = reply("{}")
            if act is None:
                self.close_connection = True
                self.connection.close()
                return
            status, body = (act, b'{"error": {"message": "no"}}') if isinstance(act, int) else (200, act)
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64
        allow_reuse_address = True

        def handle_error(self, *args: Any) -> None:
            pass

    server = Server(("127.0.0.1", port), Handler)
    double.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield double
    finally:
        server.shutdown()
        server.server_close()


def reply(text: str, tokens: tuple[int, int] | None = (1_000, 100), finish: str = "stop") -> dict[str, Any]:
    """Return a completion."""
    usage = tokens and {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def marker(body: dict[str, Any]) -> str:
    """Return the marker of a question as the model sees it."""
    found = re.search(r"<data-(\w+)>", body["messages"][1]["content"])
    assert found
    return found[1]


def answer(body: dict[str, Any], verdict: str = "malicious", **changes: Any) -> dict[str, Any]:
    """Return a sound answer to a question: it cites the first field of its event."""
    name = marker(body)
    shown = re.search(r'"fields": \{"((?:[^"\\]|\\.)*)"', body["messages"][1]["content"])
    assert shown
    told = {
        "verdict": verdict,
        "severity": "high",
        "confidence": 0.9,
        "techniques": ["T1059.001", "T9999"],
        "claims": [{"text": "It says so.", "event": f"{name}-0", "field": json.loads(f'"{shown[1]}"')}],
        "action": "Look.",
        **changes,
    }
    return reply(json.dumps(told))
