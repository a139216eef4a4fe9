"""Settings of incidents."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from state.alerts import Level


class IncidentSettings(BaseModel):
    """When signals are one incident, and how severe it is."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    least: float = Field(
        default=3.5,
        ge=0,
        le=15,
        description="Decades of rarity that another system's alert must exceed to weigh anything; rules that are less "
        "rare weigh less than their level.",
    )
    medium: float = Field(
        default=5.0,
        gt=0,
        description="Risk from which an incident is of severity medium; of a sixth it is low and one at all, of the "
        "double high, of four times critical.",
    )
    half_life_hours: float = Field(default=1.0, gt=0, le=168, description="Hours in which risk falls by half.")
    idle_hours: float = Field(
        default=6.0, gt=0, le=168, description="Hours without anything unusual after which an incident is closed."
    )
    tactic_hours: float = Field(
        default=24.0, gt=0, le=720, description="Hours without a new tactic after which an incident takes in no more."
    )
    file_hosts: int = Field(
        default=5,
        ge=1,
        le=1_000,
        description="Hosts up to which a file that signals name links their incidents, by its hash, and an address of "
        "ours that they speak to links them to what it did itself; one that more name is common, and links nothing.",
    )
    max_open: int = Field(
        default=10_000, ge=10, le=100_000, description="Incidents held open; beyond, those of least risk are closed."
    )

    def severity(self, score: float) -> Level:
        """Return the severity of a score.

        >>> IncidentSettings().severity(0.5).name, IncidentSettings().severity(5.0).name
        ('informational', 'medium')
        """
        for level, share in ((Level.critical, 4.0), (Level.high, 2.0), (Level.medium, 1.0), (Level.low, 1 / 6)):
            if score >= self.medium * share - 1e-9:
                return level
        return Level.informational
