"""From a fitted encoder to a model folder: export, calibrate on what serving computes, write."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from tokenizers import Tokenizer

from analyzers.bert.canonical import SOURCES
from analyzers.bert.encoder import Encoder as Served
from analyzers.bert.encoder import scores
from analyzers.bert.excerpt import WINDOWS
from analyzers.bert.manifest import read_folder
from analyzers.learning import calibrate
from analyzers.learning.augment import JOINERS, wrap
from analyzers.learning.encoder import Encoder
from analyzers.learning.export import Calibration, quantise, to_onnx, write_folder
from analyzers.learning.texts import Prepared, Text, benign_pool, epoch, prepare

#: Characters of such a text, most of them near the least.
SHORTEST: Final = 700
LONGEST: Final = 12_000
#: Long benign texts that the correction for length is taken from, and short ones beside them.
LONG: Final = 1_500


def judged(served: Served, texts: list[Prepared]) -> calibrate.Rows:
    """Return what serving computes of the windows of texts, before it is calibrated."""
    readings = served.read([(text.text, text.source, text.features) for text in texts], WINDOWS)
    counts = [len(reading.windows) for reading in readings]
    logits = served.logits([window for reading in readings for window in reading.windows]).astype(np.float64)
    screened = [np.zeros(count) for count in counts] if served.screen is None else scores(served.screen, readings)
    among, sources = [reading.among for reading in readings], [text.source for text in texts]
    return calibrate.Rows(logits, np.concatenate(screened), np.array(counts), np.array(among), np.array(sources))


def long_benign(texts: list[Text], count: int, seed: int) -> list[Prepared]:
    """Return benign texts, half of them alone, half of several joined to many windows, up to ``LONGEST`` characters."""
    rng = random.Random(f"long-{seed}")
    pool = {source: some for source, some in benign_pool(texts).items() if source in ("shell", "powershell", "http")}
    found = []
    for place in range(2 * count):
        source = rng.choice(sorted(pool))
        text = rng.choice(pool[source])
        size = SHORTEST * (LONGEST / SHORTEST) ** rng.random()
        while place % 2 and len(text) < size:
            text = wrap(text, rng, pool[source], JOINERS[source], (2, 2))
        found.append(prepare(Text(text, source, (), "long"), rng.choice((source, SOURCES[-1]))))
    return found


def ship(
    encoder: Encoder, tokenizer: Tokenizer, valid: list[Text], folder: Path, seed: int, others: dict[str, bytes]
) -> str:
    """Write the model folder; return the model's version.

    Args:
        encoder: what was fitted.
        tokenizer: its tokenizer.
        valid: validation texts; the calibration is taken from them.
        folder: where to; made, files in it are replaced.
        seed: of the changes to the validation texts.
        others: further files of the folder, as the card.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    full = folder / "full.onnx"
    to_onnx(encoder, full)
    quantise(full, folder / "model.onnx")
    full.unlink()
    write_folder(folder, tokenizer, Calibration(), others)
    served = Served.load(folder)
    # Half as they are and half changed, in the shares that training saw.
    seen = epoch(valid, 7_000 + seed)
    rows = judged(served, seen)
    targets = np.array([text.targets for text in seen])
    long = judged(served, long_benign(valid, min(LONG, len(valid)), seed))
    found = calibrate.calibrated(rows, targets, long)
    benign = ~(targets == 1).any(axis=1)
    probable = np.concatenate((calibrate.probabilities(found, rows)[benign], calibrate.probabilities(found, long)))
    return write_folder(folder, tokenizer, msgspec.structs.replace(found, alert=calibrate.alerting(probable)), others)


def relabel(source: Path, target: Path, others: dict[str, bytes]) -> str:
    """Copy a model folder with further files in it; return the version of the copy."""
    manifest, files = read_folder(source)
    target.mkdir(parents=True, exist_ok=True)
    for old in target.iterdir():
        old.unlink()
    (target / "model.onnx").write_bytes(files["model.onnx"])
    tokenizer = Tokenizer.from_str(files["tokenizer.json"].decode())
    calibration = Calibration(
        manifest.temperatures,
        manifest.biases,
        manifest.length_calibration,
        manifest.thresholds,
        manifest.alert,
        manifest.screen_weights,
    )
    return write_folder(target, tokenizer, calibration, others)
