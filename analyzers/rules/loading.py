"""Reads rule files, within limits; what was compiled before and has not changed comes from the cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from analyzers.rules.cache import Cache, Kept
from analyzers.rules.compiled import Compiled, File, Loaded
from analyzers.rules.correlation import Drawn
from analyzers.rules.linking import link
from analyzers.rules.rule import Placeholders, Problem, Unsupported

#: Largest rule file, bytes.
MAX_FILE = 1_000_000
#: How the name of a file ends that holds a rule's tests (``analyzers.rules.cases``).
TESTS = ".test.yaml"
#: Part of every version: rises when the meaning of compiled rules changes.
_ENGINE = b"winnow-rules-3"


class _Source(msgspec.Struct, frozen=True, eq=False):
    """A rule file as it was read."""

    path: str
    raw: bytes
    digest: bytes

    @property
    def key(self) -> str:
        return f"{self.digest.hex()} {self.path}"


def load(paths: Sequence[Path | str], placeholders: Placeholders, cache: Path | None = None) -> Loaded:
    """Read every rule under the paths; parse and compile those that ``cache``, a folder, does not hold.

    Raises FileNotFoundError for a missing path.
    """
    found: list[_Source | Problem] = [_read(path) for path in rule_files(paths)]
    sources = [each for each in found if isinstance(each, _Source)]
    store = Cache.open(cache, paths, placeholders) if cache is not None else None
    kept = store.read() if store is not None else Kept()
    files = {source.key: kept.files[source.key] for source in sources if source.key in kept.files}
    unfiltered = any(file.filters for key, file in kept.files.items() if key not in files)
    if len(files) < len(sources) or unfiltered:
        kept = _compile(sources, files, kept.filters, placeholders)
        files = kept.files
        if store is not None:
            store.write(kept)
    elif store is not None and len(files) < len(kept.files):
        store.write(Kept(kept.filters, files))
    compiled: list[Compiled] = []
    problems: list[Problem] = []
    drawn: list[Drawn] = []
    owners: dict[str, str] = {}
    for each in found:
        if isinstance(each, Problem):
            problems.append(each)
            continue
        file = files[each.key]
        problems += file.problems
        both: list[Compiled | Drawn] = [*file.compiled, *file.drawn]
        for one in both:
            rule = one.rule
            if rule.id in owners:
                why = f"has the id of a rule in {owners[rule.id]}"
                problems.append(Problem(rule.path, why, rule.id, rule.title, rule.line))
                continue
            owners[rule.id] = rule.path
            if isinstance(one, Compiled):
                compiled.append(one)
            else:
                drawn.append(one)
    named = {each for source in sources for each in files[source.key].narrowed}
    problems += [each for source in sources for each in files[source.key].filters if each not in named]
    linked = link(drawn, compiled)
    problems += linked.problems
    version = _version([source.digest for source in sources], placeholders)
    return Loaded(compiled, problems, version, linked.correlations)


def _compile(sources: Sequence[_Source], known: Mapping[str, File], filters: bytes, placeholders: Placeholders) -> Kept:
    """Compile what is not known. A filter concerns the rules of all files: if filters changed, nothing is known."""
    from analyzers.rules.parsing import compile_file, parse  # pySigma takes 0.2 s; from cache it is not needed

    parsed = {s.key: parse(s.path, s.raw, placeholders) for s in sources if s.key not in known}
    filtering = [s for s in sources if (known[s.key].filters if s.key in known else parsed[s.key].filters)]
    now = hashlib.blake2b(b"".join(s.digest for s in filtering), digest_size=16).digest() if filtering else b""
    again = sources if now != filters else filtering
    parsed.update((s.key, parse(s.path, s.raw, placeholders)) for s in again if s.key not in parsed)
    applied = [each for s in filtering for each in parsed[s.key].filters]
    keep = known if now == filters else {}
    return Kept(now, {s.key: keep.get(s.key) or compile_file(parsed[s.key], applied, placeholders) for s in sources})


def _read(path: Path) -> _Source | Problem:
    try:
        if not path.is_file():
            return Problem(str(path), f"not a regular file of at most {MAX_FILE} bytes")
        with path.open("rb") as file:
            raw = file.read(MAX_FILE + 1)
    except OSError as error:
        return Problem(str(path), error.strerror or type(error).__name__)
    if len(raw) > MAX_FILE:
        return Problem(str(path), f"not a regular file of at most {MAX_FILE} bytes")
    return _Source(str(path), raw, hashlib.blake2b(raw, digest_size=16).digest())


def read_rule_file(path: Path) -> bytes:
    """Return a rule file's bytes. Raises Unsupported if it cannot be read, or is larger than MAX_FILE."""
    found = _read(path)
    if isinstance(found, Problem):
        raise Unsupported(found.reason)
    return found.raw


def rule_files(paths: Sequence[Path | str]) -> Iterator[Path]:
    """Yield the rule files of files and folders, sorted by path; links to folders are not followed.

    Tests of rules (``*.test.yaml``) are no rule files. Other Sigma tools leave them alone too: they read ``*.yml``.
    """
    for each in paths:
        path = Path(each)
        if not path.exists():
            raise FileNotFoundError(f"no such file or folder: {path}")
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders.sort()
            for name in sorted(names):
                if name.endswith((".yml", ".yaml")) and not name.startswith(".") and not name.endswith(TESTS):
                    yield Path(folder) / name


def _version(digests: list[bytes], placeholders: Placeholders) -> str:
    whole = hashlib.blake2b(_ENGINE, digest_size=8)
    for digest in sorted(digests):
        whole.update(digest)
    whole.update(repr(sorted((name, tuple(values)) for name, values in placeholders.items())).encode())
    return whole.hexdigest()
