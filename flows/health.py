"""One small HTTP server a process: ``/metrics`` for Prometheus, ``/health`` for whoever starts and watches us."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import orjson
from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

#: What ``/health`` answers: whether all is well, which is 200 and else 503, and the JSON object.
Report = Callable[[], tuple[bool, dict[str, Any]]]


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: healthy running is silent."""


class _Server6(ThreadingWSGIServer):
    address_family = socket.AF_INET6


def serve(port: int, address: str, report: Report, registry: CollectorRegistry = REGISTRY) -> None:
    """Answer on ``address:port`` for as long as the process lives, in threads of our own.

    Raises:
        OSError: the port is taken, or the address is not ours.
    """
    measured = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != "/health":
            page: Iterable[bytes] = measured(environ, start_response)
            return page
        well, body = report()
        start_response(
            "200 OK" if well else "503 Service Unavailable",
            [("Content-Type", "application/json"), ("Cache-Control", "no-store")],
        )
        return [orjson.dumps(body) + b"\n"]

    kind = _Server6 if ":" in address else ThreadingWSGIServer
    server = make_server(address, port, answer, kind, handler_class=_Quiet)
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
