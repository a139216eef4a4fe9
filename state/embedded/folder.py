"""The one folder that holds everything of a run of embedded servers: locked while they live, recovered later."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import secrets
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from state.embedded.keeper import LOCK, SERVERS, remove, start_time

#: A Unix socket's path has room for 107 bytes on Linux, 103 on macOS; the longest name below a folder is
#: ``postgres/.s.PGSQL.5432.lock``.
MAX_FOLDER_BYTES = 103 - len("/postgres/.s.PGSQL.5432.lock")


class EmbeddedError(RuntimeError):
    """An embedded server could not be started or has ended; the message says why and holds the end of its log."""


@dataclass(frozen=True)
class Account:
    """The unprivileged user that a server runs as when Winnow itself is root."""

    uid: int
    gid: int


def unprivileged() -> Account | None:
    """Return whom Postgres runs as: ``nobody`` if we are root, which it refuses to run as; else None, ourselves.

    Raises EmbeddedError if we are root and there is no such user.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedError(
            "Postgres does not run as root, and this machine has no user 'nobody' to run it as"
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


@dataclass(frozen=True)
class Folder:
    """A locked folder. The lock belongs to the open file: it lasts until every copy of ``lock`` is closed."""

    path: Path
    lock: int

    @classmethod
    def open(cls, path: Path | None = None) -> Folder:
        """Make and lock a folder: the given one, or a fresh one below the user's own place for them.

        Leftovers of a Winnow that was killed are recovered first: its servers are ended, its files removed. Raises
        EmbeddedError if the folder is in use, holds files that are not ours, or its path is too long for a socket.
        """
        if path is not None:
            path = path.expanduser().absolute()
            _check_length(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            return _claim(path)
        base = _base()
        with _held(base):
            _sweep(base)
            return _claim(base / secrets.token_hex(4))


def _base() -> Path:
    """Return the user's place for run folders: in the temporary directory, ours alone."""
    name = f"winnow-{os.geteuid()}"
    base = Path(tempfile.gettempdir()).absolute() / name
    if len(os.fsencode(base)) + len("/12345678") > MAX_FOLDER_BYTES or not passable(base.parent):
        base = Path("/tmp") / name  # noqa: S108 ownership is checked below
    base.mkdir(mode=0o700, exist_ok=True)
    found = base.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise EmbeddedError(f"{base} belongs to somebody else; set TMPDIR to a directory of yours")
    _admit(base)
    return base


def passable(path: Path) -> bool:
    """Return whether the account that Postgres runs as gets through all folders down to this one."""
    account = unprivileged()
    return account is None or all(_admits(part.stat(), account) for part in (path, *path.parents))


def _admits(found: os.stat_result, account: Account) -> bool:
    return bool(found.st_mode & (stat.S_IXGRP if found.st_gid == account.gid else stat.S_IXOTH))


def _admit(path: Path) -> None:
    """Keep everybody out of a folder of ours, but let the unprivileged account pass through."""
    account = unprivileged()
    if account is not None:
        os.chown(path, 0, account.gid)
    path.chmod(0o700 if account is None else 0o710)


@contextlib.contextmanager
def _held(base: Path) -> Iterator[None]:
    """Hold the lock under which folders are made and swept."""
    with (base / LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sweep(base: Path) -> None:
    """Remove the folders whose keeper is dead."""
    for path in base.iterdir():
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(EmbeddedError, OSError):
                folder = _claim(path)
                remove(folder.path)
                os.close(folder.lock)


def _claim(path: Path) -> Folder:
    """Lock a folder, making it if need be, and empty it of what a dead Winnow left."""
    path.mkdir(mode=0o700, exist_ok=True)
    if not (path / LOCK).exists() and any(path.iterdir()):
        raise EmbeddedError(f"{path} holds files that are not Winnow's; name an empty folder")
    lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = (path / LOCK).stat()
        except (BlockingIOError, FileNotFoundError):
            raise EmbeddedError(f"{path} is in use by another Winnow") from None
        if os.fstat(lock).st_ino != found.st_ino:
            raise EmbeddedError(f"{path} is in use by another Winnow")
        _end_leftovers(path)
        _empty(path)
        _admit(path)
    except OSError as error:
        os.close(lock)
        raise EmbeddedError(f"{path} cannot be emptied of a former run: {error}") from error
    except BaseException:
        os.close(lock)
        raise
    return Folder(path, lock)


def _empty(path: Path) -> None:
    """Remove all but the lock."""
    for entry in list(path.iterdir()):
        if entry.name == LOCK:
            continue
        if entry.is_dir() and not entry.is_symlink():
            remove(entry)
        else:
            entry.unlink()


def _end_leftovers(path: Path) -> None:
    """End the servers that a folder's record names, if pid and start time show that they are the same processes."""
    try:
        rows = json.loads((path / SERVERS).read_text())
        known = [(int(row["pid"]), str(row["start"])) for row in rows if row["start"]]
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError) as error:
        raise EmbeddedError(
            f"{path / SERVERS} cannot be read: {error}; end its servers and remove the folder"
        ) from error
    for pid, start in known:
        if start_time(pid) == start:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGQUIT)
    deadline = time.monotonic() + 3.0
    for pid, start in known:
        while start_time(pid) == start and time.monotonic() < deadline:
            time.sleep(0.02)
        if start_time(pid) == start:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _check_length(path: Path) -> None:
    size = len(os.fsencode(path))
    if size > MAX_FOLDER_BYTES:
        raise EmbeddedError(f"{path} is {size} bytes long; a Unix socket below it leaves room for {MAX_FOLDER_BYTES}")
