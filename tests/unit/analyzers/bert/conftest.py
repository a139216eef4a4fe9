"""The shipped model, loaded once; and copies of it that something is wrong with."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from analyzers.bert.encoder import Encoder
from analyzers.bert.judge import TextJudge
from analyzers.bert.manifest import BUILTIN_MODEL, Manifest, version_of


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return Encoder.load(BUILTIN_MODEL)


@pytest.fixture
def judge(encoder: Encoder) -> TextJudge:
    return TextJudge(encoder)


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes a copy of the shipped model with other values or files, its checksums true."""

    def make(files: dict[str, bytes] | None = None, **values: Any) -> Path:
        folder = tmp_path / f"model-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(BUILTIN_MODEL, folder)
        manifest = json.loads((folder / "model.json").read_text())
        for name, content in (files or {}).items():
            (folder / name).write_bytes(content)
            manifest["sha256"][name] = hashlib.sha256(content).hexdigest()
        told = msgspec.convert(manifest, Manifest)
        manifest["version"] = version_of(told)
        manifest.update(values)
        # What it says is true of its version too, unless the version is what is wrong.
        with contextlib.suppress(msgspec.ValidationError):
            manifest["version"] = values.get("version") or version_of(msgspec.convert(manifest, Manifest))
        (folder / "model.json").write_text(json.dumps(manifest))
        return folder

    return make
