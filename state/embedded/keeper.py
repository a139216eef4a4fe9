"""The keeper: a small process between Winnow and its embedded servers, which outlives Winnow only to end them.

Winnow holds the other end of the keeper's standard input. When that closes, however Winnow ended (return, exception,
signal, ``kill -9``), the keeper ends the servers and removes their folder. Should the keeper itself be killed, the
kernel ends the servers (Linux), and the next start removes the folder.

It runs as a script in a session of its own, so that Ctrl-C reaches only Winnow, and imports the standard library alone,
so that it starts in some 20 ms. Requests and replies are one JSON object a line.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: The file that marks a folder as ours and is locked as long as its keeper lives; removed last.
LOCK = "winnow.lock"
#: Pid and start time of every server, for the start after a crash.
SERVERS = "servers.json"
#: Seconds that servers get to end by their own signal before SIGKILL.
GRACE = 5.0
_PR_SET_PDEATHSIG = 1


def start_time(pid: int) -> str | None:
    """Return a text that tells this process from any other that had or will have its pid; None if there is none."""
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        state, *rest = stat.rpartition(")")[2].split()
        return None if state in "ZX" else f"{boot}/{rest[18]}"
    shown = subprocess.run(["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip() or None


def remove(folder: Path) -> None:
    """Remove a folder, its lock last: a folder without a lock is empty. Waits up to 2 s for writers to finish."""
    deadline = time.monotonic() + 2.0
    while True:
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name != LOCK:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
        try:
            if {path.name for path in folder.iterdir()} <= {LOCK}:
                (folder / LOCK).unlink(missing_ok=True)
                folder.rmdir()
                return
        except FileNotFoundError:
            return
        if time.monotonic() > deadline:
            raise OSError(f"cannot empty {folder}")
        time.sleep(0.05)


class Keeper:
    """Starts, watches and ends the servers of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers: dict[str, tuple[subprocess.Popen[bytes], int]] = {}
        self.libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out one request: ``start``, ``poll`` or ``stop`` of a named server."""
        name = request["name"]
        if request["do"] == "start":
            return self.start(name, request)
        process, number = self.servers[name]
        if request["do"] == "stop":
            end([(process, number)])
            del self.servers[name]
            self.record()
        return {"returncode": process.poll()}

    def start(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        """Start a server in a process group of its own, as another user if the request names one."""
        identity: dict[str, Any] = {}
        if request["uid"] is not None:
            identity = {"user": request["uid"], "group": request["gid"], "extra_groups": []}
        with Path(request["log"]).open("ab") as log:
            process = subprocess.Popen(
                request["argv"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=request["cwd"],
                env=request["env"],
                start_new_session=True,
                umask=0o077,
                preexec_fn=self.tie(request["signal"]),  # safe: the keeper has one thread
                **identity,
            )
        self.servers[name] = (process, request["signal"])
        self.record()
        return {"pid": process.pid}

    def tie(self, number: int) -> Callable[[], None]:
        """Return what makes the kernel send a server its signal when the keeper dies (Linux)."""
        keeper, libc = os.getpid(), self.libc

        def tied() -> None:
            if libc is not None:
                libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
            if os.getppid() != keeper:
                os._exit(1)

        return tied

    def record(self) -> None:
        """Write pids and start times where the next start looks for them."""
        rows = [{"name": name, "pid": p.pid, "start": start_time(p.pid)} for name, (p, _) in self.servers.items()]
        draft = self.folder / (SERVERS + ".new")
        draft.write_text(json.dumps(rows))
        draft.replace(self.folder / SERVERS)

    def serve(self, parent: int) -> None:
        """Answer requests until standard input closes or the parent is gone."""
        pending = b""
        # A child that the parent forked without exec would hold the pipe open; hence the look at the parent's pid.
        while os.getppid() == parent:
            if not select.select([0], [], [], 0.25)[0]:
                continue
            data = os.read(0, 65536)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                request = json.loads(line)
                try:
                    reply = self.answer(request)
                except (OSError, subprocess.SubprocessError, KeyError, ValueError) as error:
                    reply = {"error": f"{type(error).__name__}: {error}"}
                os.write(1, json.dumps({"id": request["id"], **reply}).encode() + b"\n")


def end(servers: list[tuple[subprocess.Popen[bytes], int]]) -> None:
    """End servers: to each group its own signal at once, SIGKILL to what is left after the grace."""
    for process, number in servers:
        if process.poll() is None:
            _signal_group(process.pid, number)
    deadline = time.monotonic() + GRACE
    for process, _ in servers:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _signal_group(process.pid, signal.SIGKILL)
            process.wait()


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


def main(folder: Path, parent: int) -> None:
    """Serve, and whatever happens, end the servers and remove the folder."""
    keeper = Keeper(folder)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        keeper.serve(parent)
    except BrokenPipeError:
        return
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end(list(keeper.servers.values()))
        remove(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
