"""The router as the settings say, with its calibration."""

from __future__ import annotations

import logging

from analyzers.bert.judge import TextJudge
from analyzers.bert.settings import BertSettings
from analyzers.router.calibration import CalibrationError, load
from analyzers.router.router import Router
from analyzers.router.settings import RouterSettings
from flows.usage import UsageError
from operators.models import Models

log = logging.getLogger(__name__)


def load_router(settings: RouterSettings, bert: BertSettings, texts: TextJudge | Models | None, asks: bool) -> Router:
    """Return the router; ``asks`` says whether there is an LLM.

    Raises:
        UsageError: the calibration of the settings cannot be read, or is of another model than the one that stays.
    """
    if settings.calibration is None or texts is None:
        return Router(settings, None, asks)
    try:
        version = texts.base if isinstance(texts, Models) else texts.version
        calibration = load(settings.calibration, version, bert.windows, bert.screen)
    except CalibrationError as error:
        if not isinstance(texts, Models):
            raise UsageError(f"setting router.calibration: {error}") from error
        # The model may have been swapped since; a worker that starts again must not stand still for it.
        log.warning("setting router.calibration: %s; until then texts are routed uncalibrated", error)
        calibration = None
    return Router(settings, calibration, asks)
