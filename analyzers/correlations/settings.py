"""How much correlations may remember."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class CorrelationSettings(BaseModel):
    """Memory of correlation rules."""

    model_config = ConfigDict(extra="forbid")

    memory_mb: int = Field(
        default=64,
        ge=1,
        le=4_096,
        description="Memory for the groups that correlations count, MB; beyond, the groups silent for longest are "
        "forgotten, and what is said then says that it is not exact.",
    )
    entities: int = Field(
        default=100_000,
        ge=100,
        le=10_000_000,
        description="Entities (hosts, users, addresses …) whose correlation alerts are remembered.",
    )
