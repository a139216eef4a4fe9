"""What a model folder says of itself, and whether its files are what it says. Everything in it is taken for hostile."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, structs

from analyzers.bert.canonical import CANONICAL_VERSION, FEATURES, SOURCES

#: The model that Winnow ships.
BUILTIN_MODEL = Path(__file__).with_name("model")
#: Version of the folder's layout.
FORMAT = 1
MANIFEST = "model.json"
#: Largest manifest, and largest of all the other files together, bytes.
MAX_MANIFEST, MAX_FILES = 262_144, 64 * 1_048_576
#: Files without which there is no model.
REQUIRED = ("model.onnx", "tokenizer.json")
#: The linear screen, which a model may have.
SCREEN = "screen.npz"

Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9_.-]*\Z")]
File = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*\Z")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Token = Annotated[int, Meta(ge=0, lt=1_000_000)]
Factor = Annotated[float, Meta(gt=0, le=100)]
Share = Annotated[float, Meta(ge=0, le=1)]


class ModelError(ValueError):
    """A model cannot be used; the message is one line that says why."""


class Manifest(msgspec.Struct, frozen=True):
    """``model.json``. Probabilities are 0 to 1, lengths are tokens, special ones included."""

    format: int
    #: First 12 hex digits of the SHA-256 over all else that stands here, see ``version_of``.
    version: Annotated[str, Meta(pattern=r"^[0-9a-f]{12}\Z")]
    #: Labels, in the order of the logits.
    labels: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=32)]
    #: Sources, in the order of the token types.
    sources: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=32)]
    features: tuple[str, ...]
    canonical_version: int
    #: Longest window, and how far the next one begins after it.
    max_tokens: Annotated[int, Meta(ge=8, le=512)]
    stride: Annotated[int, Meta(ge=1, le=512)]
    cls: Token
    sep: Token
    pad: Token
    #: A label's probability is the sigmoid of its logit / temperature + bias.
    temperatures: tuple[Factor, ...]
    #: Probability from which a label is the text's.
    thresholds: tuple[Share, ...]
    #: SHA-256 of each other file.
    sha256: dict[File, Digest]
    biases: tuple[Annotated[float, Meta(ge=-50, le=50)], ...] = ()
    #: Probability from which a label is worth an alert, where few benign texts reach it; empty: the settings alone say.
    alert: tuple[Share, ...] = ()
    #: What is taken from the calibrated logit of a text of n windows, times ln n, a label.
    length_calibration: tuple[Annotated[float, Meta(ge=0, le=10)], ...] = ()
    #: Whether each command of a line is judged by itself too, as one more window: see ``analyzers.bert.commands``.
    commands: bool = False
    #: What a point of the linear screen's score adds to the calibrated logit of every label, a source; empty: nothing.
    screen_weights: tuple[Annotated[float, Meta(ge=0, le=10)], ...] = ()


def version_of(manifest: Manifest) -> str:
    """Return the version of a model: of its files and of what else the manifest says, for both make its verdicts."""
    said = msgspec.to_builtins(structs.replace(manifest, version=""))
    for name in ("commands", "screen_weights"):
        # Models from before there was such a thing keep their version.
        if not said[name]:
            del said[name]
    return hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()[:12]


def stamped(manifest: Manifest) -> Manifest:
    """Return the manifest with its version."""
    return structs.replace(manifest, version=version_of(manifest))


def read_folder(folder: Path) -> tuple[Manifest, dict[str, bytes]]:
    """Return a model's manifest and its files, which are what the manifest says.

    Raises:
        ModelError: the folder cannot be read, or is not a model that this program can serve.
    """
    try:
        manifest = _manifest(_bytes(folder / MANIFEST, MAX_MANIFEST))
        files: dict[str, bytes] = {}
        left = MAX_FILES
        for name, digest in sorted(manifest.sha256.items()):
            files[name] = content = _bytes(folder / name, left)
            left -= len(content)
            if hashlib.sha256(content).hexdigest() != digest:
                raise ModelError(f"{name} is not the file that {MANIFEST} names: its SHA-256 differs")
    except OSError as error:
        raise ModelError(f"{Path(error.filename or folder).name}: {error.strerror}") from error
    if manifest.version != version_of(manifest):
        raise ModelError(f"{MANIFEST}: version {manifest.version} is not that of this manifest and its files")
    return manifest, files


def _bytes(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ModelError(f"{path.name} is too large: the limit is {limit:,} bytes")
    return content


def _manifest(raw: bytes) -> Manifest:
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(f"{MANIFEST}: {str(error)[:200]}") from error
    if manifest.format != FORMAT:
        raise ModelError(f"{MANIFEST}: format {manifest.format}; known: {FORMAT}")
    if manifest.canonical_version != CANONICAL_VERSION:
        raise ModelError(
            f"trained on texts in canonical form {manifest.canonical_version}; this program has {CANONICAL_VERSION}"
        )
    if manifest.sources != SOURCES or manifest.features != FEATURES:
        raise ModelError("trained on other sources or features than this program has")
    if len(set(manifest.labels)) < len(manifest.labels) or "benign" in manifest.labels:
        raise ModelError(f"{MANIFEST}: labels are not distinct, or one is benign")
    for name in ("temperatures", "thresholds", "biases", "length_calibration", "alert"):
        values = getattr(manifest, name)
        if len(values) != len(manifest.labels) and (values or name in ("temperatures", "thresholds")):
            raise ModelError(f"{MANIFEST}: {name} has {len(values)} values for {len(manifest.labels)} labels")
        if not all(map(math.isfinite, values)):
            raise ModelError(f"{MANIFEST}: {name} has a value that is no number")
    if manifest.screen_weights and len(manifest.screen_weights) != len(SOURCES):
        raise ModelError(
            f"{MANIFEST}: screen_weights has {len(manifest.screen_weights)} values, a source each it needs"
        )
    if manifest.stride >= manifest.max_tokens - 1:
        raise ModelError(f"{MANIFEST}: stride {manifest.stride} leaves gaps between windows of {manifest.max_tokens}")
    for file in (*REQUIRED, SCREEN) if manifest.screen_weights else REQUIRED:
        if file not in manifest.sha256:
            raise ModelError(f"{MANIFEST}: sha256 does not name {file}")
    return manifest
