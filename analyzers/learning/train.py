"""Train, ship, try and report: what ``winnow train`` runs. Each seed's work is kept, so that a run can go on."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from analyzers.bert.canonical import CANONICAL_VERSION, FEATURES, SOURCES, canonical
from analyzers.bert.encoder import Encoder as Served
from analyzers.bert.judge import Refused, TextJudge
from analyzers.bert.manifest import SCREEN
from analyzers.learning import card, evaluate, report, screen, shipping
from analyzers.learning.baseline import Baseline
from analyzers.learning.encoder import Encoder, Shape
from analyzers.learning.export import quantise, softened, to_onnx
from analyzers.learning.fitting import Fit, Progress, fit, logits
from analyzers.learning.grammar import templates
from analyzers.learning.measures import Array
from analyzers.learning.sets import Sets, Settings
from analyzers.learning.texts import LABELS, Prepared, Text, epoch, generated, prepare
from analyzers.learning.tokens import STRIDE, WINDOW, encode, train_tokenizer
from analyzers.learning.trials import read_labelled

#: Folds into which families are dealt to be left out, and how much less is trained for each.
FOLDS: Final = 4
FOLD_EPOCHS, FOLD_SCALE = 2, 0.5
#: Families that are left out in turn.
LEFT_OUT: Final = ("reverse-", "sqli-")


def train(settings: Settings, say: Progress) -> dict[str, Any]:
    """Train a model for each seed and try it; write model, report and plots; return the report.

    In ``settings.out``: ``model`` (of the first seed), ``report.json``, ``REPORT.md``, plots, and ``work``, from which
    a run goes on.
    """
    others = {path.name: read_labelled(path, settings.test_source) for path in settings.tests}
    sets = Sets(settings)
    if sets.newest:
        others["newest texts with analysts' verdicts"] = sets.newest
    results = []
    for seed in range(settings.seed, settings.seed + settings.seeds):
        results.append(_seed(settings, sets, seed, others, say))
    told: dict[str, Any] = {
        "texts": len(sets.train(0, settings.seed)),
        "data": sets.told(),
        "epochs": settings.epochs,
        "seeds": results,
        "parity": results[0]["parity"],
    }
    if settings.leave_out:
        told["families"] = _families(settings, sets, say)
    return _write(settings, sets, told)


def _seed(settings: Settings, sets: Sets, seed: int, others: dict[str, list[Text]], say: Progress) -> dict[str, Any]:
    """Train, ship and try with one seed; what an earlier run of the same settings found is taken as it is."""
    work = settings.out / "work" / f"seed-{seed}"
    work.mkdir(parents=True, exist_ok=True)
    same = _same(settings)
    kept = work / "result.json"
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text())
        if found.get("same") == same:
            return found
    _forget(work, same)
    tokenizer, encoder = _fitted(settings, sets, seed, work, say)
    say(f"seed {seed}: calibrating")
    first = sets.train(0, seed)
    valid = sets.valid(seed)
    learned = epoch(first, 9_000 + seed) + epoch(first, 9_500 + seed)
    screened = screen.fit(learned, epoch(valid, 8_000 + seed), seed + 1)
    folder = work / "model"
    shipping.ship(encoder, tokenizer, valid, folder, seed, {SCREEN: screened.pack()})
    say(f"seed {seed}: fitting the baseline")
    baseline = Baseline(seed).fit(learned)
    say(f"seed {seed}: trying both")
    test = sets.test(seed)
    http = sets.parameters["test"]
    result = {
        "same": same,
        "seed": seed,
        "encoder": evaluate.everything(served(folder), test, http, others),
        "baseline": evaluate.everything(_baseline(baseline), test, http, others),
        "parity": parity(encoder, tokenizer, [*test, *http, *(t for texts in others.values() for t in texts)], work),
    }
    kept.write_text(json.dumps(result))
    return result


def _same(settings: Settings) -> str:
    """Return a hash of everything that a result depends on, but for the seed and the code."""
    plain = msgspec.structs.replace(
        settings, out=Path(), http_params=(), texts=(), verdicts=(), tests=(), seeds=1, seed=0, leave_out=False
    )
    told = hashlib.sha256(repr(plain).encode())
    for template in templates():
        told.update(repr(template).encode())
    for path in (*settings.http_params, *settings.texts, *settings.verdicts, *settings.tests):
        told.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return told.hexdigest()


def _forget(work: Path, same: str) -> None:
    """Remove what an interrupted run has learned from other texts, or with other settings."""
    mark = work / "same"
    if not mark.exists() or mark.read_text() != same:
        for name in ("tokenizer.json", "checkpoint.pt"):
            (work / name).unlink(missing_ok=True)
        mark.write_text(same)


def _fitted(
    settings: Settings,
    sets: Sets,
    seed: int,
    work: Path,
    say: Progress,
    without: Sequence[str] = (),
    scale: float = 1.0,
) -> tuple[Tokenizer, Encoder]:
    """Return tokenizer and encoder of a seed."""
    path = work / "tokenizer.json"
    if path.exists():
        tokenizer = Tokenizer.from_file(str(path))
    else:
        say(f"seed {seed}: learning the tokenizer")
        first = sets.train(0, seed, scale, without)
        tokenizer = train_tokenizer([text.text for text in epoch(first, 6_000 + seed)])
        tokenizer.save(str(path))
    how = Fit(seed, settings.epochs if not without else FOLD_EPOCHS, settings.threads)
    encoder = fit(
        lambda turn: sets.train(turn, seed, scale, without),
        tokenizer,
        how,
        work / "checkpoint.pt",
        lambda said: say(f"seed {seed}: {said}"),
    )
    return tokenizer, encoder


def served(folder: Path) -> evaluate.Judge:
    """Return the judge that serves a model folder, without its memory; its screen clears nothing."""
    judge = TextJudge(Served.load(folder), size=1)

    def judged(texts: Sequence[tuple[str, str]]) -> Array:
        found: list[tuple[float, ...]] = []
        for begin in range(0, len(texts), 512):
            for verdict in judge.judge(texts[begin : begin + 512]):
                found.append((0.0,) * len(LABELS) if isinstance(verdict, Refused) else verdict.scores)
        return np.array(found)

    return judged


def _baseline(baseline: Baseline) -> evaluate.Judge:
    def judged(texts: Sequence[tuple[str, str]]) -> Array:
        return baseline.probabilities([_prepared(text, source) for text, source in texts])

    return judged


def _prepared(text: str, source: str) -> Prepared:
    seen = canonical(text, source)
    return Prepared(seen.text, SOURCES.index(source if source in SOURCES else "unknown"), seen.features, ())


def parity(encoder: Encoder, tokenizer: Tokenizer, texts: Sequence[Text], work: Path) -> dict[str, float]:
    """Return how far torch, ONNX in full precision and int8 are apart, over all windows of the texts.

    ``onnx`` and ``int8``: greatest difference of a probability from torch's; ``int8_999``: the difference that 99.9 %
    of the texts keep; ``agree``: share of the texts whose labels are the same in all three.
    """
    encoded = encode(tokenizer, [prepare(msgspec.structs.replace(text, labels=())) for text in texts])
    full, small = work / "full.onnx", work / "int8.onnx"
    to_onnx(encoder, full)
    quantise(full, small)
    ours = softened(logits(encoder, encoded)[0])
    theirs = [softened(_run(path, encoded)) for path in (full, small)]
    full.unlink()
    small.unlink()
    moved = [np.abs(ours - other).max(axis=1) for other in theirs]
    same = np.all([((ours >= 0.5) == (other >= 0.5)).all(axis=1) for other in theirs], axis=0)
    return {
        "texts": len(texts),
        "onnx": float(moved[0].max()),
        "int8": float(moved[1].max()),
        "int8_999": float(np.quantile(moved[1], 0.999)),
        "agree": float(same.mean()),
    }


def _run(path: Path, texts: Sequence[Any]) -> NDArray[np.float32]:
    """Return the greatest logit of each label over the windows of each text, by onnxruntime."""
    import onnxruntime

    from analyzers.learning.export import INPUTS
    from analyzers.learning.tokens import judging_batches

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # As in serving.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    found = np.full((len(texts), len(LABELS)), -np.inf, np.float32)
    for part in judging_batches(texts):
        (seen,) = session.run(["logits"], {name: getattr(part, name) for name in INPUTS})
        np.maximum.at(found, part.rows, seen)
    return found


def _families(settings: Settings, sets: Sets, say: Progress) -> dict[str, Any]:
    """Leave families of attacks out of training, a few at once, and say how many of their texts are found."""
    names = sorted({t.family for t in templates() if t.family.startswith(LEFT_OUT)})
    random.Random(settings.seed).shuffle(names)
    found: dict[str, dict[str, float]] = {"encoder": {}, "baseline": {}}
    for fold in range(FOLDS):
        for name, recalls in _fold(settings, fold, tuple(names[fold::FOLDS]), say).items():
            found[name].update(recalls)
    note = (
        f"{len(names)} families in {FOLDS} folds; the families of a fold are left out together, with "
        f"{FOLD_EPOCHS} epochs of {FOLD_SCALE:.0%} of the texts and without HttpParamsDataset. False positives are "
        "counted on benign texts of templates that training never saw, source told."
    )
    return {**found, "note": note}


def _fold(settings: Settings, fold: int, without: tuple[str, ...], say: Progress) -> dict[str, dict[str, float]]:
    """Return how many texts of each family are found that a training leaves out; taken as it is if it was done."""
    work = settings.out / "work" / f"fold-{fold}"
    work.mkdir(parents=True, exist_ok=True)
    same, kept = _same(settings), work / "result.json"
    if kept.exists():
        done: dict[str, Any] = json.loads(kept.read_text())
        if (done["same"], done["seed"]) == (same, settings.seed):
            return dict(done["found"])
    _forget(work, same)
    # HttpParamsDataset is full of SQL injection of every kind, so a fold does without it.
    alone = Sets(msgspec.structs.replace(settings, http_params=(), texts=(), verdicts=()))
    say(f"fold {fold + 1}/{FOLDS}: without {', '.join(without)}")
    tokenizer, encoder = _fitted(settings, alone, settings.seed, work, say, without, FOLD_SCALE)
    first = alone.train(0, settings.seed, FOLD_SCALE, without)
    learned, valid = epoch(first, 9_000) + epoch(first, 9_500), alone.valid(settings.seed, without)
    screened = {SCREEN: screen.fit(learned, epoch(valid, 8_000), 1).pack()}
    shipping.ship(encoder, tokenizer, valid, work / "model", settings.seed, screened)
    baseline = Baseline(settings.seed).fit(learned)
    unseen = [
        text
        for part in ("train", "test")
        for text in generated(part, settings.scale * FOLD_SCALE, f"fold-{part}")
        if text.family in without
    ]
    benign = [text for text in generated("test", settings.scale, "fold") if not text.labels]
    judges = {"encoder": served(work / "model"), "baseline": _baseline(baseline)}
    found = {name: evaluate.families(judge, unseen, benign) for name, judge in judges.items()}
    kept.write_text(json.dumps({"same": same, "seed": settings.seed, "found": found}))
    return found


def _write(settings: Settings, sets: Sets, told: dict[str, Any]) -> dict[str, Any]:
    """Write card and report into the model folder and beside it; return the report with the model's version."""
    work = settings.out / "work" / f"seed-{settings.seed}"
    folder = settings.out / "model"
    shape = Shape(
        Tokenizer.from_file(str(work / "tokenizer.json")).get_vocab_size(), len(LABELS), len(SOURCES), len(FEATURES)
    )
    sizes = sum(parameter.numel() for parameter in Encoder(shape).parameters())
    words = {
        **msgspec.structs.asdict(shape),
        "parameters": sizes,
        "window": WINDOW,
        "stride": STRIDE,
        "labels": ", ".join(LABELS),
        "sources": ", ".join(SOURCES),
        "canonical": CANONICAL_VERSION,
    }
    short = {
        "encoder": _short(told["seeds"][0]["encoder"]),
        "baseline": _short(told["seeds"][0]["baseline"]),
        "parity": told["parity"],
    }
    others = {
        "CARD.md": card.card(told, words).encode(),
        "report.json": json.dumps(short, indent=1).encode() + b"\n",
        SCREEN: (work / "model" / SCREEN).read_bytes(),
    }
    version = shipping.relabel(work / "model", folder, others)
    full = {"model": version, "torch": torch.__version__, **told}
    (settings.out / "report.json").write_text(json.dumps(full, indent=1) + "\n")
    (settings.out / "REPORT.md").write_text(report.markdown(full))
    report.plots(full, settings.out)
    return full


def _short(figures: Any) -> Any:
    """Return figures without curves, three decimals."""
    if isinstance(figures, dict):
        return {key: _short(value) for key, value in figures.items() if key not in ("reliability", "confusion")}
    return round(figures, 3) if isinstance(figures, float) else figures
