"""Settings of the traffic generator."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Planned(BaseModel):
    """One attack that happens at a set time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scenario: str = Field(description="Name of the scenario, such as brute_force.")
    offset: float = Field(ge=0, description="Seconds of event time after the start of the traffic.")


class TrafficSettings(BaseModel):
    """How much traffic, of whom, and which attacks are mixed in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hosts: int = Field(
        default=12, ge=4, le=50_000, description="Hosts of the imagined company; with 12 or more every role occurs."
    )
    rate: float = Field(
        default=24.0,
        gt=0,
        le=1_000_000,
        description="Benign messages a second of event time, all hosts together, on average over a week. Rare habits "
        "(failed logons, backups, administration) keep their own rate, so that quiet hosts stay quiet at any rate.",
    )
    utc_offset_hours: float = Field(
        default=0.0, ge=-14, le=14, description="Local time of the company: its office hours and its local time stamps."
    )
    domain: str = Field(
        default="corp.example", pattern=r"^[a-z0-9.-]{1,100}$", description="DNS domain of the company's Windows hosts."
    )
    attacks_per_hour: float = Field(
        default=6.0,
        ge=0,
        le=10_000,
        description="Attacks an hour of event time on average, at random times; 0 for none.",
    )
    scenarios: tuple[str, ...] = Field(
        default=(), description="Names of the scenarios that random attacks are chosen from; empty for all."
    )
    attacks: Annotated[
        tuple[Planned, ...],
        Field(description="Attacks at set times, besides the random ones: pairs of scenario and offset in seconds."),
    ] = ()

    @field_validator("attacks", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        """Accept ``[("port_scan", 30)]`` for ``[{"scenario": "port_scan", "offset": 30}]``."""
        if isinstance(value, (list, tuple)):
            return tuple(
                {"scenario": item[0], "offset": item[1]} if isinstance(item, (list, tuple)) and len(item) == 2 else item
                for item in value
            )
        return value
