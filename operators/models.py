"""The versions of the text model that a worker holds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import ClassVar

from analyzers.bert.judge import TextJudge
from operators import metrics
from operators.held import Held, What
from operators.liveness import liveness

#: Batches of texts on which a new version is tried.
RECENT = 8


class Models(Held[TextJudge]):
    """Holds text judges by version, see ``Held``.

    Args:
        load: returns the judge of a version; raises OSError or ValueError if there is none, or it is refused.
        base: version that a partition begins with, of which nothing is known yet.
        past: ids of the activations that the base comes of, or overtook.

    Raises:
        OSError, ValueError: the base version cannot be loaded.
    """

    what: ClassVar[What] = "model"

    def __init__(self, load: Callable[[str], TextJudge], base: str, past: Sequence[str] = ()) -> None:
        self._load = load
        #: Texts that were judged last: a new version is tried on them first, so that it runs, and remembers them.
        self.recent: deque[Sequence[tuple[str, str]]] = deque(maxlen=RECENT)
        super().__init__(base, past)

    def swapped(self, seconds: float) -> None:
        """Count that a partition took another version into force."""
        metrics.MODEL_SWAPS.inc()

    def lost(self) -> None:
        """Count that a version is gone that judged before."""
        metrics.MODELS_FAILED.inc()

    def _read(self, version: str, aside: bool = False) -> TextJudge:
        judge = self._load(version)
        if aside:
            for texts in tuple(self.recent):
                judge.judge(texts)
        return judge

    def _tell(self, versions: set[str]) -> None:
        liveness.models = sorted(versions)

    def _failed(self, version: str, why: str | None) -> bool:
        if why is None:
            liveness.models_failed.pop(version, None)
            return False
        new = version not in liveness.models_failed
        liveness.models_failed[version] = why
        metrics.MODELS_FAILED.inc()
        return new
