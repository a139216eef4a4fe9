"""Where calibrations lie by their version, so that every worker can take one into force: a folder of files."""

from __future__ import annotations

import os
import re
import tempfile
import time
from pathlib import Path

from analyzers.router.calibration import MAX_BYTES, Calibration, CalibrationError, decode

#: Versions that are kept at least, and for how long others are after they were last used, seconds.
KEEP_VERSIONS = 20
KEEP_SECONDS = 90 * 86_400
_VERSION = re.compile(r"[0-9a-f]{12}")


class CalibrationRegistry:
    """Calibration files by version.

    A version is the hash of what the file says, so that the same one always says the same.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, found: Calibration) -> Calibration:
        """Store a calibration, whole or not at all; return it as it is stored. Raises OSError."""
        found = found.sealed()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, draft = tempfile.mkstemp(prefix=".new-", dir=self.folder)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(found.encode())
                file.flush()
                os.fsync(file.fileno())
            Path(draft).replace(self.path(found.version))
        except OSError:
            Path(draft).unlink(missing_ok=True)
            raise
        self._prune(found.version)
        return found

    def get(self, version: str) -> Calibration:
        """Return a calibration. Raises CalibrationError: it is not there, or not what was put."""
        path = self.path(version)
        try:
            with path.open("rb") as file:
                found = decode(file.read(MAX_BYTES + 1))
            os.utime(path)
        except OSError as error:
            raise CalibrationError(f"calibration {version}: {error.strerror}") from None
        if found.version != version:
            raise CalibrationError(f"calibration {version}: the file is version {found.version}")
        return found

    def __contains__(self, version: str) -> bool:
        return _VERSION.fullmatch(version) is not None and self.path(version).is_file()

    def versions(self) -> list[str]:
        """Return the versions that are there, the one used last first."""
        if not self.folder.is_dir():
            return []
        found = [path for path in self.folder.glob("*.json") if _VERSION.fullmatch(path.stem)]
        return [path.stem for path in sorted(found, key=lambda path: (-path.stat().st_mtime, path.name))]

    def path(self, version: str) -> Path:
        """Return the file of a version. Raises CalibrationError if it is none."""
        # It comes from the control topic, to which others may write: it must not lead out of the folder.
        if not _VERSION.fullmatch(version):
            raise CalibrationError("not a version of a calibration: 12 hexadecimal digits")
        return self.folder / f"{version}.json"

    def _prune(self, keep: str) -> None:
        for version in self.versions()[KEEP_VERSIONS:]:
            path = self.path(version)
            if version != keep and time.time() - path.stat().st_mtime > KEEP_SECONDS:
                path.unlink(missing_ok=True)
