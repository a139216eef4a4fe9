"""The recovery store: made once, locked while in use, and tied to the topics and the snapshot versions it is of.

Its file ``winnow.json`` says whose it is. Positions of one topic mean nothing in another, and a snapshot of another
version cannot be read: such a store is refused before anything is started.
"""

from __future__ import annotations

import fcntl
import io
import os
import pickle
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import msgspec
from bytewax.recovery import init_db_dir

from analyzers.alerts import AlertBook
from analyzers.anomaly.fleet import Fleet
from analyzers.anomaly.telling import HostAlarm
from analyzers.host import Host
from analyzers.ledger import LedgerBook
from flows.settings import Settings
from flows.usage import UsageError
from operators.align import Aligner
from operators.collect import SHARDS
from operators.control import ControlPartition
from operators.correlations import CorrelationLogic
from operators.incidents import IncidentLogic
from operators.kafka import KafkaPartition, KafkaSettings, offset_of
from operators.kafka.topics import TopicIdentity, beyond_end, identify
from operators.verdicts import VerdictPartition

#: Recovery partitions. Fixed, so that the number of workers may change.
RECOVERY_PARTITIONS = 64
#: The file that says whose the store is; written last when a store is made.
IDENTITY = "winnow.json"
#: Held by the supervisor and all of its workers for as long as one of them lives.
LOCK = "winnow.lock"
#: How the state is laid out and written. A store of other numbers is refused, but for those of READS.
SNAPSHOTS = {
    "source": KafkaPartition.VERSION,
    "align": Aligner.VERSION,
    "host": Host.VERSION,
    "fleet": Fleet.VERSION,
    "alarm": HostAlarm.VERSION,
    "correlate": CorrelationLogic.VERSION,
    "alerts": AlertBook.VERSION,
    "incidents": IncidentLogic.VERSION,
    "ledger": LedgerBook.VERSION,
    "control": ControlPartition.VERSION,
    "verdicts": VerdictPartition.VERSION,
    "shards": SHARDS,
}

#: Numbers of earlier versions that are read as well; the next snapshot of each state is of this one.
READS = {"incidents": IncidentLogic.READS}


class Identity(msgspec.Struct):
    """Whose state a store holds."""

    #: Cluster id of the broker; empty if it tells none.
    cluster: str
    topics: dict[str, TopicIdentity]
    snapshots: dict[str, int]
    version: int = 1


def open_store(settings: Settings) -> int | None:
    """Make or check the recovery store; return the descriptor of its lock, or None if there is no store.

    Partitions that were added to a topic are taken in. State is pickled, so only the folder's owner may read it.

    Raises:
        UsageError: the store is in use, of other topics, of another version, or damaged; the line says what to do.
        KafkaException: the broker cannot be reached.
        ValueError: a telemetry topic does not exist.
    """
    folder = settings.recovery.folder
    if folder is None:
        return None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    lock = _lock(folder)
    check_store(settings)
    return lock


def check_store(settings: Settings) -> None:
    """Check the store, which is locked, against the broker as it is now; see ``open_store``."""
    folder = settings.recovery.folder
    if folder is None:
        return
    cluster, topics = identify(settings.kafka)
    now = Identity(cluster, topics, SNAPSHOTS)
    file = folder / IDENTITY
    if not file.exists():
        _make(folder)
    else:
        _forget_unfinished(folder)
        known = _read(file)
        wrong = difference(known, now)
        if wrong:
            raise _refused(folder, wrong)
        _check_positions(settings.kafka, folder, now)
        if known == now:
            return
        if settings.kafka.start == "latest" and grown(known, now):
            # A partition that came since must be read whole; those known before have their positions.
            settings.kafka.start = "earliest"
    draft = file.with_suffix(".new")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(now)) + b"\n")
    draft.replace(file)


def difference(known: Identity, now: Identity) -> str:
    """Return why the state of ``known`` cannot be gone on from in ``now``; empty if it can.

    >>> topics = {"t": TopicIdentity("x", [0, 1])}
    >>> difference(Identity("c", topics, {"host": 1}), Identity("c", topics, {"host": 2}))
    'its snapshots are of another version (host 1, this Winnow reads 2)'
    """
    other = [
        f"{name} {known.snapshots.get(name, 'none')}, this Winnow reads {now.snapshots.get(name, 'none')}"
        for name in sorted(known.snapshots.keys() | now.snapshots.keys())
        if known.snapshots.get(name) not in (now.snapshots.get(name), *READS.get(name, ()))
    ]
    if other:
        return f"its snapshots are of another version ({'; '.join(other)})"
    if known.cluster and now.cluster and known.cluster != now.cluster:
        return f"it is of Kafka cluster {known.cluster}, and this is {now.cluster}"
    for name, topic in known.topics.items():
        found = now.topics.get(name)
        if found is None:
            return f"it is of topic {name} too, which kafka.telemetry does not name"
        if topic.id and found.id and topic.id != found.id:
            return f"topic {name} was deleted and made anew since (id {topic.id}, now {found.id})"
        if gone := sorted(set(topic.partitions) - set(found.partitions)):
            return f"topic {name} has lost partitions {', '.join(map(str, gone))}"
    return ""


def grown(known: Identity, now: Identity) -> list[str]:
    """Return the partitions, as ``topic-partition``, of known topics that came since."""
    return [
        f"{name}-{partition}"
        for name, topic in known.topics.items()
        for partition in now.topics[name].partitions
        if partition not in topic.partitions
    ]


def positions(folder: Path) -> dict[str, int]:
    """Return the next offset of each partition in the newest snapshots of a store.

    Raises:
        sqlite3.Error: a file of the store is damaged.
    """
    newest: dict[str, tuple[int, int]] = {}
    for path in sorted(folder.glob("part-*.sqlite3")):
        with closing(sqlite3.connect(path, timeout=5.0)) as database:
            rows = database.execute(
                "SELECT state_key, snap_epoch, ser_change FROM snaps WHERE step_id = 'detect.source'"
            ).fetchall()
        for key, epoch, pickled in rows:
            state = _Plain(io.BytesIO(pickled)).load() if pickled is not None else None
            if isinstance(state, bytes) and epoch >= newest.get(key, (-1, 0))[0]:
                newest[key] = (epoch, offset_of(state))
    return {key: offset for key, (_, offset) in newest.items()}


def resume_epoch(folder: Path) -> int | None:
    """Return the epoch from which Bytewax goes on, by the rule of its own query; None if it never ran on this store.

    It is the least epoch that a worker of the last execution has not finished; one that has finished none counts as
    far as that execution itself began.

    Raises:
        sqlite3.Error: a file of the store is damaged.
    """
    executions: dict[int, tuple[int, int]] = {}
    fronts: list[tuple[int, int, int]] = []
    for path in sorted(folder.glob("part-*.sqlite3")):
        with closing(sqlite3.connect(path, timeout=5.0)) as database:
            for number, workers, epoch in database.execute("SELECT ex_num, worker_count, resume_epoch FROM exs"):
                executions[number] = (workers, epoch)
            fronts += database.execute("SELECT ex_num, worker_index, worker_frontier FROM fronts").fetchall()
    if not executions:
        return None
    last = max(executions)
    workers, began = executions[last]
    reached = dict.fromkeys(range(workers), began)
    for number, worker, epoch in fronts:
        if number == last:
            reached[worker] = max(reached.get(worker, began), epoch)
    return min(reached.values())


def trim_store(folder: Path, epoch: int) -> int:
    """Remove the snapshots of ``epoch`` and later; return how many there were.

    A cluster that was killed leaves snapshots of an epoch that not all of its workers finished. The next begins at that
    epoch again, with other batches in it, and Bytewax leaves the old ones in place: if it is killed too, before it has
    touched the same key in the same epoch, the third goes on from a state that holds what its sources read once more
    (Bytewax 0.21.1; seen as an alert that counted events twice).

    Raises:
        sqlite3.Error: a file of the store is damaged.
    """
    removed = 0
    for path in sorted(folder.glob("part-*.sqlite3")):
        with closing(sqlite3.connect(path, timeout=5.0)) as database, database:
            removed += database.execute("DELETE FROM snaps WHERE snap_epoch >= ?", (epoch,)).rowcount
    return removed


class _Plain(pickle.Unpickler):
    """Reads bytes and numbers and nothing else."""

    def find_class(self, module: str, name: str) -> object:
        raise pickle.UnpicklingError(f"{module}.{name} in a position")


def _forget_unfinished(folder: Path) -> None:
    try:
        epoch = resume_epoch(folder)
        if epoch is not None:
            trim_store(folder, epoch)
    except sqlite3.Error as error:
        raise _refused(folder, f"it is damaged ({error})") from error


def _check_positions(settings: KafkaSettings, folder: Path, now: Identity) -> None:
    try:
        stored = positions(folder)
    except (sqlite3.Error, pickle.UnpicklingError, msgspec.DecodeError, EOFError) as error:
        raise _refused(folder, f"it is damaged ({error})") from error
    there = {f"{name}-{number}" for name, topic in now.topics.items() for number in topic.partitions}
    for name, offset in sorted(stored.items()):
        if name in there and (end := beyond_end(settings, name, offset)) is not None:
            raise _refused(folder, f"it goes on at offset {offset} of {name}, which ends at {end}")


def _refused(folder: Path, wrong: str) -> UsageError:
    return UsageError(
        f"the recovery store {folder} does not fit: {wrong}; put back what it is of, or move the folder away to begin "
        f"anew at kafka.start"
    )


def _read(file: Path) -> Identity:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Identity)
    except (msgspec.DecodeError, OSError) as error:
        raise UsageError(f"{file} cannot be read ({error}); move the folder away to begin anew") from error


def _make(folder: Path) -> None:
    parts = sorted(folder.glob("part-*.sqlite3*"))
    if any(_holds_state(path) for path in parts if path.suffix == ".sqlite3"):
        raise _refused(folder, f"it is of an older Winnow, without {IDENTITY}")
    for path in parts:
        path.unlink()  # the start that was making them was cut off
    init_db_dir(folder, RECOVERY_PARTITIONS)


def _holds_state(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path)) as database:
            return database.execute("SELECT 1 FROM snaps LIMIT 1").fetchone() is not None
    except sqlite3.Error:
        return False


def _lock(folder: Path, patience: float = 5.0) -> int:
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                raise UsageError(f"the recovery store {folder} is in use by another winnow run") from None
            time.sleep(0.1)
