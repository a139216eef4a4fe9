"""Settings of the router: what it asks an LLM about, what it costs, and when cost is shed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from analyzers.criticality import Weight

#: By how much the odds of a text may fall short of those that alert, uncalibrated, and it is not settled yet.
_Odds = Annotated[float, Field(ge=1, le=1e6)]


class RouterSettings(BaseModel):
    """Which judge decides an event."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    calibration: Path | None = Field(
        default=None,
        description="Calibration file of winnow calibrate; unset: the narrow bands below, which promise nothing.",
    )
    registry: Path | None = Field(
        default=None,
        description="Folder for the calibrations that are or were in force, for all workers to read; unset: "
        "calibrations in recovery.folder.",
    )
    max_miss_rate: float = Field(
        default=0.01,
        gt=0,
        lt=1,
        description="Share of malicious texts that may be decided benign, by winnow calibrate.",
    )
    confidence: float = Field(
        default=0.95, gt=0, lt=1, description="How certain winnow calibrate is to be that no larger share is."
    )
    grey_odds: _Odds = Field(
        default=8.0,
        description="Uncalibrated, a text is benign if its odds of being malicious are less than those that alert by "
        "this factor; what lies between is not settled. 1: nothing lies between.",
    )
    grey_odds_by_source: dict[str, _Odds] = Field(
        default={"shell": 1.25, "powershell": 1.25}, description="The same for texts of a source."
    )
    ask_stakes: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Stakes from which an LLM is asked about a rule match of level medium that no text settles.",
    )
    confirm_stakes: float = Field(
        default=0.9, ge=0, le=1, description="Stakes from which an LLM is asked although the text judge is sure."
    )
    noisy: float = Field(
        default=3.0, ge=0, description="Matches of a rule on a host of late from which it is no news there."
    )
    criticality: dict[str, Weight] = Field(default={}, description="Earlier name of assets.criticality, which see.")
    audit_one_in: int = Field(
        default=10_000,
        ge=0,
        le=1_000_000_000,
        description="One in so many decided events also goes to the next judge, to see whether they agree; 0: none.",
    )
    audit_seed: int = Field(default=0, ge=0, lt=2**63, description="Which events these are.")
    rule_microseconds: float = Field(default=10.0, ge=0, description="What an event costs that rules decide, µs.")
    text_microseconds: float = Field(default=500.0, ge=0, description="What a text costs that is judged, µs.")
    call_price: float = Field(
        default=0.002, ge=0, description="What a call of the LLM is expected to cost, in the currency of the budget."
    )
    call_seconds: float = Field(default=3.0, ge=0, description="What a call of the LLM is expected to take, seconds.")
    shed_seconds: float = Field(
        default=60.0,
        gt=0,
        description="Growing lag from which no LLM is asked and only texts of the highest stakes are read.",
    )
    shed_all_seconds: float = Field(default=300.0, gt=0, description="Growing lag from which rules decide everything.")
    return_seconds: float = Field(default=10.0, ge=0, description="Lag up to which the flow counts as keeping up.")
    calm_seconds: float = Field(
        default=30.0, ge=0, description="How long it must keep up before a step of what was shed is taken back."
    )

    @model_validator(mode="after")
    def _ordered(self) -> RouterSettings:
        if not self.return_seconds < self.shed_seconds < self.shed_all_seconds:
            raise ValueError("return_seconds, shed_seconds and shed_all_seconds must rise in this order")
        return self
