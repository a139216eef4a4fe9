"""Where text models lie by their version, so that every worker can take one into force: a folder of model folders."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from pathlib import Path

from analyzers.bert.encoder import Encoder
from analyzers.bert.manifest import MANIFEST, Manifest, ModelError, read_folder

#: Versions that are kept at least, and for how long others are after they were last used, seconds.
KEEP_VERSIONS = 10
KEEP_SECONDS = 30 * 86_400
_VERSION = re.compile(r"[0-9a-f]{12}")


class ModelRegistry:
    """Model folders by version."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, source: Path) -> Manifest:
        """Store the model of a folder, whole or not at all, if it runs. Raises ModelError, OSError."""
        manifest, files = read_folder(source)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = self.folder / manifest.version
        if self._whole(place, manifest):
            os.utime(place)
            return manifest
        Encoder(manifest, files)
        draft = Path(tempfile.mkdtemp(prefix=".new-", dir=self.folder))
        try:
            for name, content in files.items():
                _write(draft / name, content)
            _write(draft / MANIFEST, (source / MANIFEST).read_bytes())
            read_folder(draft)
            shutil.rmtree(place, ignore_errors=True)
            draft.rename(place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        self._prune(manifest.version)
        return manifest

    def get(self, version: str) -> Encoder:
        """Return a model that runs. Raises ModelError: it is not there, or not what was put."""
        place = self.path(version)
        encoder = Encoder.load(place)
        if encoder.manifest.version != version:
            raise ModelError(f"holds version {encoder.manifest.version}")
        os.utime(place)
        return encoder

    def __contains__(self, version: str) -> bool:
        return _VERSION.fullmatch(version) is not None and (self.folder / version / MANIFEST).is_file()

    def path(self, version: str) -> Path:
        """Return the folder of a version. Raises ModelError if it is none."""
        # It comes from the control topic, to which others may write: it must not lead out of the folder.
        if not _VERSION.fullmatch(version):
            raise ModelError("not a version of a model: 12 hexadecimal digits")
        return self.folder / version

    def _whole(self, place: Path, manifest: Manifest) -> bool:
        try:
            return read_folder(place)[0] == manifest
        except ModelError:
            return False

    def _prune(self, keep: str) -> None:
        found = [(path.stat().st_mtime, path) for path in self.folder.iterdir() if _VERSION.fullmatch(path.name)]
        for used, path in sorted(found, reverse=True)[KEEP_VERSIONS:]:
            if path.name != keep and time.time() - used > KEEP_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
