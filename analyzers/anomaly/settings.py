"""Settings of anomalies: how metrics are scored, and by what budget they alarm."""

from __future__ import annotations

import msgspec
from msgspec import structs
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


class ShiftSettings(BaseModel):
    """When anomalies of many hosts are one of the fleet."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    hosts: int = Field(default=3, ge=2, le=1_000, description="Hosts that it takes at least.")
    share: float = Field(default=0.25, gt=0, le=1, description="Share of all hosts that it takes at least.")
    span_minutes: float = Field(default=10.0, gt=0, le=1_440, description="Minutes within which they must be unusual.")
    least: float = Field(default=3.0, ge=0, le=15, description="Decades from which a host counts as unusual.")
    hold_minutes: float = Field(
        default=60.0, ge=0, le=10_080, description="Minutes without a further host after which the shift is over."
    )


class AnomalySettings(BudgetSettings):
    """How hosts' metrics are scored, and how many anomalies a host and day are said."""

    least: float = Field(default=4.0, ge=0, le=15, description="Decades of rarity below which nothing is an anomaly.")
    promote: int = Field(
        default=0,
        ge=0,
        le=16,
        description="Metrics of a host, at most, that have a rich scorer beside their own, having been telling.",
    )
    shift: ShiftSettings = Field(
        default_factory=ShiftSettings,
        description="When what is unusual on many hosts at once is one signal of the fleet.",
    )
    scorers: dict[str, str] = Field(
        default_factory=dict,
        description="Scorers of single metrics, by metric; the rest have windows. rich, light, gaussian, deviation, "
        "half-spaces and predictive cost more, and are for a few.",
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


class Tuning(msgspec.Struct, frozen=True):
    """Settings of anomalies that were changed while the flow runs; ``None``: as configured."""

    per_day: int | None = None
    least: float | None = None
    mute_minutes: float | None = None

    def of(self, settings: BudgetSettings) -> BudgetSettings:
        """Return the settings with these changes."""
        changed = {name: value for name, value in structs.asdict(self).items() if value is not None}
        return settings.model_copy(update=changed) if changed else settings
