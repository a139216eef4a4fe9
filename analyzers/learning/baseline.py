"""What the encoder must beat: TF-IDF of character n-grams with logistic regression, on the same texts changed alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.linear_model import SGDClassifier

from analyzers.bert.canonical import SOURCES
from analyzers.learning.texts import LABELS, UNSAID, Prepared

#: Characters of a text that are learned from, and that are judged: a longer one is cut.
LEARNED: Final = 600
JUDGED: Final = 4_000
#: How much source and features weigh beside n-grams, whose vectors are of length 1.
WEIGHT: Final = 0.3


class Baseline:
    """Fit on prepared texts, then give probabilities [N, labels]."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._hashed = HashingVectorizer(
            analyzer="char", ngram_range=(2, 4), n_features=2**19, alternate_sign=False, norm=None, dtype=np.float32
        )
        self._weighted = TfidfTransformer(sublinear_tf=True)
        self._models: list[Any] = []

    def fit(self, texts: Sequence[Prepared]) -> Baseline:
        """Learn from the texts."""
        counts = self._hashed.transform([text.text[:LEARNED] for text in texts])
        seen = self._with_features(self._weighted.fit_transform(counts), texts)
        targets = np.array([text.targets for text in texts])
        for place in range(len(LABELS)):
            model = SGDClassifier(loss="log_loss", alpha=1e-6, max_iter=6, tol=None, random_state=self._seed)
            said = targets[:, place] != UNSAID
            self._models.append(model.fit(seen[said], targets[said, place]))
        return self

    def probabilities(self, texts: Sequence[Prepared]) -> NDArray[np.float64]:
        """Return the probability of each label."""
        seen = self._weighted.transform(self._hashed.transform([text.text[:JUDGED] for text in texts]))
        seen = self._with_features(seen, texts)
        margins = np.stack([model.decision_function(seen) for model in self._models], axis=1)
        out: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-np.clip(margins, -60, 60)))
        return out

    @staticmethod
    def _with_features(seen: Any, texts: Sequence[Prepared]) -> Any:
        sources = np.zeros((len(texts), len(SOURCES)), np.float32)
        sources[np.arange(len(texts)), [text.source for text in texts]] = WEIGHT
        features = np.array([text.features for text in texts], np.float32) * WEIGHT
        return scipy.sparse.hstack([seen, sources, features]).tocsr()
