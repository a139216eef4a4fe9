"""The embedded services keep to a folder of their own, and to that of nobody else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import psycopg
import pytest

from state.embedded import EmbeddedError, EmbeddedPostgres, EmbeddedServices, EmbeddedValkey
from state.embedded import folder as folder_module
from state.embedded.folder import MAX_FOLDER_BYTES, Folder
from state.embedded.keeper import LOCK
from state.embedded.server import Keeper


def test_default_folders_of_dead_owners_are_swept(monkeypatch: pytest.MonkeyPatch, run_folder: Path) -> None:
    monkeypatch.setattr(folder_module.tempfile, "gettempdir", lambda: str(run_folder.parent))
    first, second = Keeper(), Keeper()
    first._process.kill()  # its folder stays
    first._process.wait()
    assert first.folder.exists()
    third = Keeper()
    assert not first.folder.exists()
    assert second.folder.exists()  # its owner lives
    second.close()
    third.close()
    first.close()
    assert list(third.folder.parent.iterdir()) == [third.folder.parent / LOCK]


def test_folder_in_use_is_refused(run_folder: Path) -> None:
    keeper = Keeper(run_folder)
    try:
        with pytest.raises(EmbeddedError, match="in use"):
            EmbeddedValkey(run_folder).start()
    finally:
        keeper.close()


def test_folder_with_files_of_others_is_left_alone(run_folder: Path) -> None:
    run_folder.mkdir(mode=0o755)
    run_folder.chmod(0o755)
    (run_folder / "thesis.tex").write_text("years of work")
    with pytest.raises(EmbeddedError, match="not Winnow's"):
        EmbeddedPostgres(run_folder).start()
    assert (run_folder / "thesis.tex").read_text() == "years of work"
    assert stat.S_IMODE(run_folder.stat().st_mode) == 0o755


def test_folder_too_deep_for_a_socket_is_refused(run_folder: Path) -> None:
    with pytest.raises(EmbeddedError, match="Unix socket"):
        Folder.open(run_folder / ("d" * MAX_FOLDER_BYTES))
    assert not run_folder.exists()


def test_longest_folder_serves(run_folder: Path) -> None:
    path = run_folder.parent / ("d" * (MAX_FOLDER_BYTES - len(os.fsencode(run_folder.parent)) - 1))
    with EmbeddedServices(path, kafka=False) as services:
        psycopg.connect(services.postgres.dsn).close()
