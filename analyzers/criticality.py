"""How much hosts matter, by patterns of their names: one setting for the router and for incidents."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

#: Hosts whose weight is remembered.
_MEMORY = 100_000
Weight = Annotated[float, Field(gt=0, le=100)]


class AssetSettings(BaseModel):
    """What is known of the hosts."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    criticality: dict[str, Weight] = Field(
        default={},
        description="How much hosts matter, by pattern of their name; of several that match the longest. 1: as any "
        "other, 5: a domain controller. What is signalled there weighs so many times as much in incidents, and decides "
        "what an LLM is asked about.",
    )


class Criticality:
    """The weight of each host.

    >>> known = Criticality({"dc-*": 5.0, "dc-test": 0.5})
    >>> known.of("dc-1"), known.of("dc-test"), known.of("ws-1")
    (5.0, 0.5, None)
    """

    def __init__(self, patterns: Mapping[str, float]) -> None:
        self._globs = sorted(patterns.items(), key=lambda item: (-len(item[0]), item[0]))
        self._weights: dict[str, float | None] = {}

    def of(self, host: str) -> float | None:
        """Return how much a host matters; None if no pattern says anything of it."""
        if not self._globs:
            return None
        if host not in self._weights:
            if len(self._weights) >= _MEMORY:
                self._weights.clear()
            self._weights[host] = next((weight for glob, weight in self._globs if fnmatchcase(host, glob)), None)
        return self._weights[host]
