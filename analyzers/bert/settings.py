"""Settings of the text judge."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from analyzers.bert.excerpt import WINDOWS


class BertSettings(BaseModel):
    """How texts that events carry are judged."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    enabled: bool = Field(default=True, description="Whether the texts that events carry are judged.")
    model: Path | None = Field(default=None, description="Folder of the model; unset: the one that Winnow ships.")
    registry: Path | None = Field(
        default=None,
        description="Folder for the versions of the model that are or were in force, for all workers to read; unset: "
        "textmodels in recovery.folder.",
    )
    thresholds: dict[str, float] = Field(
        default={}, description="Probability from which a label alerts, by label, whatever model and alert_from say."
    )
    alert_from: float = Field(
        default=0.98,
        ge=0,
        le=1,
        description="Probability below which no text alerts; the model may ask more; domain names need .999.",
    )
    windows: int = Field(
        default=WINDOWS,
        ge=1,
        le=1_024,
        description="Windows of a long text that are read: the most suspicious by the model's screen.",
    )
    screen: bool = Field(
        default=False, description="Whether a linear screen spares the encoder texts that are plainly benign."
    )
    cache_texts: int = Field(
        default=50_000, ge=0, le=10_000_000, description="Texts whose verdict a worker remembers; 0: none."
    )
    redis: bool = Field(default=True, description="Whether workers share verdicts through redis.url, if that is set.")
    redis_timeout: float = Field(
        default=0.05, gt=0, le=5, description="Seconds that Redis may take; then it is left alone for a while."
    )
    redis_days: float = Field(default=7.0, gt=0, le=365, description="Days for which Redis keeps a verdict.")

    @field_validator("thresholds")
    @classmethod
    def _shares(cls, thresholds: dict[str, float]) -> dict[str, float]:
        for label, threshold in thresholds.items():
            if not 0 <= threshold <= 1:
                raise ValueError(f"{label}: {threshold} is no probability from 0 to 1")
        return thresholds
