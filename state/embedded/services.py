"""The embedded servers together: one folder, one keeper, started side by side."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from state.embedded.kafka import EmbeddedKafka
from state.embedded.postgres import EmbeddedPostgres
from state.embedded.server import START_TIMEOUT, EmbeddedError, EmbeddedServer, Keeper
from state.embedded.valkey import EmbeddedValkey

Part = TypeVar("Part", Keeper, EmbeddedKafka, EmbeddedPostgres, EmbeddedValkey)


class EmbeddedServices:
    """Kafka, Postgres and Valkey, each unless it is declined, running inside the ``with`` and gone after it.

    ``folder`` holds all their data and is removed in the end. EmbeddedError if one does not start.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        kafka: bool = True,
        postgres: bool = True,
        valkey: bool = True,
        timeout: float = START_TIMEOUT,
    ) -> None:
        self._folder, self._timeout = folder, timeout
        self._wanted = (kafka, postgres, valkey)
        self._keeper: Keeper | None = None
        self._kafka: EmbeddedKafka | None = None
        self._postgres: EmbeddedPostgres | None = None
        self._valkey: EmbeddedValkey | None = None

    @property
    def folder(self) -> Path:
        """Return the folder with the servers' data and logs (``kafka.log``, ``postgres.log``, ``valkey.log``)."""
        return _started(self._keeper).folder

    @property
    def keeper(self) -> Keeper:
        """Return the keeper, to start further processes that end with these servers."""
        return _started(self._keeper)

    @property
    def kafka(self) -> EmbeddedKafka:
        """Return the broker; EmbeddedError if it was declined or is not started."""
        return _started(self._kafka)

    @property
    def postgres(self) -> EmbeddedPostgres:
        """Return the database; EmbeddedError if it was declined or is not started."""
        return _started(self._postgres)

    @property
    def valkey(self) -> EmbeddedValkey:
        """Return the cache; EmbeddedError if it was declined or is not started."""
        return _started(self._valkey)

    @property
    def environment(self) -> dict[str, str]:
        """Return the settings, as environment variables, that lead Winnow's processes to these servers."""
        found = {}
        if self._kafka is not None:
            found["WINNOW_KAFKA__BOOTSTRAP_SERVERS"] = self._kafka.bootstrap_servers
        if self._postgres is not None:
            found["WINNOW_POSTGRES__DSN"] = self._postgres.dsn
        if self._valkey is not None:
            found["WINNOW_REDIS__URL"] = self._valkey.url
        return found

    @property
    def ended(self) -> tuple[str, ...]:
        """Return the names of servers that should run but do not."""
        return tuple(server.name for server in self._servers() if not server.running)

    def start(self) -> Self:
        """Start all servers side by side and return once all answer."""
        keeper = self._keeper = Keeper(self._folder)
        kafka, postgres, valkey = self._wanted
        self._kafka = EmbeddedKafka(timeout=self._timeout, keeper=keeper) if kafka else None
        self._postgres = EmbeddedPostgres(timeout=self._timeout, keeper=keeper) if postgres else None
        self._valkey = EmbeddedValkey(timeout=self._timeout, keeper=keeper) if valkey else None
        pool = ThreadPoolExecutor(max_workers=3, thread_name_prefix="embedded")
        try:
            for future in [pool.submit(server.start) for server in self._servers()]:
                future.result()
        except BaseException:
            self.close()  # first, so that the other threads stop waiting
            raise
        finally:
            pool.shutdown()
        return self

    def close(self) -> None:
        """End all servers and remove their folder. A second call does nothing."""
        if self._keeper is not None:
            self._keeper.close()

    def _servers(self) -> list[EmbeddedServer]:
        return [server for server in (self._kafka, self._postgres, self._valkey) if server is not None]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _started(part: Part | None) -> Part:
    if part is None:
        raise EmbeddedError("this embedded service was declined or is not started")
    return part
