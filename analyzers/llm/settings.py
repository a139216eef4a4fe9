"""Settings of the LLM lane."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator


class LlmSettings(BaseModel):
    """Which model is asked about escalated events, and what it may cost."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    base_url: str | None = Field(
        default=None, description="Base URL of an OpenAI-compatible endpoint, without credentials; unset: no LLM lane."
    )
    model: str | None = Field(default=None, description="Name of the model there; unset: no LLM lane.")
    api_key: SecretStr | None = Field(default=None, description="Its API key; better in WINNOW_LLM__API_KEY.")
    input_price: float | None = Field(
        default=None, ge=0, description="Price of a million tokens sent; 0: free. winnow triage does not start without."
    )
    output_price: float | None = Field(
        default=None, ge=0, description="Price of a million tokens received; 0: free. Needed as well."
    )
    money_per_hour: float = Field(
        default=1.0,
        ge=0,
        description="Most that all workers together may spend in an hour, in the currency of the prices.",
    )
    calls_per_hour: int = Field(
        default=300, ge=0, description="Most calls that all workers together may make in an hour."
    )
    give_up_minutes: float = Field(
        default=120.0, gt=0, description="What has waited for so long without an answer is refused, with the reason."
    )
    queue: int = Field(
        default=100_000, ge=1, description="Escalations that wait, at most; of more the lowest stakes are refused."
    )
    concurrency: int = Field(default=4, ge=1, le=256, description="Questions that one process asks at once.")
    lease_seconds: float = Field(
        default=60.0,
        ge=1,
        description="After so long without a sign of life a process's questions are taken by others.",
    )
    timeout_seconds: float = Field(default=60.0, gt=0, le=3600, description="Seconds that one call may take.")
    max_tokens: int = Field(default=1_024, ge=64, le=65_536, description="Tokens that an answer may have.")
    prompt_chars: int = Field(
        default=24_000, ge=2_000, le=400_000, description="Characters of one question, at most; longer fields are cut."
    )
    temperature: float = Field(default=0.0, ge=0, le=2, description="Sampling temperature.")
    prompt: Literal["full", "short"] = Field(
        default="full", description="Instructions of a question: in full, or short, for small models on few cores."
    )
    response_format: Literal["schema", "bounded", "object", "none"] = Field(
        default="schema",
        description="How the endpoint is told to answer in JSON: by json_schema; by one that also bounds lengths and "
        "offers only what can be cited (llama.cpp, vLLM); by json_object; or not at all.",
    )
    retries: int = Field(
        default=3,
        ge=0,
        le=20,
        description="Further attempts at a call that failed by time-out, connection, 408, 409, 429 or 5xx.",
    )
    backoff_seconds: float = Field(
        default=1.0, gt=0, description="Pause before the first further attempt; it doubles with each that follows."
    )
    backoff_max_seconds: float = Field(default=30.0, gt=0, description="Longest pause before a further attempt.")
    breaker_failures: int = Field(
        default=5, ge=1, description="Failed calls in a row after which the endpoint is left alone for a while."
    )
    breaker_seconds: float = Field(default=30.0, gt=0, description="How long it is then left alone.")
    cache_hours: float = Field(default=168.0, ge=0, description="Hours for which an answer is remembered; 0: none is.")
    redis: bool = Field(default=True, description="Whether answers are also kept in redis.url, if that is set.")
    summaries: bool = Field(
        default=True, description="Whether incidents of severity medium and above are summarised, after escalations."
    )
    summary_share: float = Field(
        default=0.5, ge=0, le=1, description="Share of an hour's budget that may be spent before no more is summarised."
    )
    port: int = Field(
        default=9454,
        ge=0,
        le=65535,
        description="Port of winnow triage's metrics and health, on metrics.address; 0: off.",
    )

    @field_validator("base_url")
    @classmethod
    def _plain(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not an http:// or https:// URL")
        if parts.username is not None or parts.password is not None:
            raise ValueError("holds credentials; set api_key")
        return value.rstrip("/")

    @property
    def configured(self) -> bool:
        """Return whether there is a model to ask."""
        return bool(self.base_url and self.model)
