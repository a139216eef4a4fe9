"""What a calibration is: from which probability on the text judge settles a text, by source. Pure but for its file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

#: Version of the file's schema.
SCHEMA: Literal[1] = 1
#: Source of a threshold that holds for texts of every source that has none of its own.
ANY = "*"
#: Largest calibration file, bytes.
MAX_BYTES = 4 << 20

Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]


class CalibrationError(ValueError):
    """A calibration that cannot be made or used; one line that says why."""


class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a threshold would have meant for the labelled texts: a point of the curve that it was chosen from."""

    #: Texts of a lower probability would be decided benign.
    threshold: Share
    #: Malicious ones of the labelled among them.
    missed: Count
    #: Probability of so few, were their true share above the limit.
    p_value: Share
    #: Benign labelled texts at the threshold and above: what else would be asked about or alerted.
    above: Count


class Fitted(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The thresholds of a source, and what they were fitted on."""

    #: Texts of a lower probability are benign.
    benign_below: Share
    #: Texts of this probability and above are malicious; null: from where the text alerts.
    malicious_from: Share | None = None
    #: Labelled texts, and the malicious ones that are decided benign.
    malicious: Count
    benign: Count
    missed: Count
    p_value: Share
    #: Share of benign texts that are neither benign nor malicious, and of malicious ones.
    unsettled_benign: Share
    unsettled_malicious: Share
    curve: tuple[Point, ...] = ()


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Thresholds by source, for one version of the model, and the claim that they bear."""

    schema: Literal[1] = SCHEMA
    #: Hash of everything else.
    version: Name = "unsaved"
    #: Version of the text model; of another its probabilities mean something else.
    model: Name
    #: How it read them: windows of a long text (``bert.windows``), and whether behind its screen (``bert.screen``).
    windows: Count = 16
    screen: bool = False
    #: With ``confidence`` no larger share of malicious texts is decided benign, by texts like those labelled.
    max_miss_rate: Share
    confidence: Share
    #: Share of benign texts that may be decided malicious, if that was limited.
    max_false_rate: Share | None = None
    #: SHA-256 of the labels, empty if they were no file.
    labels: Annotated[str, Meta(max_length=64)] = ""
    sources: Annotated[Mapping[Name, Fitted], Meta(min_length=1, max_length=64)]
    #: Why sources of the labels have no threshold.
    refused: Annotated[Mapping[Name, Annotated[str, Meta(max_length=512)]], Meta(max_length=64)] = {}

    def of(self, source: str) -> Fitted | None:
        """Return what was fitted for texts of a source."""
        return self.sources.get(source) or self.sources.get(ANY)

    def sealed(self) -> Calibration:
        """Return it with the version that its content has."""
        bare = msgspec.structs.replace(self, version="unsaved")
        # Through JSON and back: what a file gives must have the same hash.
        plain = msgspec.json.encode(msgspec.json.decode(msgspec.json.encode(bare), type=Calibration), order="sorted")
        return msgspec.structs.replace(self, version=hashlib.blake2b(plain, digest_size=6).hexdigest())

    def encode(self) -> bytes:
        """Return the file's content: JSON for people and programs."""
        return msgspec.json.format(msgspec.json.encode(self.sealed()), indent=1) + b"\n"


def decode(raw: bytes) -> Calibration:
    """Return the calibration of a file's content. Raises CalibrationError."""
    if len(raw) > MAX_BYTES:
        raise CalibrationError(f"{len(raw):,} bytes; the limit is {MAX_BYTES:,}")
    try:
        found = msgspec.json.decode(raw, type=Calibration)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CalibrationError(f"no calibration of schema {SCHEMA}: {str(error)[:200]}") from None
    if found.version != found.sealed().version:
        raise CalibrationError(f"changed since it was made: its content is not that of version {found.version}")
    return found


def load(path: Path, model: str, windows: int | None = None, screen: bool | None = None) -> Calibration:
    """Return the calibration of a file. Raises CalibrationError with one line.

    Args:
        path: the file.
        model: version of the model in force; a calibration of another is refused.
        windows: how many windows of a long text are read; None: as when it was fitted.
        screen: whether there is a screen before the model; None: as when it was fitted.
    """
    try:
        with path.open("rb") as file:
            found = decode(file.read(MAX_BYTES + 1))
    except OSError as error:
        raise CalibrationError(f"calibration {path}: {error.strerror}") from None
    except CalibrationError as error:
        raise CalibrationError(f"calibration {path}: {error}") from None
    return suits(found, model, windows, screen, str(path))


def suits(
    found: Calibration,
    model: str | None,
    windows: int | None = None,
    screen: bool | None = None,
    name: str = "",
) -> Calibration:
    """Return a calibration that says something of how texts are judged now. Raises CalibrationError with one line.

    Args:
        found: the calibration.
        model: version of the model; None: as it was fitted on.
        windows: see ``load``.
        screen: see ``load``.
        name: what the line calls it; empty: by its version.
    """
    called = f"calibration {name or found.version}"
    if model is not None and found.model != model:
        raise CalibrationError(
            f"{called}: fitted on model {found.model}, and the model is {model}; run winnow calibrate again"
        )
    for setting, fitted, now in (("windows", found.windows, windows), ("screen", found.screen, screen)):
        if now is not None and now != fitted:
            raise CalibrationError(
                f"{called}: fitted with bert.{setting} {fitted}, which is {now}; run winnow calibrate again"
            )
    return found
