"""Where compiled rule sets lie by their version, so that every worker can take one into force: a folder of its own.

A folder serves one machine, or several that share it. It must be as durable as the recovery store, which tells of
offsets that a version judged.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from analyzers.rules.compiled import Compiled, Loaded, own_folder, read_file, write_file
from analyzers.rules.correlation import Correlation
from analyzers.rules.linking import silenced
from analyzers.rules.rule import Problem

#: Versions that are kept at least, and for how long others are after they were last used, seconds.
KEEP_VERSIONS = 50
KEEP_SECONDS = 30 * 86_400
#: Rules that are read at once; between them other threads have their turn.
_STRIDE = 16
_VERSION = re.compile(r"[0-9a-f]{16}")
_SUFFIX = ".ruleset"


class _Stored(msgspec.Struct, frozen=True, eq=False):
    version: str
    problems: list[Problem]
    #: Each rule apart, so that reading all of them need not stop the other threads.
    rules: list[msgspec.Raw]
    correlations: list[Correlation] = []


class Registry:
    """Compiled rule sets by version."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, loaded: Loaded) -> None:
        """Store a set, whole or not at all; remove versions that nobody used for long. Raises OSError."""
        own_folder(self.folder)
        path = self._path(loaded.version)
        if self._whole(path):
            os.utime(path)
            return
        rules = [msgspec.Raw(msgspec.msgpack.encode(each)) for each in loaded.compiled]
        write_file(path, msgspec.msgpack.encode(_Stored(loaded.version, loaded.problems, rules, loaded.correlations)))
        self._prune()

    def get(self, version: str, rest: Callable[[], None] = lambda: None) -> Loaded:
        """Return a set; ``rest`` is called every few rules. Raises OSError; ValueError if it is not what was put."""
        path = self._path(version)
        stored = msgspec.msgpack.decode(read_file(path), type=_Stored)
        if stored.version != version:
            raise ValueError(f"holds version {stored.version[:32]}")
        decoder = msgspec.msgpack.Decoder(Compiled)
        compiled: list[Compiled] = []
        for start in range(0, len(stored.rules), _STRIDE):
            compiled += [decoder.decode(raw) for raw in stored.rules[start : start + _STRIDE]]
            rest()
        os.utime(path)
        return Loaded(compiled, stored.problems, version, stored.correlations)

    def __contains__(self, version: str) -> bool:
        return _VERSION.fullmatch(version) is not None and self._path(version).is_file()

    def _path(self, version: str) -> Path:
        # It comes from the control topic, to which others may write: it must not lead out of the folder.
        if not _VERSION.fullmatch(version):
            raise ValueError("not a version of rules: 16 hexadecimal digits")
        return self.folder / f"{version}{_SUFFIX}"

    def _whole(self, path: Path) -> bool:
        try:
            read_file(path)
        except (OSError, ValueError):
            return False
        return True

    def _prune(self) -> None:
        found = [(path.stat().st_mtime, path) for path in self.folder.glob(f"*{_SUFFIX}")]
        for used, path in sorted(found, reverse=True)[KEEP_VERSIONS:]:
            if time.time() - used > KEEP_SECONDS:
                path.unlink(missing_ok=True)


def keep_broken(
    loaded: Loaded, before: Sequence[Compiled], correlations: Sequence[Correlation] = ()
) -> tuple[Loaded, list[Compiled | Correlation]]:
    """Return the set with the former form of each rule that is now broken, and those forms.

    A rule is known again by its id; of a file that cannot be read at all, by the file. A rule that is no longer there
    is gone, and with it what refers to it.
    """
    there = {each.rule.id for each in loaded.compiled} | {each.rule.id for each in loaded.correlations}
    ids = {problem.id for problem in loaded.problems if problem.id}
    files = {problem.path for problem in loaded.problems if not problem.id}

    def broken(each: Compiled | Correlation) -> bool:
        return each.rule.id not in there and (each.rule.id in ids or each.rule.path in files)

    rules = [each for each in before if broken(each)]
    served = {f"r:{each.rule.id}" for each in (*loaded.compiled, *rules)}
    served.update(f"c:{each.key}" for each in loaded.correlations)
    again: list[Correlation] = []
    for each in correlations:  # those that others refer to come first
        if broken(each) and all(source.of in served for source in each.sources):
            again.append(each)
            served.add(f"c:{each.key}")
    kept: list[Compiled | Correlation] = [*rules, *again]
    if not kept:
        return loaded, []
    now = silenced([*loaded.correlations, *again])
    return Loaded([*loaded.compiled, *rules], loaded.problems, _mixed(loaded.version, kept), now), kept


def _mixed(version: str, kept: Sequence[Compiled | Correlation]) -> str:
    whole = hashlib.blake2b(version.encode(), digest_size=8)
    for each in sorted(msgspec.msgpack.encode(one) for one in kept):
        whole.update(each)
    return whole.hexdigest()
