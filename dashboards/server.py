"""The console as a child process: Streamlit on loopback, ended with whoever started it, however that ended."""

from __future__ import annotations

import importlib.util
import signal
import socket
import sys
import urllib.request
from pathlib import Path

from dashboards.settings import DSN_VARIABLE, OPTIONS
from state.embedded.server import START_TIMEOUT, EmbeddedError, EmbeddedServer, Keeper, Process

PAGE = Path(__file__).with_name("console.py")


class ConsoleServer(EmbeddedServer):
    """The console's page, served on 127.0.0.1 inside the ``with`` and gone after it.

    ``port`` 0 takes a free one. The page shows clearly when its database is away, so the database need not be up.
    ``EmbeddedError`` if Streamlit is not installed or does not start.
    """

    name = "console"

    def __init__(
        self,
        dsn: str,
        port: int = 0,
        *,
        folder: Path | None = None,
        timeout: float = START_TIMEOUT,
        keeper: Keeper | None = None,
    ) -> None:
        super().__init__(folder, timeout=timeout, keeper=keeper)
        self._dsn, self._port = dsn, port

    @property
    def url(self) -> str:
        """Return the page's address, such as ``http://127.0.0.1:8501``."""
        return f"http://127.0.0.1:{self._port}"

    def _launch(self, keeper: Keeper) -> Process:
        if importlib.util.find_spec("streamlit") is None:
            raise EmbeddedError("the console is not installed: pip install 'winnow[console]'")
        self._port = self._port or _free_port()
        options = {**OPTIONS, "server.address": "127.0.0.1", "server.port": str(self._port)}
        argv = [sys.executable, "-m", "streamlit", "run", str(PAGE)]
        argv += [word for key, value in options.items() for word in (f"--{key}", value)]
        process = keeper.start(
            self.name,
            argv,
            cwd=keeper.folder,
            # Streamlit has nothing to save, and its own shutdown waits for open pages.
            stop_signal=signal.SIGKILL,
            env={DSN_VARIABLE: self._dsn, "PYTHONPATH": str(PAGE.parents[1]), "PYTHONUNBUFFERED": "1"},
        )
        process.wait_until(self._healthy, self._timeout)
        return process

    def _healthy(self) -> None:
        with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=1.0) as reply:  # noqa: S310 our own address
            if reply.status != 200:
                raise EmbeddedError(f"the console answers with status {reply.status}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
