"""Compiled rules as data, and how they are written to disk: what a worker needs, without pySigma and rule files."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import msgspec

from analyzers.rules.correlation import Correlation, Drawn
from analyzers.rules.nodes import AnyNode, Branch
from analyzers.rules.rule import Problem, Rule

#: Largest file of compiled rules that is read, bytes; SigmaHQ's 3,752 rules are 8 MB.
MAX_BYTES = 512_000_000
_MAGIC = b"winnow-r"
_DIGEST = 16


class Compiled(msgspec.Struct, frozen=True, eq=False):
    """A rule with its compiled condition."""

    rule: Rule
    node: AnyNode
    #: The ways to meet the condition, for the prefilter; None in what was stored before there were any.
    branches: tuple[Branch, ...] | None = None


class File(msgspec.Struct, frozen=True, eq=False):
    """What came of one rule file."""

    compiled: list[Compiled]
    problems: list[Problem]
    #: Its filters, which concern the rules of other files, each as what is wrong if it names none.
    filters: tuple[Problem, ...] = ()
    #: Filters that name a rule of the file.
    narrowed: tuple[Problem, ...] = ()
    #: Its correlations, which may refer to rules of other files.
    drawn: tuple[Drawn, ...] = ()


class Loaded(msgspec.Struct, frozen=True, eq=False):
    """What came of reading rules."""

    compiled: list[Compiled]
    problems: list[Problem]
    version: str
    correlations: list[Correlation] = []


@functools.cache
def engine() -> str:
    """Return a hash of what compiled form depends on: this package's code, and the libraries that parse and search."""
    whole = hashlib.blake2b(digest_size=16)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        whole.update(path.read_bytes())
    for library in ("pysigma", "google-re2", "msgspec"):
        whole.update(f"{library} {version(library)};".encode())
    whole.update(repr(sys.version_info[:2]).encode())
    return whole.hexdigest()


def own_folder(folder: Path) -> None:
    """Make a folder that only we may read and write. Raises OSError, also if it is somebody else's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to another user")
    if status.st_mode & 0o077:
        folder.chmod(0o700)


def write_file(path: Path, body: bytes) -> None:
    """Write a file whole or not at all, with what shows that it is whole. Raises OSError."""
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_MAGIC + hashlib.blake2b(body, digest_size=_DIGEST).digest() + body)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_file(path: Path) -> bytes:
    """Return what was written. Raises OSError; ValueError if the file is not whole, or none of ours."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    start = len(_MAGIC) + _DIGEST
    if len(data) > MAX_BYTES or len(data) < start or not data.startswith(_MAGIC):
        raise ValueError("not a file of compiled rules")
    body = data[start:]
    if hashlib.blake2b(body, digest_size=_DIGEST).digest() != data[len(_MAGIC) : start]:
        raise ValueError("damaged")
    return body
