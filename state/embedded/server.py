"""What the three embedded servers share: a keeper to start them under, a health check, a clear error."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from state.embedded import keeper as keeper_script
from state.embedded.folder import Account, EmbeddedError, Folder

__all__ = ["EmbeddedError", "EmbeddedServer", "Keeper", "Process"]

#: Seconds a server may take to answer for the first time.
START_TIMEOUT = 60.0
#: Bytes of a server's log that an error shows.
TAIL_BYTES = 2_000


class Keeper:
    """Our side of the keeper process: start servers in one folder, and be sure that they end when we do.

    Safe to use from several threads. Raises EmbeddedError if the folder cannot be had (see ``Folder.open``).
    """

    def __init__(self, folder: Path | None = None) -> None:
        held = Folder.open(folder)
        self.folder = held.path
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self._sent = 0
        try:
            with (self.folder / "keeper.log").open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", keeper_script.__file__, str(self.folder), str(self._owner)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    cwd="/",
                    pass_fds=(held.lock,),
                    start_new_session=True,
                )
        finally:
            os.close(held.lock)

    def request(self, do: str, name: str, **rest: Any) -> dict[str, Any]:
        """Send one request and return its reply; EmbeddedError if it failed or the keeper is gone."""
        with self._lock:
            assert self._process.stdin and self._process.stdout
            try:
                if self._closed:
                    raise BrokenPipeError
                self._sent += 1
                request = {"id": self._sent, "do": do, "name": name, **rest}
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                self._process.stdin.flush()
                reply: dict[str, Any] = {}
                while reply.get("id") != self._sent:  # a reply that Ctrl-C kept us from reading comes first
                    reply = json.loads(self._process.stdout.readline())
            except (OSError, ValueError):
                raise EmbeddedError(f"{name}: the embedded services are stopped") from None
        if "error" in reply:
            raise EmbeddedError(f"{name}: {reply['error']}")
        return reply

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        cwd: Path,
        stop_signal: int,
        account: Account | None = None,
        env: dict[str, str] | None = None,
    ) -> Process:
        """Start a server; what it prints goes to ``<name>.log`` in the folder. It gets none of our environment."""
        log = self.folder / f"{name}.log"
        reply = self.request(
            "start",
            name,
            argv=list(argv),
            cwd=str(cwd),
            env={"PATH": "/usr/bin:/bin", "HOME": str(cwd), "TZ": "UTC", **(env or {})},
            log=str(log),
            uid=account.uid if account else None,
            gid=account.gid if account else None,
            signal=int(stop_signal),
        )
        return Process(self, name, log, int(reply["pid"]))

    def close(self) -> None:
        """End all servers and remove the folder; waits until it is done. A second call does nothing.

        In a process forked from the one that opened the keeper it does nothing either.
        """
        if os.getpid() != self._owner:
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
            assert self._process.stdin and self._process.stdout
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            try:
                self._process.wait(keeper_script.GRACE + 15.0)
            except subprocess.TimeoutExpired:
                self._process.kill()  # the kernel ends its servers, the next start removes its folder
                self._process.wait()
            self._process.stdout.close()


class Process:
    """A server process under a keeper."""

    def __init__(self, keeper: Keeper, name: str, log: Path, pid: int) -> None:
        self._keeper, self.name, self._log = keeper, name, log
        #: The process that was started; servers have children.
        self.pid = pid

    @property
    def returncode(self) -> int | None:
        """Return the exit status, negative for a signal; None while the server runs."""
        code: int | None = self._keeper.request("poll", self.name)["returncode"]
        return code

    def stop(self) -> None:
        """End the server."""
        self._keeper.request("stop", self.name)

    def tail(self) -> str:
        """Return the end of the server's log."""
        try:
            with self._log.open("rb") as file:
                file.seek(max(0, self._log.stat().st_size - TAIL_BYTES))
                return file.read().decode(errors="replace").strip()
        except OSError:
            return ""

    def wait_until(self, healthy: Callable[[], None], timeout: float) -> None:
        """Call ``healthy`` until it raises nothing; EmbeddedError once the server has ended or the time is up."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return healthy()
            except Exception as error:
                # Which exceptions "not yet" is made of, only the server's client knows; all end up in the message.
                if (code := self.returncode) is not None:
                    raise EmbeddedError(
                        f"{self.name} ended with status {code}; its log ends:\n{self.tail()}"
                    ) from error
                if time.monotonic() > deadline:
                    raise EmbeddedError(
                        f"{self.name} gave no answer in {timeout:g} s ({error}); its log ends:\n{self.tail()}"
                    ) from error
            time.sleep(0.02)


class EmbeddedServer(ABC):
    """A server as a context manager: running inside the ``with``, gone after it. ``close`` may be called twice.

    ``folder`` is where its data lie, by default a fresh folder in the temporary directory; it must be empty, and is
    removed in the end. ``keeper`` shares the folder of others instead. EmbeddedError if it does not start.
    """

    #: Name in logs and errors.
    name: str

    def __init__(
        self, folder: Path | None = None, *, timeout: float = START_TIMEOUT, keeper: Keeper | None = None
    ) -> None:
        self._folder, self._timeout, self._shared = folder, timeout, keeper
        self._own: Keeper | None = None
        self._process: Process | None = None

    @abstractmethod
    def _launch(self, keeper: Keeper) -> Process:
        """Start the server under the keeper and wait until it answers."""

    @property
    def pid(self) -> int:
        """Return the server's process id; EmbeddedError if it is not started."""
        if self._process is None:
            raise EmbeddedError(f"{self.name} is not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Return whether the server runs."""
        try:
            return self._process is not None and self._process.returncode is None
        except EmbeddedError:
            return False

    def start(self) -> Self:
        """Start the server and return it once it answers."""
        if self._shared is None:
            self._own = Keeper(self._folder)
        try:
            keeper = self._shared or self._own
            assert keeper is not None
            self._process = self._launch(keeper)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """End the server and, where it has a folder of its own, remove that."""
        if self._own is not None:
            self._own.close()
        elif self._process is not None:
            with contextlib.suppress(EmbeddedError):
                self._process.stop()
        self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
