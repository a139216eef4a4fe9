"""The text judge as the settings say, for the flow and for ``winnow classify``."""

from __future__ import annotations

from analyzers.bert.encoder import Encoder
from analyzers.bert.judge import Store, TextJudge
from analyzers.bert.manifest import BUILTIN_MODEL, ModelError
from analyzers.bert.settings import BertSettings
from flows.usage import UsageError


def load_judge(settings: BertSettings, store: Store | None = None) -> TextJudge:
    """Return the judge with the model of the settings.

    Raises:
        UsageError: the model cannot be loaded; the message says why.
    """
    folder = settings.model or BUILTIN_MODEL
    try:
        encoder = Encoder.load(folder)
    except ModelError as error:
        raise UsageError(f"model {folder}: {error}") from error
    return TextJudge(encoder, settings.cache_texts, settings.windows, store)
