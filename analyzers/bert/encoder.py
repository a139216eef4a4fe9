"""The encoder itself: token windows in, one logit a label out. onnxruntime and tokenizers, one thread, no network."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from analyzers.bert.canonical import part
from analyzers.bert.commands import commands
from analyzers.bert.excerpt import spread
from analyzers.bert.manifest import SCREEN, Manifest, ModelError, read_folder
from analyzers.bert.screen import LOUDEST, Screen

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

#: Tokens of a batch, padding included. More cost as much each, and fewer more.
BATCH_TOKENS = 512
#: Raised when other parts of a text are read than before, so that verdicts of then are not taken for those of now.
READING = 2
#: Commands of a text that are judged by themselves, those that the screen finds most suspicious.
ALONE = 3


class Window(msgspec.Struct, frozen=True, gc=False):
    """A stretch of a text's tokens, without special ones, and what goes with the text."""

    tokens: Sequence[int]
    #: Index of the source in the model's token types.
    source: int
    features: tuple[float, ...]
    #: Which of the text's tokens it begins with; 0 for a command.
    start: int = 0


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What is read of a text."""

    #: Those over the whole, then one of each command that is judged by itself.
    windows: list[Window]
    #: Whether those over the whole are all that there are.
    whole: bool
    #: How many windows and commands there are, read or not.
    among: int
    #: The whole text in canonical form, then those commands.
    parts: tuple[str, ...]
    source: int

    @property
    def over_whole(self) -> int:
        """Return how many windows are over the whole."""
        return len(self.windows) - len(self.parts) + 1


def scores(screen: Screen, readings: Sequence[Reading]) -> list[Floats]:
    """Return the screen's score of what each window is of, ``LOUDEST`` either way at most."""
    parts = [(part, reading.source) for reading in readings for part in reading.parts]
    if not parts:
        return []
    every = screen.scores([part for part, _ in parts], [source for _, source in parts]).clip(-LOUDEST, LOUDEST)
    found, start = [], 0
    for reading in readings:
        own = every[start : start + len(reading.parts)].astype(np.float64)
        found.append(np.concatenate((np.repeat(own[:1], reading.over_whole), own[1:])))
        start += len(own)
    return found


class Encoder:
    """A model that was loaded and has proved that it runs.

    Args:
        manifest: what the model says of itself.
        files: its files by name.

    Raises:
        ModelError: the files are no model, or not of the agreed form.
    """

    def __init__(self, manifest: Manifest, files: dict[str, bytes]) -> None:
        # A worker is one process on one core; the tokenizer would else start a pool of threads.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        # Only here: without a text judge nobody should pay for them.
        import onnxruntime
        from tokenizers import Tokenizer

        self.manifest = manifest
        self._room = manifest.max_tokens - 2
        self._scale = np.array(manifest.temperatures, dtype=np.float64)
        count = len(manifest.labels)
        self._bias = np.array(manifest.biases or [0.0] * count, dtype=np.float64)
        self._longer = np.array(manifest.length_calibration or [0.0] * count, dtype=np.float64)
        options = onnxruntime.SessionOptions()
        # Workers are processes; a pool of threads in each would only take the cores from one another.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # Weights are turned into floating point once, at loading; else activations are made int8 at each of them, which
        # moves probabilities and takes half as long again at this size.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        try:
            self._tokenizer = Tokenizer.from_str(files["tokenizer.json"].decode())
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()
            self._session = onnxruntime.InferenceSession(
                files["model.onnx"], options, providers=["CPUExecutionProvider"]
            )
            largest = self._tokenizer.get_vocab_size()
            # Of byte-level tokens each character stands for a byte.
            self._sizes = np.array([len(self._tokenizer.id_to_token(number) or "") for number in range(largest)])
            if max(manifest.cls, manifest.sep, manifest.pad) >= largest:
                raise ModelError(f"a special token is beyond the {largest:,} of the tokenizer")
            #: The model's linear screen; None: it has none.
            self.screen = Screen.load(files[SCREEN]) if SCREEN in files else None
            self._together = True
            self._together = self._steady()
        except ModelError:
            raise
        except Exception as error:  # the libraries raise what they like at hostile files
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelError(f"the model does not run: {said[:200]}") from error

    @classmethod
    def load(cls, folder: Path) -> Encoder:
        """Load the model in a folder. Raises ModelError, one line that says why not."""
        return cls(*read_folder(folder))

    @property
    def together(self) -> bool:
        """Return whether windows are judged together: their logits do not depend on what else is in the batch."""
        return self._together

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of texts in canonical form, without special ones."""
        return [found.ids for found in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def pieces(self, text: str) -> list[tuple[int, tuple[int, int]]]:
        """Return the tokens of a text with where each begins and ends in it."""
        found = self._tokenizer.encode(text, add_special_tokens=False)
        return list(zip(found.ids, found.offsets, strict=True))

    def read(self, forms: Sequence[tuple[str, int, tuple[float, ...]]], most: int) -> list[Reading]:
        """Return what is read of each text (canonical form, source, features).

        These are overlapping windows over the whole, ``most`` of them, and of the commands of a line that has several
        ``ALONE``. Of more the most suspicious by the screen are read; of a model that has none half from the head, a
        quarter from the tail and the rest from between. A command longer than a window fills those over the whole.
        """
        tokens = self.tokens([text for text, _, _ in forms])
        starts = [
            range(0, max(len(ids) - self._room, 0) + self.manifest.stride, self.manifest.stride) for ids in tokens
        ]
        sources = [source for _, source, _ in forms]
        stretches = [
            self._stretches(text, ids, some) if len(some) > most else [""] * len(some)
            for (text, _, _), ids, some in zip(forms, tokens, starts, strict=True)
        ]
        lines = [commands(text, source) if self.manifest.commands else [] for text, source, _ in forms]
        kept = self._suspicious(stretches, sources, most)
        counts = [len(some) for some in lines]
        lines = [
            [some[place] for place in places]
            for some, places in zip(lines, self._suspicious(lines, sources, ALONE), strict=True)
        ]
        alone = iter(self.tokens([one for some in lines for one in some]))
        found = []
        rows = zip(forms, tokens, starts, kept, lines, counts, strict=True)
        for (text, source, features), ids, at, places, some, count in rows:
            windows = [Window(ids[at[n] : at[n] + self._room], source, features, at[n]) for n in places]
            own = [(one, read) for one in some if len(read := next(alone)) <= self._room]
            windows += [Window(read, source, part(features, one)) for one, read in own]
            # What is read is the most suspicious of all, so chance had as many tries.
            among = max(len(at) + count, len(windows))
            found.append(Reading(windows, len(places) == len(at), among, (text, *(one for one, _ in own)), source))
        return found

    def _stretches(self, text: str, ids: Sequence[int], starts: Sequence[int]) -> list[str]:
        """Return what a text's windows from those tokens on are of."""
        raw, ends = text.encode(), np.append(0, np.cumsum(self._sizes[ids]))
        last = len(ids)
        return [raw[ends[at] : ends[min(at + self._room, last)]].decode(errors="replace") for at in starts]

    def _suspicious(self, groups: Sequence[Sequence[str]], sources: Sequence[int], most: int) -> list[list[int]]:
        """Return the places of ``most`` texts of each group, in their order."""
        kept = [spread(len(group), most) for group in groups]
        large = [index for index, group in enumerate(groups) if len(group) > most]
        if self.screen is None or not large:
            return kept
        each = [(text, sources[index]) for index in large for text in groups[index]]
        found = self.screen.scores([text for text, _ in each], [source for _, source in each])
        begin = 0
        for index in large:
            end = begin + len(groups[index])
            # The first ones of those alike.
            kept[index] = sorted(np.argsort(-found[begin:end], kind="stable")[:most].tolist())
            begin = end
        return kept

    def logits(self, windows: Sequence[Window]) -> Array:
        """Return the logits, windows x labels, each independent of the other windows."""
        out = np.empty((len(windows), len(self.manifest.labels)), dtype=np.float32)
        # Neighbours in length need the least padding.
        order = sorted(range(len(windows)), key=lambda index: len(windows[index].tokens))
        start = 0
        while start < len(order):
            end = start + 1
            while self._together and end < len(order):
                length = len(windows[order[end]].tokens) + 2
                if length * (end + 1 - start) > BATCH_TOKENS:
                    break
                end += 1
            batch = order[start:end]
            out[batch] = self._run([windows[index] for index in batch])
            start = end
        return out

    def screened(self, readings: Sequence[Reading]) -> list[Floats]:
        """Return what the linear screen adds to the logits of each window [windows]; 0 where it has no say."""
        weights = self.manifest.screen_weights
        if self.screen is None or not weights:
            return [np.zeros(len(reading.windows)) for reading in readings]
        found = scores(self.screen, readings)
        return [weights[reading.source] * some for reading, some in zip(readings, found, strict=True)]

    def probabilities(self, logits: Array, screened: Floats | None = None, among: int = 1) -> list[float]:
        """Return the probability of each label for one text, from the logits of its windows (windows x labels).

        The greatest of n windows is greater by chance alone: what training found of that, by ln n, is taken off; n is
        how many they are ``among``.
        ``screened`` is what the screen adds to each. It reads letters where the encoder reads words: what either misses
        the other often finds.
        """
        margins = logits.astype(np.float64) / self._scale
        if screened is not None:
            margins += screened[:, None]
        best = margins.max(axis=0) + self._bias - self._longer * math.log(among)
        # Six decimals: what remains of rounding inside the libraries is far below.
        return [round(float(p), 6) for p in 1.0 / (1.0 + np.exp(-np.clip(best, -60.0, 60.0)))]

    def _run(self, windows: Sequence[Window]) -> Array:
        manifest, count = self.manifest, len(windows)
        if count == 1 and self._together:
            # One row is multiplied by another kernel than several, which rounds otherwise.
            windows = [windows[0], windows[0]]
        length = max(len(window.tokens) for window in windows) + 2
        ids = np.full((len(windows), length), manifest.pad, dtype=np.int64)
        mask = np.zeros((len(windows), length), dtype=np.int64)
        for row, window in enumerate(windows):
            size = len(window.tokens)
            ids[row, 0] = manifest.cls
            ids[row, 1 : size + 1] = window.tokens
            ids[row, size + 1] = manifest.sep
            mask[row, : size + 2] = 1
        sources = np.array([[window.source] for window in windows], dtype=np.int64)
        types = np.broadcast_to(sources, ids.shape)
        features = np.array([window.features for window in windows], dtype=np.float32)
        fed = {
            "input_ids": ids,
            "attention_mask": mask,
            "token_type_ids": np.ascontiguousarray(types),
            "features": features,
        }
        (logits,) = self._session.run(["logits"], fed)
        if logits.shape != (len(windows), len(manifest.labels)) or not np.isfinite(logits).all():
            raise ModelError(f"the model gives logits of shape {logits.shape}, or some that are no number")
        found: Array = logits[:count]
        return found

    def _steady(self) -> bool:
        """Run windows alone and together; return whether their logits are the same to the last bit."""
        texts = ("ls -la /tmp", "id=1' or '1'='1", "a", "x" * 300)
        features = (0.0,) * len(self.manifest.features)
        probes = [
            Window(tokens[: self._room], index % len(self.manifest.sources), features)
            for index, tokens in enumerate(self.tokens(texts))
        ]
        together = self._run(probes)
        alone = np.concatenate([self._run([probe]) for probe in probes])
        return np.array_equal(together, alone)
