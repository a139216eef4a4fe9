"""Fit the encoder: seed-fixed, resumable after each epoch, on the processor or a GPU if there is one."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from analyzers.bert.canonical import FEATURES, SOURCES
from analyzers.learning.encoder import Encoder, Shape
from analyzers.learning.texts import LABELS, Text, epoch
from analyzers.learning.tokens import Batch, Encoded, encode, judging_batches, training_batches

BATCH: Final = 96
RATE: Final = 1.5e-3
#: Of all texts, while the rate rises.
WARM: Final = 0.06

#: How likely a token is replaced by another one.
NOISE: Final = 0.03
#: Of the running mean of the weights, a step.
KEEP: Final = 0.998

Progress = Callable[[str], None]
#: Returns the texts of an epoch.
Draw = Callable[[int], list[Text]]


class Fit(msgspec.Struct, frozen=True):
    """How to fit."""

    seed: int = 0
    epochs: int = 4
    threads: int = 1


def device() -> torch.device:
    """Return the GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def tensors(part: Batch, place: torch.device) -> tuple[torch.Tensor, ...]:
    """Return the inputs of the encoder."""
    arrays = (part.input_ids, part.attention_mask, part.token_type_ids, part.features)
    return tuple(torch.from_numpy(array).to(place) for array in arrays)


def fit(draw: Draw, tokenizer: Tokenizer, how: Fit, checkpoint: Path | None, say: Progress) -> Encoder:
    """Return the encoder fitted to texts that are drawn and changed anew for each epoch.

    What is returned is the running mean of the weights. With ``checkpoint`` the state after each epoch is kept there,
    and a run of the same settings goes on from it.
    """
    torch.set_num_threads(how.threads)
    torch.manual_seed(how.seed)
    place = device()
    shape = Shape(tokenizer.get_vocab_size(), len(LABELS), len(SOURCES), len(FEATURES))
    encoder: Encoder = Encoder(shape).to(place)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=RATE, weight_decay=0.02)
    size = len(draw(0))
    averaged = torch.optim.swa_utils.get_ema_multi_avg_fn(KEEP)  # type: ignore[no-untyped-call]
    mean = torch.optim.swa_utils.AveragedModel(encoder, multi_avg_fn=averaged)
    same = msgspec.json.encode((how, shape, size)).decode()
    begun = _resume(checkpoint, same, encoder, mean, optimizer)
    for turn in range(begun, how.epochs):
        torch.manual_seed(how.seed * 1000 + turn)
        began, total, done = time.monotonic(), 0.0, 0
        rng = random.Random(how.seed * 1000 + turn)
        encoded = encode(tokenizer, epoch(draw(turn), how.seed * 1000 + turn), rng)
        targets = torch.tensor([text.targets for text in encoded], dtype=torch.float32, device=place)
        encoder.train()
        for parts in training_batches(encoded, BATCH, rng):
            for group in optimizer.param_groups:
                group["lr"] = RATE * _rate((turn + done / len(encoded)) / how.epochs)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(place.type, dtype=torch.bfloat16):
                seen = torch.cat([encoder(*_noisy(tensors(part, place), shape)).float() for part in parts])
            rows, owners = np.unique(np.concatenate([part.rows for part in parts]), return_inverse=True)
            loss = _loss(_greatest(seen, torch.from_numpy(owners).to(place), len(rows)), targets[rows])
            # Of long texts a batch has fewer: each text counts the same.
            loss = loss * (len(rows) / BATCH)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
            optimizer.step()
            mean.update_parameters(encoder)
            total += loss.item() * BATCH
            done += len(rows)
            if done // 2000 != (done - len(rows)) // 2000:
                rate, share = done / (time.monotonic() - began), done / len(encoded)
                say(f"epoch {turn + 1}/{how.epochs} {share:4.0%} loss {total / done:.4f} {rate:.0f} texts/s")
        if checkpoint is not None:
            kept: dict[str, Any] = {"encoder": encoder, "mean": mean, "optimizer": optimizer}
            states = {name: one.state_dict() for name, one in kept.items()}
            _write(checkpoint, {"same": same, "epochs": turn + 1, **states})
    return cast(Encoder, mean.module).eval()


def _rate(done: float) -> float:
    """Return the share of ``RATE`` that is learned with where that share of the texts is done: up, then down."""
    return min(done / WARM + 0.01, max(0.02, 1 - done))


def _greatest(seen: torch.Tensor, owners: torch.Tensor, count: int) -> torch.Tensor:
    """Return the greatest logit of each label over a text's windows [texts, labels]."""
    if count == len(seen):
        return seen[torch.argsort(owners)]
    least = torch.full((count, seen.shape[1]), -torch.inf, device=seen.device)
    return least.scatter_reduce(0, owners[:, None].expand_as(seen), seen, "amax")


def _loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean cross entropy over the labels that are said."""
    said = targets >= 0
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets.clamp(min=0), reduction="none")
    return (each * said).sum() / said.sum()


def _noisy(inputs: tuple[torch.Tensor, ...], shape: Shape) -> tuple[torch.Tensor, ...]:
    """Return inputs of which some tokens are other ones, drawn at random; never the first."""
    ids, mask, types, features = inputs
    chosen = (torch.rand(ids.shape, device=ids.device) < NOISE) & (mask == 1)
    chosen[:, 0] = False
    return torch.where(chosen, torch.randint_like(ids, 3, shape.vocabulary), ids), mask, types, features


def logits(encoder: Encoder, texts: Sequence[Encoded]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return, a text, the greatest logit of each label over its windows [N, labels], and how many windows it has."""
    place = device()
    found = np.full((len(texts), len(LABELS)), -np.inf, np.float32)
    count = np.zeros(len(texts), np.int64)
    encoder.eval()
    with torch.inference_mode():
        for part in judging_batches(texts):
            seen = encoder(*tensors(part, place)).float().cpu().numpy()
            np.maximum.at(found, part.rows, seen)
            np.add.at(count, part.rows, 1)
    return found, count


def _resume(checkpoint: Path | None, same: str, *parts: Any) -> int:
    """Load the state kept by a run of the same settings; return how many epochs it had done."""
    if checkpoint is None or not checkpoint.exists():
        return 0
    # weights_only: a checkpoint is data, never code.
    kept = torch.load(checkpoint, weights_only=True, map_location=device())
    if kept.get("same") != same:
        return 0
    for part, name in zip(parts, ("encoder", "mean", "optimizer"), strict=True):
        part.load_state_dict(kept[name])
    return int(kept["epochs"])


def _write(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that an interrupted write leaves the former one."""
    fresh = path.with_suffix(".new")
    torch.save(state, fresh)
    fresh.replace(path)
