"""Start the processes of a Bytewax cluster on this machine, and end all of them together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

import msgspec

from flows.activation import Base
from flows.settings import PREFIX, Settings

#: Environment variable by which a worker learns its place; the settings come with it, secrets included, and are
#: therefore never in argv, where every user of the machine could read them.
PLACE = "_WINNOW_WORKER"


class Place(msgspec.Struct):
    """What a worker is told."""

    index: int
    addresses: list[str]
    settings: str
    #: Partitions of the source, the same for all; empty: each looks for itself.
    partitions: list[str] = []
    #: Process id of the supervisor, without which a worker does not go on, and descriptor of the pipe to it; 0: none.
    supervisor: int = 0
    beats: int = 0
    #: Descriptor of the memory in which workers tell each other where partitions are in event time; 0: none.
    board: int = 0
    #: What the rules are of partitions of which nothing is known; None: each worker loads those of the settings.
    rules: Base | None = None
    #: The same of the text model.
    model: Base | None = None
    #: The same of the calibration by which texts are settled.
    calibration: Base | None = None


def run_workers(module: Sequence[str], workers: int, settings: Settings) -> None:
    """Run ``python -m module…`` as ``workers`` processes of one cluster; return when all have ended well.

    Raises:
        RuntimeError: one ended badly; the others were ended with it.
    """
    addresses = free_addresses(workers)
    children: list[subprocess.Popen[bytes]] = []

    def forward(number: int, _: object) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    previous = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        for index in range(workers):
            env = worker_environment(index, addresses, settings)
            # A group of their own: Ctrl-C reaches them through us, once, and not twice.
            children.append(subprocess.Popen([sys.executable, "-m", *module], env=env, process_group=0))
        _watch(children)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        end_all(children)


def worker_environment(
    index: int,
    addresses: list[str],
    settings: Settings,
    partitions: Sequence[str] = (),
    supervisor: int = 0,
    beats: int = 0,
    board: int = 0,
    rules: Base | None = None,
    model: Base | None = None,
    calibration: Base | None = None,
) -> dict[str, str]:
    """Return the environment of a worker: ours, but for the settings, which it is to take from us and nowhere else."""
    told = Place(
        index, addresses, reveal(settings), list(partitions), supervisor, beats, board, rules, model, calibration
    )
    place = msgspec.json.encode(told).decode()
    ours = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    return {**ours, PLACE: place}


def worker_settings() -> tuple[int, list[str], Settings]:
    """Return this worker's index, the cluster's addresses and the settings, as its parent gave them."""
    place, settings = worker_place()
    return place.index, place.addresses, settings


def worker_place() -> tuple[Place, Settings]:
    """Return all that this worker's parent told it, and the settings."""
    place = msgspec.json.decode(os.environ.pop(PLACE), type=Place)
    return place, Settings.model_validate_json(place.settings)


def reveal(settings: Settings) -> str:
    """Return the settings as JSON with their secrets, for a child's environment only."""

    def bare(value: object) -> object:
        secret = getattr(value, "get_secret_value", None)
        if secret is not None:
            return secret()
        if isinstance(value, dict):
            return {key: bare(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [bare(item) for item in value]
        return value

    return msgspec.json.encode(bare(settings.model_dump(mode="python")), enc_hook=str).decode()


def free_addresses(count: int) -> list[str]:
    """Return as many addresses on loopback as are asked for, free a moment ago."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in held]
    finally:
        for one in held:
            one.close()


def _watch(children: Sequence[subprocess.Popen[bytes]]) -> None:
    while True:
        codes = [child.poll() for child in children]
        bad = [(index, code) for index, code in enumerate(codes) if code not in (None, 0)]
        if bad:
            raise RuntimeError(f"worker {bad[0][0]} ended with status {bad[0][1]}; the cluster was ended")
        if all(code == 0 for code in codes):
            return
        time.sleep(0.05)


def end_all(children: Sequence[subprocess.Popen[bytes]], patience: float = 5.0) -> None:
    """Tell processes to end; kill those that have not within ``patience`` seconds."""
    for child in children:
        if child.poll() is None:
            child.terminate()
    deadline = time.monotonic() + patience
    for child in children:
        try:
            child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
