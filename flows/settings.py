"""All settings in one place: a TOML file, then the environment. Each section lives beside what uses it."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from analyzers.alerts import AlertSettings
from analyzers.anomaly.settings import AnomalySettings
from analyzers.bert.settings import BertSettings
from analyzers.correlations.settings import CorrelationSettings
from analyzers.criticality import AssetSettings
from analyzers.incidents.notices import NotifySettings
from analyzers.incidents.settings import IncidentSettings
from analyzers.llm.settings import LlmSettings
from analyzers.router.settings import RouterSettings
from dashboards.settings import DSN_VARIABLE
from operators.clock import TimeSettings
from operators.formats.settings import FormatSettings
from operators.kafka import KafkaSettings
from operators.roster import LimitSettings
from state.postgres import PostgresSettings

PREFIX = "WINNOW_"
#: Names with our prefix that are no settings: where the settings are, what the console is told, and what tests read.
OTHERS = {"WINNOW_CONFIG", DSN_VARIABLE, "WINNOW_DATA", "WINNOW_TEST_KAFKA"}
#: Sections that are no more, and what is to be done.
REPLACED = {"host": "anomalies are set in section anomaly (host.deviations: anomaly.least; mute_windows: mute_minutes)"}


class SettingsError(Exception):
    """The settings cannot be used; the message is one line that names the key."""


class RedisSettings(BaseModel):
    """Where the cache is. Detection never needs it."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    url: SecretStr | None = Field(default=None, description="redis:// or unix:// URL; unset: no cache.")


class RuleSettings(BaseModel):
    """Which Sigma rules are in force."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    builtin: bool = Field(default=True, description="Whether the rules that Winnow ships are in force.")
    paths: list[Path] = Field(default=[], description="Further files or folders of Sigma rules.")
    placeholders: dict[str, list[str]] = Field(
        default={}, description="Values of the placeholders that rules name (%admins%), by name."
    )
    cache: str | None = Field(
        default=None,
        description="Folder in which compiled rules are kept; unset: winnow/rules in $XDG_CACHE_HOME or ~/.cache; "
        "empty: none.",
    )

    registry: Path | None = Field(
        default=None,
        description="Folder for the versions of the rules that are or were in force, for all workers to read; unset: "
        "rulesets in recovery.folder.",
    )
    watch_seconds: float = Field(
        default=0.0,
        ge=0,
        description="How often winnow run looks whether rule files changed, and activates them; 0: never.",
    )

    @property
    def cache_folder(self) -> Path | None:
        """Return the folder in which compiled rules are kept; None: they are compiled each time."""
        if self.cache is not None:
            return Path(self.cache) if self.cache else None
        home = os.environ.get("XDG_CACHE_HOME", "")
        # What is not absolute is to be ignored, says the XDG Base Directory Specification.
        if Path(home).is_absolute():
            return Path(home) / "winnow" / "rules"
        try:
            return Path.home() / ".cache" / "winnow" / "rules"
        except RuntimeError:
            return None


class MetricSettings(BaseModel):
    """Which host metrics are kept, and where Prometheus finds the flow's own."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    definitions: Path | None = Field(
        default=None, description="YAML file of host metrics instead of those that Winnow ships."
    )
    address: str = Field(default="127.0.0.1", description="Address that the Prometheus endpoint listens on.")
    port: int = Field(
        default=9464, ge=0, le=65535, description="Port of the first worker's endpoint; the next ones follow. 0: off."
    )


class RecoverySettings(BaseModel):
    """Where the flow's state is kept over restarts."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    folder: Path | None = Field(
        default=None, description="Folder of the recovery store; unset: state is lost at a stop."
    )
    interval_seconds: float = Field(default=5.0, gt=0, description="How often a snapshot is taken.")
    keep_seconds: float = Field(default=60.0, ge=0, description="How long an older snapshot is kept.")


class SupervisorSettings(BaseModel):
    """When the workers of ``winnow run`` are ended and started again."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    stall_seconds: float = Field(
        default=60.0, gt=0, description="A worker that stands still for so long ends the cluster, which starts again."
    )
    start_seconds: float = Field(
        default=180.0, gt=0, description="How long a cluster may take until all partitions are being read."
    )
    backoff_seconds: float = Field(
        default=1.0, gt=0, description="Pause before the first restart; it doubles with each that follows."
    )
    backoff_max_seconds: float = Field(default=60.0, gt=0, description="Longest pause before a restart.")
    healthy_seconds: float = Field(
        default=60.0, gt=0, description="A cluster that ran for so long starts the pauses from the first again."
    )
    max_failures: int = Field(
        default=10, ge=1, description="Failures in a row without progress after which winnow run gives up."
    )
    drain_seconds: float = Field(
        default=30.0,
        gt=0,
        description="How long the workers may take to drain when told to end, before they are killed.",
    )
    look_seconds: float = Field(
        default=60.0, gt=0, description="How often is looked for partitions that were added to the topics."
    )
    port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="Port of the supervisor's own metrics and health; 0: off; unset: one below metrics.port.",
    )


class Settings(BaseSettings):
    """Everything an operator can set."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", hide_input_in_errors=True
    )

    kafka: KafkaSettings = KafkaSettings()
    postgres: PostgresSettings = PostgresSettings()
    redis: RedisSettings = RedisSettings()
    formats: FormatSettings = FormatSettings()
    time: TimeSettings = TimeSettings()
    rules: RuleSettings = RuleSettings()
    metrics: MetricSettings = MetricSettings()
    anomaly: AnomalySettings = AnomalySettings()
    bert: BertSettings = BertSettings()
    assets: AssetSettings = AssetSettings()
    router: RouterSettings = RouterSettings()
    llm: LlmSettings = LlmSettings()
    correlations: CorrelationSettings = CorrelationSettings()
    alerts: AlertSettings = AlertSettings()
    incidents: IncidentSettings = IncidentSettings()
    notify: NotifySettings = NotifySettings()
    limits: LimitSettings = LimitSettings()
    recovery: RecoverySettings = RecoverySettings()
    supervisor: SupervisorSettings = SupervisorSettings()

    @model_validator(mode="after")
    def _criticality_of_assets(self) -> Settings:
        # It was the router's alone, who still finds it there.
        old, new = self.router.criticality, self.assets.criticality
        if old and new and old != new:
            raise SettingsError("setting router.criticality: its name is assets.criticality now; set that one only")
        self.assets = self.assets.model_copy(update={"criticality": new or old})
        self.router = self.router.model_copy(update={"criticality": new or old})
        return self

    @property
    def registry(self) -> Path | None:
        """Return the folder of rule versions; None: rules are read at start and stay what they are."""
        folder = self.recovery.folder
        if self.rules.registry is not None or folder is None:
            return self.rules.registry
        return folder / "rulesets"

    @property
    def model_registry(self) -> Path | None:
        """Return the folder of model versions; None: the model is read at start and stays what it is."""
        folder = self.recovery.folder
        if self.bert.registry is not None or folder is None:
            return self.bert.registry
        return folder / "textmodels"

    @property
    def calibration_registry(self) -> Path | None:
        """Return the folder of calibrations by version; None: there is that of the settings, for good."""
        folder = self.recovery.folder
        if self.router.registry is not None or folder is None:
            return self.router.registry
        return folder / "calibrations"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, which comes as init values."""
        return env_settings, init_settings


def load_settings(path: Path | None = None) -> Settings:
    """Load the settings: ``path``, else ``$WINNOW_CONFIG``, else ``winnow.toml`` if there is one; then the environment.

    Raises:
        SettingsError: a file that cannot be read, an unknown key, a value that is none; the message names the key.
    """
    given = path or (Path(os.environ["WINNOW_CONFIG"]) if os.environ.get("WINNOW_CONFIG") else None)
    file = given or Path("winnow.toml")
    values: dict[str, Any] = {}
    if given is not None or file.exists():
        try:
            values = tomllib.loads(file.read_text())
        except OSError as error:
            raise SettingsError(f"{file}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{file}: {error}") from error
    _refuse_wrong_variables()
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError("; ".join(_said(e["loc"], e["type"], e["msg"]) for e in error.errors())) from None
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _said(place: tuple[int | str, ...], kind: str, message: str) -> str:
    name = ".".join(map(str, place))
    return _unknown(name) if kind == "extra_forbidden" else f"setting {name}: {message}"


def _unknown(name: str) -> str:
    section = name.partition(".")[0]
    return f"unknown setting {name}" + (f": {REPLACED[section]}" if section in REPLACED else "")


def _refuse_wrong_variables() -> None:
    # pydantic-settings passes over a variable that matches no field; a misspelt one must not be passed over. And of a
    # list or mapping that is no JSON it names the section only.
    for variable in sorted(os.environ):
        if not variable.upper().startswith(PREFIX) or variable in OTHERS:
            continue
        model: type[BaseModel] = Settings
        parts = variable[len(PREFIX) :].lower().split("__")
        for depth, part in enumerate(parts):
            name = ".".join(parts[: depth + 1])
            field = model.model_fields.get(part)
            if field is None:
                raise SettingsError(f"{_unknown(name)} (environment variable {variable})")
            section = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
            if depth == len(parts) - 1 and (section or get_origin(field.annotation) in (list, tuple, dict)):
                try:
                    json.loads(os.environ[variable])
                except ValueError:
                    raise SettingsError(f"setting {name}: not JSON (environment variable {variable})") from None
            if not section:
                break  # a plain value, or a mapping whose keys are the operator's
            model = field.annotation  # type: ignore[assignment]
