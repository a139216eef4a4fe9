"""A model folder that is not what it says is refused with the reason, before anything of it runs."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from analyzers.bert.encoder import Encoder
from analyzers.bert.manifest import (
    BUILTIN_MODEL,
    MAX_MANIFEST,
    Manifest,
    ModelError,
    read_folder,
    version_of,
)
from analyzers.bert.registry import ModelRegistry

Change = Callable[..., Path]


def test_the_shipped_model_is_what_its_manifest_says_and_small_enough_for_the_repository() -> None:
    manifest, files = read_folder(BUILTIN_MODEL)
    assert {path.name for path in BUILTIN_MODEL.iterdir()} >= {"model.json", *files}
    assert sum(path.stat().st_size for path in BUILTIN_MODEL.iterdir()) < 10 * 2**20
    assert {"sqli", "xss", "path-traversal", "cmdi", "malicious-shell"} <= set(manifest.labels)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"format": 2}, "format 2"),
        ({"version": "0" * 12}, "version 000000000000 is not that of this manifest"),
        ({"version": "../../../etc"}, "version"),
        ({"canonical_version": 0}, "canonical form 0"),
        ({"sources": ["http"]}, "other sources or features"),
        ({"temperatures": [1.0]}, "temperatures has 1 values"),
        ({"thresholds": []}, "thresholds has 0 values"),
        ({"stride": 10_000}, "stride"),
        ({"max_tokens": 1}, "max_tokens"),
        ({"labels": []}, "labels"),
        (
            {"sha256": dict.fromkeys(("model.onnx", "screen.npz", "tokenizer.json"), "f" * 64)},
            "model.onnx is not the file",
        ),
        ({"sha256": {}}, "sha256 does not name model.onnx"),
        ({"sha256": {"../model.onnx": "f" * 64}}, "sha256"),
        ({"cls": 999_999}, "special token"),
        ({"screen_weights": [-1.0] * 6}, "screen_weights"),
        ({"screen_weights": [0.5]}, "screen_weights has 1 values"),
    ],
)
def test_a_manifest_that_lies_is_refused(changed: Change, values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ModelError, match=reason) as caught:
        Encoder.load(changed(**values))
    assert "\n" not in str(caught.value)


def test_a_model_from_before_commands_and_weights_keeps_its_version() -> None:
    manifest, _ = read_folder(BUILTIN_MODEL)
    told = msgspec.to_builtins(structs.replace(manifest, version="", commands=False, screen_weights=()))
    old = {name: value for name, value in told.items() if name not in ("commands", "screen_weights")}
    version = hashlib.sha256(msgspec.json.encode(old, order="sorted")).hexdigest()[:12]
    assert version_of(msgspec.convert({**old, "version": version}, Manifest)) == version
    for other in ({"screen_weights": (9.0,) * 6}, {"commands": not manifest.commands}):
        assert version_of(structs.replace(manifest, **other)) != version_of(manifest)


def test_a_weight_for_a_screen_that_the_model_has_not_is_refused(changed: Change) -> None:
    files = {"model.onnx": "f" * 64, "tokenizer.json": "f" * 64}
    with pytest.raises(ModelError, match=r"sha256 does not name screen\.npz"):
        Encoder.load(changed(sha256=files, screen_weights=[0.5] * 6))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"[" * 100_000, b" " * (MAX_MANIFEST + 1), b"\xff\xfe"])
def test_a_manifest_that_is_none_is_refused(changed: Change, content: bytes) -> None:
    folder = changed()
    (folder / "model.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.json"):
        read_folder(folder)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"", b"\x00" * 1_000, b'{"version": "1.0"}'])
def test_files_that_are_no_model_are_refused_though_their_checksums_are_true(
    changed: Change, name: str, content: bytes
) -> None:
    with pytest.raises(ModelError, match="does not run"):
        Encoder.load(changed({name: content}))


def test_a_file_that_was_changed_after_it_was_shipped_is_refused(changed: Change) -> None:
    folder = changed()
    whole = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ModelError, match=r"model\.onnx is not the file"):
        Encoder.load(folder)
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"model\.onnx: No such file"):
        Encoder.load(folder)


def test_a_model_of_fewer_labels_than_it_says_is_refused(changed: Change) -> None:
    labels = json.loads((BUILTIN_MODEL / "model.json").read_text())["labels"]
    more = {name: [1.0] * (len(labels) + 1) for name in ("temperatures", "thresholds")}
    wrong = changed(labels=[*labels, "another"], biases=[], length_calibration=[], alert=[], **more)
    with pytest.raises(ModelError, match="logits of shape"):
        Encoder.load(wrong)


def test_the_registry_gives_back_what_was_put_and_nothing_else(tmp_path: Path, changed: Change) -> None:
    registry = ModelRegistry(tmp_path / "registry")
    version = registry.put(BUILTIN_MODEL).version
    assert version in registry
    assert registry.get(version).manifest.version == version
    for name in ("0" * 12, "..", "../registry", "", version + "/"):
        assert name not in registry
        with pytest.raises(ModelError):
            registry.get(name)
    with pytest.raises(ModelError):
        registry.put(changed(format=9))
    assert [path.name for path in registry.folder.iterdir()] == [version]
    # Damaged since: it is refused, and stored anew.
    (registry.folder / version / "model.onnx").write_bytes(b"")
    with pytest.raises(ModelError):
        registry.get(version)
    registry.put(BUILTIN_MODEL)
    assert registry.get(version).manifest.version == version
    shutil.rmtree(registry.folder)
