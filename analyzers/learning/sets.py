"""What a training is, and the texts that it learns from, is calibrated on and is tried with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from analyzers.bert.canonical import canonical
from analyzers.learning.texts import Text, generated, parameters
from analyzers.learning.trials import read_training

#: Texts of each part of the evaluation, against those of training.
VALID, TEST = 0.25, 0.15
#: Real texts of a family that an epoch has, if so many repeats make as many.
OFTEN, REPEATS = 500, 8
#: Of the texts with a verdict the newest one in so many are held back, to try the model with; fewer than ``SOME``
#: benign or malicious ones tell nothing.
HELD, SOME = 5, 10


class Settings(msgspec.Struct, frozen=True):
    """What is trained and on what."""

    out: Path
    http_params: tuple[Path, ...] = ()
    texts: tuple[Path, ...] = ()
    #: Texts with analysts' verdicts, the oldest first.
    verdicts: tuple[Path, ...] = ()
    tests: tuple[Path, ...] = ()
    test_source: str = "shell"
    scale: float = 0.5
    epochs: int = 4
    seed: int = 0
    seeds: int = 1
    threads: int = 1
    leave_out: bool = False


class Sets:
    """The texts of a training."""

    def __init__(self, settings: Settings) -> None:
        self._scale = settings.scale
        paths = settings.http_params
        self.parameters = {
            part: [text for path in paths for text in parameters(path, part)] for part in ("train", "valid", "test")
        }
        self._more = [text for path in settings.texts for text in read_training(path)]
        older, newer = by_time([text for path in settings.verdicts for text in read_training(path)])
        self._verdicts = [
            msgspec.structs.replace(t, family=f"verdicts/{t.labels[0] if t.labels else ''}") for t in older
        ]
        #: The newest texts with a verdict, that nothing is learned from.
        self.newest = newer

    def train(self, turn: int, seed: int, scale: float = 1.0, without: Sequence[str] = ()) -> list[Text]:
        """Return the texts of an epoch."""
        written = generated("train", self._scale * scale, f"{seed}-{turn}", without)
        return written + often(self.parameters["train"]) + often(self._verdicts) + self._more

    def valid(self, seed: int, without: Sequence[str] = ()) -> list[Text]:
        """Return the texts of validation."""
        return generated("valid", self._scale * VALID, seed, without) + self.parameters["valid"]

    def test(self, seed: int) -> list[Text]:
        """Return the written texts of the test; the real ones are ``parameters["test"]``."""
        return generated("test", self._scale * TEST, seed)

    def told(self) -> dict[str, int]:
        """Return where the texts come from, with how many an epoch has."""
        payloads, verdicts = len(often(self.parameters["train"])), len(often(self._verdicts))
        found = {"written from our grammars": len(self.train(0, 0)) - payloads - verdicts - len(self._more)}
        if payloads:
            found["HttpParamsDataset (Morzeux, MIT), training part, rare kinds repeated"] = payloads
        if verdicts:
            found["texts with analysts' verdicts, rare kinds repeated"] = verdicts
        if self._more:
            found["sets named by --texts"] = len(self._more)
        return found


def often(texts: Sequence[Text]) -> list[Text]:
    """Return real texts, those of rare families as often as makes ``OFTEN``, ``REPEATS`` times at most.

    Each is changed anew wherever it stands.
    """
    sizes = Counter(text.family for text in texts)
    return [text for text in texts for _ in range(min(max(OFTEN // sizes[text.family], 1), REPEATS))]


def by_time(texts: Sequence[Text]) -> tuple[list[Text], list[Text]]:
    """Return the older texts, which are learned from, and the newest fifth, which the model is tried with.

    What is written as an older one is (canonical form, digits ignored) is none of the newest. All are learned from if
    the newest would hold less than ``SOME`` benign or malicious ones.
    """
    place = len(texts) - len(texts) // HELD
    older, newer = list(texts[:place]), texts[place:]
    known = {_shape(text) for text in older}
    held = [text for text in newer if _shape(text) not in known]
    malicious = sum(bool(text.labels) for text in held)
    return (older, held) if min(malicious, len(held) - malicious) >= SOME else (list(texts), [])


def _shape(text: Text) -> tuple[str, str]:
    return text.source, "".join("0" if c.isdigit() else c for c in canonical(text.text, text.source).text)
