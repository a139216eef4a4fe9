"""Compiled rules on disk, so that only changed rule files are parsed again.

One file holds all rules of the folders that were loaded together. (Measured for SigmaHQ's 3,754 rules on ext4: reading
one file a rule takes 1.7 to 2 times as long, writing them, each with fsync, 18 to 31 times.)
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from analyzers.rules.compiled import File, engine, own_folder, read_file, write_file
from analyzers.rules.rule import Placeholders

#: Files that nobody used for so long are removed, seconds; and so are the oldest past a number and a size in bytes.
KEEP = 30 * 86_400
MAX_FILES = 100
MAX_TOTAL = 1_000_000_000
#: How exactly it is known when a file was last used, seconds.
_TOUCH = 86_400
_SUFFIX = ".rules"

_log = logging.getLogger(__name__)


class Kept(msgspec.Struct, frozen=True, eq=False):
    """What a cache file holds."""

    #: Hash of the files with filters; empty if there are none.
    filters: bytes = b""
    #: By content and path of the rule file.
    files: dict[str, File] = {}


class Cache:
    """The cache of one set of folders. It never fails: what cannot be read is compiled, what cannot be written is not.

    Its folder is ours alone; what another process of ours damaged is noticed by checksum and by type.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def open(cls, folder: Path, paths: Sequence[Path | str], placeholders: Placeholders) -> Cache | None:
        """Return the cache for what is loaded; None, with a warning, if the folder cannot be used."""
        try:
            own_folder(folder)
        except OSError as error:
            _log.warning("rules are not cached: %s: %s", folder, error.strerror or error)
            return None
        roots = [str(Path(path).absolute()) for path in paths]
        values = sorted((name, tuple(each)) for name, each in placeholders.items())
        name = hashlib.blake2b(repr((engine(), roots, values)).encode(), digest_size=16).hexdigest()
        return cls(folder / f"{name}{_SUFFIX}")

    def read(self) -> Kept:
        """Return what is kept; nothing if that is not whole."""
        try:
            kept = msgspec.msgpack.decode(read_file(self._path), type=Kept)
            if time.time() - self._path.stat().st_mtime > _TOUCH:
                os.utime(self._path)
        except FileNotFoundError:
            return Kept()
        except (OSError, ValueError, RecursionError) as error:
            _log.warning("cached rules cannot be used and are compiled again: %s: %s", self._path, error)
            return Kept()
        return kept

    def write(self, kept: Kept) -> None:
        """Keep these files and no others; remove what has not been used for long."""
        try:
            write_file(self._path, msgspec.msgpack.encode(kept))
            _prune(self._path.parent)
        except (OSError, ValueError, OverflowError, RecursionError) as error:
            _log.warning("compiled rules cannot be cached: %s: %s", self._path, error)


def _prune(folder: Path) -> None:
    now = time.time()
    found: list[tuple[float, int, str]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith((_SUFFIX, ".tmp")) and entry.is_file(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                if entry.name.endswith(_SUFFIX):
                    found.append((status.st_mtime, status.st_size, entry.path))
                elif now - status.st_mtime > _TOUCH:  # of a process that was killed while it wrote
                    Path(entry.path).unlink(missing_ok=True)
    total = 0
    for number, (used, size, path) in enumerate(sorted(found, reverse=True)):
        total += size
        if number and (now - used > KEEP or number >= MAX_FILES or total > MAX_TOTAL):
            Path(path).unlink(missing_ok=True)
