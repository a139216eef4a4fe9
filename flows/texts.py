"""The text judge as the settings say, for the flow and for ``winnow classify``."""

from __future__ import annotations

from analyzers.bert.encoder import Encoder
from analyzers.bert.judge import Store, TextJudge
from analyzers.bert.manifest import BUILTIN_MODEL, ModelError, read_folder
from analyzers.bert.settings import BertSettings
from flows.settings import Settings
from flows.usage import UsageError
from state.verdicts import VerdictStore


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
    return make_judge(settings, encoder, store)


def version_of(settings: BertSettings) -> str:
    """Return the version of the model of the settings, which is checked and not loaded. Raises UsageError."""
    folder = settings.model or BUILTIN_MODEL
    try:
        return read_folder(folder)[0].version
    except (ModelError, OSError) as error:
        raise UsageError(f"model {folder}: {error}") from error


def make_judge(settings: BertSettings, encoder: Encoder, store: Store | None) -> TextJudge:
    """Return the judge of a model."""
    return TextJudge(encoder, settings.cache_texts, settings.windows, store, settings.screen)


def load_texts(settings: Settings) -> TextJudge | None:
    """Return the judge for the flow, None if the settings want none.

    Raises:
        UsageError: the model cannot be loaded, a threshold is of no label, or the URL of Redis is none.
    """
    if not settings.bert.enabled:
        return None
    judge = load_judge(settings.bert, shared_verdicts(settings))
    check_labels(settings.bert, judge)
    return judge


def check_labels(settings: BertSettings, judge: TextJudge) -> None:
    """Raise UsageError if a threshold is of a label that the model does not have."""
    if wrong := sorted(settings.thresholds.keys() - set(judge.labels)):
        raise UsageError(f"setting bert.thresholds: no label {wrong[0]!r}; known: {', '.join(judge.labels)}")


def shared_verdicts(settings: Settings) -> VerdictStore | None:
    """Return where workers share verdicts, None if they do not. Raises UsageError."""
    bert = settings.bert
    if not bert.redis or settings.redis.url is None:
        return None
    try:
        return VerdictStore(settings.redis.url.get_secret_value(), bert.redis_timeout, bert.redis_days * 86_400)
    except ValueError:
        # What it says may repeat the URL, and a password in it.
        raise UsageError("setting redis.url: no redis:// or unix:// URL") from None
