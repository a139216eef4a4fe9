"""Settings of anomalies: how metrics are scored, and by what budget they alarm."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator


class BudgetSettings(BaseModel):
    """How many anomalies of a host are worth saying, and which."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    per_day: int = Field(default=5, ge=1, le=1_000, description="Anomalies a host in any 24 hours, at most.")
    warm_hours: float = Field(default=24.0, ge=0, le=8_760, description="Hours for which a new host is silent.")
    least: float = Field(default=3.0, ge=0, le=15, description="Decades below which nothing is an anomaly.")
    step: float = Field(default=0.4, ge=0, le=15, description="Decades by which an anomaly raises the threshold.")
    calm_hours: float = Field(
        default=24.0, gt=0, le=8_760, description="Hours in which half of that rise is taken back."
    )
    open_minutes: float = Field(
        default=15.0,
        ge=0,
        le=1_440,
        description="Minutes for which an anomaly stays open: what else passes on its host is added and costs nothing.",
    )
    mute_minutes: float = Field(
        default=60.0, ge=0, le=525_600, description="Minutes for which an alarmed metric stays silent."
    )
    habituation: float = Field(
        default=0.25, ge=0, le=15, description="Decades more that a metric needs for each anomaly it raised of late."
    )


class AnomalySettings(BudgetSettings):
    """How hosts' metrics are scored, and how many anomalies a host and day are said."""

    least: float = Field(default=2.5, ge=0, le=15, description="Decades of rarity below which nothing is an anomaly.")
    scorers: dict[str, str] = Field(
        default_factory=dict,
        description="Scorers of single metrics, by metric; the rest have light. rich, gaussian, deviation, half-spaces "
        "and predictive cost more, and are for a few.",
    )

    @field_validator("scorers")
    @classmethod
    def _known(cls, scorers: dict[str, str]) -> dict[str, str]:
        if scorers:
            # Only now: it brings in NumPy and River.
            from analyzers.anomaly.scorers.registry import scorer_types
        for metric, name in scorers.items():
            if name not in scorer_types():
                raise ValueError(f"{metric}: no scorer {name!r}; known: {', '.join(scorer_types())}")
        return scorers
