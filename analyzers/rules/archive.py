"""A release of rules as a zip: unpacked within limits, and put in the place of the last one in one step.

An archive comes from outside and may be hostile: no name leaves the folder, nothing but regular files is written, and
entries, their sizes and their sum are bounded by what is really unpacked, not by what the archive says of itself.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import secrets
import shutil
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import msgspec

from analyzers.rules.loading import MAX_FILE
from analyzers.rules.rule import Unsupported

#: What a folder holds that was made from an archive. The leading dot hides it from the rule loader.
MANIFEST = ".winnow-sync.json"
#: Largest archive, bytes.
MAX_ARCHIVE = 256 * 1024 * 1024
#: Entries of an archive, bytes of all rules in it together.
MAX_ENTRIES = 100_000
MAX_TOTAL = 512 * 1024 * 1024
#: Longest name in an archive, characters.
MAX_NAME = 400
#: Files beside the folders of rules that are kept: the licence goes with the rules.
_KEPT = ("LICENSE", "LICENSE.md", "LICENSE.txt", "LICENSE.Detection.Rules.md", "version.txt")
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


class Manifest(msgspec.Struct, frozen=True):
    """Where a folder of rules came from."""

    version: int
    #: File name, or address without user and password.
    source: str
    sha256: str
    #: ISO time, UTC, of the sync.
    time: str
    #: Folders of the archive that were taken.
    folders: tuple[str, ...]
    rules: int
    #: SHA-256 by path of every file that was written, so that what people changed since is seen.
    files: dict[str, str]


class Unpacked(msgspec.Struct, frozen=True):
    """What came out of an archive."""

    folders: tuple[str, ...]
    rules: int
    #: SHA-256 by path.
    files: dict[str, str]


def unpack(archive: Path, target: Path, only: Sequence[str] = ()) -> Unpacked:
    """Write the rules of an archive into an empty folder; ``only`` names the archive's folders that are taken.

    By default these are ``rules`` and all ``rules-*``. A folder around everything, as in archives of source code, is
    left away. Raises Unsupported with the reason, also for any entry that is hostile; OSError.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            return _unpack(opened, target, only)
    # NotImplementedError is zipfile's, of a compression that it does not know; RuntimeError, of an encrypted entry.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError, RuntimeError) as error:
        raise Unsupported(f"not a sound zip archive: {' '.join(str(error).split())[:200]}") from error


def _unpack(opened: zipfile.ZipFile, target: Path, only: Sequence[str]) -> Unpacked:
    entries = opened.infolist()
    if len(entries) > MAX_ENTRIES:
        raise Unsupported(f"more than {MAX_ENTRIES:,} entries")
    names = {_name(entry): entry for entry in entries if not entry.is_dir()}
    for entry in entries:
        if entry.is_dir():
            _name(entry)
    around = _around(list(names))
    wanted: dict[PurePosixPath, zipfile.ZipInfo] = {}
    there: dict[str, None] = {}
    for path, entry in names.items():
        inside = path.relative_to(around)
        top = inside.parts[0] if len(inside.parts) > 1 else ""
        is_rule = inside.suffix in (".yml", ".yaml") and top and not inside.name.startswith(".")
        if is_rule and (top == "rules" or top.startswith("rules-") or top in only):
            there[top] = None
        if (is_rule and (top in only if only else top in there)) or str(inside) in _KEPT:
            wanted[inside] = entry
    missing = [name for name in only if name not in there]
    if missing:
        raise Unsupported(f"no rules in a folder {', '.join(missing)}; there are: {', '.join(sorted(there)) or 'none'}")
    files: dict[str, str] = {}
    rules = total = 0
    for inside, entry in sorted(wanted.items()):
        with opened.open(entry) as stream:
            raw = stream.read(MAX_FILE + 1)
        if len(raw) > MAX_FILE:
            raise Unsupported(f"{inside}: larger than {MAX_FILE:,} bytes")
        total += len(raw)
        if total > MAX_TOTAL:
            raise Unsupported(f"more than {MAX_TOTAL:,} bytes of rules")
        file_path = target / inside
        file_path.parent.mkdir(parents=True, exist_ok=True)
        with file_path.open("xb") as file:
            file.write(raw)
        files[str(inside)] = hashlib.sha256(raw).hexdigest()
        rules += str(inside) not in _KEPT
    if not rules:
        raise Unsupported("no rule in it: wanted are *.yml in a folder `rules` or `rules-*`")
    return Unpacked(tuple(only or sorted(there)), rules, files)


def _name(entry: zipfile.ZipInfo) -> PurePosixPath:
    """Return an entry's path. Raises Unsupported if it would leave the folder, or is no regular file or folder."""
    name = entry.filename
    path = PurePosixPath(name)
    if (
        not name.isprintable()
        or len(name) > MAX_NAME
        or "\\" in entry.orig_filename
        or "\0" in entry.orig_filename
        or path.is_absolute()
        or ".." in path.parts
        or not path.parts
        or ":" in path.parts[0]
    ):
        raise Unsupported(f"an entry's name is not accepted: {name[:100]!a}")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise Unsupported(f"{name[:100]!a} is a link or device")
    if entry.flag_bits & 1:
        raise Unsupported(f"{name[:100]!a} is encrypted")
    return path


def _around(paths: Sequence[PurePosixPath]) -> PurePosixPath:
    """Return the folder that is around everything, if it is not itself one of rules."""
    tops = {path.parts[0] for path in paths if len(path.parts) > 1}
    if len(tops) == 1 and not any(len(path.parts) == 1 for path in paths):
        top = tops.pop()
        if top != "rules" and not top.startswith("rules-"):
            return PurePosixPath(top)
    return PurePosixPath()


# ---------------------------------------------------------------------------------------------------------- The folder


def manifest(folder: Path) -> Manifest | None:
    """Return what a folder was made from; None if it has no manifest of ours. Raises Unsupported if it is damaged."""
    try:
        raw = (folder / MANIFEST).read_bytes()
    except OSError:
        return None
    try:
        return msgspec.json.decode(raw, type=Manifest)
    except msgspec.DecodeError as error:
        raise Unsupported(f"{folder / MANIFEST} is damaged: {error}") from error


def write_manifest(folder: Path, made: Manifest) -> None:
    """Write what a folder was made from."""
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")


def touched(folder: Path, made: Manifest) -> list[str]:
    """Return the paths of files that were added, changed or removed since a folder was made."""
    left = dict(made.files)
    found: list[str] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name == MANIFEST or (path.is_dir() and not path.is_symlink()):
            continue
        expected = left.pop(name, None)
        if expected is None or path.is_symlink() or hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            found.append(name)
    return sorted([*found, *left])


def staging(folder: Path) -> Path:
    """Make and return an empty folder beside this one, on the same file system."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = folder.parent / f".{folder.name}.{secrets.token_hex(4)}"
    made.mkdir(mode=0o755)
    return made


def put(made: Path, folder: Path) -> None:
    """Put a finished folder in another's place; a reader finds the old one or the new one, whole. Raises OSError.

    Where the system cannot exchange two names in one step, there is a moment without the folder.
    """
    if not folder.exists():
        made.rename(folder)
        return
    if not _exchange(made, folder):
        away = made.with_name(made.name + ".old")
        folder.rename(away)
        try:
            made.rename(folder)
        except OSError:
            away.rename(folder)
            raise
        made = away
    shutil.rmtree(made)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two names by renameat2 (Linux); return False where there is no such call."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    names = os.fsencode(first), os.fsencode(second)
    return bool(renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0)
