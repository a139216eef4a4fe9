"""An operator's settings: where they come from, which wins, and that a mistake in them is named and no secret shown."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from dashboards.settings import DSN_VARIABLE
from flows.detect import load_metrics
from flows.settings import Settings, SettingsError, load_settings
from flows.usage import UsageError

EXAMPLE = Path(__file__).parents[3] / "deploy" / "winnow.example.toml"
SECRET = "hunter2-and-no-other"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Leave no variable of ours set, and no winnow.toml in the working directory."""
    for name in list(os.environ):
        if name.upper().startswith("WINNOW_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def written(text: str, name: str = "given.toml") -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def refused(path: Path | None = None) -> str:
    """Return the one line with which the settings are refused."""
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    text = str(caught.value)
    assert "\n" not in text
    return text


class TestWhereTheyComeFrom:
    def test_without_file_and_environment_the_defaults_hold(self) -> None:
        settings = load_settings()
        assert settings.kafka.bootstrap_servers is None
        assert settings.kafka.telemetry == ["winnow.telemetry"]
        assert settings.postgres.dsn is None

    def test_winnow_toml_of_the_working_directory_is_read(self) -> None:
        written("[kafka]\ngroup = 'here'", "winnow.toml")
        assert load_settings().kafka.group == "here"

    def test_the_variable_names_the_file_before_the_working_directory_does(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written("[kafka]\ngroup = 'here'", "winnow.toml")
        monkeypatch.setenv("WINNOW_CONFIG", str(written("[kafka]\ngroup = 'named'")))
        assert load_settings().kafka.group == "named"

    def test_the_option_names_the_file_before_the_variable_does(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WINNOW_CONFIG", "nowhere.toml")
        assert load_settings(written("[kafka]\ngroup = 'option'")).kafka.group == "option"

    @pytest.mark.parametrize("section", ["assets", "router"])
    def test_how_much_hosts_matter_is_read_by_either_name_and_one_setting(self, section: str) -> None:
        settings = load_settings(written(f"[{section}.criticality]\n'dc-*' = 5.0\n[router]\nnoisy = 2.0"))
        assert settings.assets.criticality == settings.router.criticality == {"dc-*": 5.0}
        assert settings.router.noisy == 2.0
        assert Settings().assets.criticality == {}

    def test_how_much_hosts_matter_is_not_said_twice(self) -> None:
        both = "[assets.criticality]\n'dc-*' = 5.0\n[router.criticality]\n'dc-*' = 4.0"
        assert "router.criticality: its name is assets.criticality" in refused(written(both))

    def test_the_environment_wins_and_leaves_the_rest_of_its_section(self, monkeypatch: pytest.MonkeyPatch) -> None:
        path = written("[kafka]\ngroup = 'file'\nbatch = 3\n[kafka.options]\n'sasl.username' = 'winnow'")
        monkeypatch.setenv("WINNOW_KAFKA__BATCH", "7")
        monkeypatch.setenv("WINNOW_KAFKA__OPTIONS", f'{{"sasl.password": "{SECRET}"}}')
        kafka = load_settings(path).kafka
        assert (kafka.group, kafka.batch) == ("file", 7)
        assert {name: value.get_secret_value() for name, value in kafka.options.items()} == {
            "sasl.username": "winnow",
            "sasl.password": SECRET,
        }

    def test_the_environment_reaches_lists_and_what_is_nested_deeper(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WINNOW_KAFKA__TELEMETRY", '["zeek", "windows"]')
        monkeypatch.setenv("WINNOW_KAFKA__TOPICS__zeek__FORMAT", "zeek_json")
        monkeypatch.setenv("WINNOW_FORMATS__JSON_MAPPING__TIME", '["when"]')
        settings = load_settings()
        assert settings.kafka.telemetry == ["zeek", "windows"]
        assert settings.kafka.topics["zeek"].format == "zeek_json"
        assert settings.formats.json_mapping.time == ("when",)

    @pytest.mark.parametrize("name", ["WINNOW_DATA", "WINNOW_TEST_KAFKA", DSN_VARIABLE])
    def test_variables_that_are_no_settings_are_let_be(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(name, "something")
        assert load_settings() == Settings()


class TestMistakes:
    @pytest.mark.parametrize(
        ("text", "key"),
        [
            ("[kafka]\nbootstrap_server = 'b:9092'", "unknown setting kafka.bootstrap_server"),
            ("[kafak]\ngroup = 'g'", "unknown setting kafak"),
            ("[kafka.topics.zeek]\nformatt = 'json'", "unknown setting kafka.topics.zeek.formatt"),
            ("[formats.json_mapping]\nwhen = ['ts']", "unknown setting formats.json_mapping.when"),
        ],
    )
    def test_a_misspelt_key_in_the_file_is_named(self, text: str, key: str) -> None:
        assert refused(written(text)) == key

    @pytest.mark.parametrize(
        ("variable", "key"),
        [
            ("WINNOW_KAFKA__BOOTSTRAP_SERVER", "kafka.bootstrap_server"),
            ("WINNOW_KAFAK__GROUP", "kafak"),
            ("WINNOW_FORMATS__JSON_MAPPING__WHEN", "formats.json_mapping.when"),
            ("winnow_kafka__gruop", "kafka.gruop"),
        ],
    )
    def test_a_misspelt_variable_is_named_and_not_passed_over(
        self, variable: str, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, "x")
        assert refused() == f"unknown setting {key} (environment variable {variable})"

    @pytest.mark.parametrize(
        ("text", "key"),
        [
            ("[kafka]\nbatch = 'many'", "kafka.batch"),
            ("[postgres]\npool_size = 0", "postgres.pool_size"),
            ("[kafka]\nstart = 'middle'", "kafka.start"),
            ("[formats]\ntimezone = 'Mars/Olympus'", "formats.timezone"),
            ("kafka = 3", "kafka"),
        ],
    )
    def test_a_value_that_is_none_names_its_key(self, text: str, key: str) -> None:
        assert refused(written(text)).startswith(f"setting {key}: ")

    def test_every_mistake_is_named_at_once(self) -> None:
        said = refused(written("[kafka]\nbatch = 0\ngruop = 'g'\n[time]\nlateness_seconds = -1"))
        assert all(key in said for key in ("kafka.batch", "kafka.gruop", "time.lateness_seconds"))

    @pytest.mark.parametrize(
        ("variable", "value", "key"),
        [
            ("WINNOW_KAFKA__BATCH", "many", "setting kafka.batch: "),
            ("WINNOW_KAFKA__TELEMETRY", "zeek,windows", "setting kafka.telemetry: not JSON"),
            ("WINNOW_FORMATS__HOST_ALIASES", "a=b", "setting formats.host_aliases: not JSON"),
            ("WINNOW_TIME", "soon", "setting time: not JSON"),
        ],
    )
    def test_a_variable_whose_value_is_none_names_its_key(
        self, variable: str, value: str, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, value)
        assert refused().startswith(key)

    def test_a_named_file_that_is_missing_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert refused(Path("gone.toml")) == "gone.toml: No such file or directory"
        monkeypatch.setenv("WINNOW_CONFIG", "gone-too.toml")
        assert refused() == "gone-too.toml: No such file or directory"

    @pytest.mark.parametrize("content", [b"[kafka\n", b"[kafka]\ngroup = '\xff'", b"[a]\n[a]\n"])
    def test_a_file_that_is_no_toml_is_named(self, content: bytes) -> None:
        Path("given.toml").write_bytes(content)
        assert refused(Path("given.toml")).startswith("given.toml: ")


class TestSecrets:
    def test_no_secret_shows_when_settings_are_printed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WINNOW_REDIS__URL", f"redis://:{SECRET}@cache/0")
        settings = load_settings(
            written(
                f"[postgres]\ndsn = 'postgresql://winnow:{SECRET}@db/winnow'\n"
                f"[kafka.options]\n'sasl.password' = '{SECRET}'"
            )
        )
        assert settings.postgres.dsn is not None and SECRET in settings.postgres.dsn.get_secret_value()
        assert settings.redis.url is not None and SECRET in settings.redis.url.get_secret_value()
        assert settings.kafka.options["sasl.password"].get_secret_value() == SECRET
        shown = (repr(settings), str(settings), settings.model_dump_json(), repr(settings.model_dump()))
        assert not any(SECRET in text for text in shown)

    @pytest.mark.parametrize(
        "text",
        [
            f"[postgres]\ndsn = ['{SECRET}']",
            f"postgres = '{SECRET}'",
            f"[redis]\nurl = {{password = '{SECRET}'}}",
            f"[kafka.options]\n'sasl.password' = ['{SECRET}']",
            f"[kafka]\nbatch = 0\n[kafka.options]\n'sasl.password' = '{SECRET}'",
        ],
    )
    def test_no_secret_shows_when_its_place_is_wrong(self, text: str) -> None:
        assert SECRET not in refused(written(text))

    @pytest.mark.parametrize("variable", ["WINNOW_KAFKA__OPTIONS", "WINNOW_POSTGRES", "WINNOW_REDIS"])
    def test_no_secret_shows_when_its_variable_is_no_json(self, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(variable, f'{{"sasl.password": "{SECRET}')
        with pytest.raises(SettingsError) as caught:
            load_settings()
        assert SECRET not in str(caught.value) and caught.value.__suppress_context__


class TestExample:
    def test_it_loads_as_it_is_and_changes_nothing(self) -> None:
        assert load_settings(EXAMPLE) == Settings()

    def test_with_every_line_in_force_it_names_every_setting_with_its_default(self) -> None:
        values = tomllib.loads(uncommented(EXAMPLE.read_text()))
        load_settings(written(uncommented(EXAMPLE.read_text())))
        defaults = Settings().model_dump(mode="json")
        named = dict(leaves(Settings, values))
        assert sorted(named) == sorted(key for key, _ in leaves(Settings, defaults))
        for key, default in leaves(Settings, defaults):
            if default is not None and default != {}:
                assert named[key] == default, key


#: A line of the example that is in force once its mark is gone: a table, a key, and what continues a list.
SETTING = re.compile(r'# (\[.+\]|("[^"]+"|[a-z_]+) = .+|    ".+",|\])')


def uncommented(text: str) -> str:
    return "\n".join(line[2:] if SETTING.fullmatch(line) else line for line in text.splitlines())


def leaves(model: type[BaseModel], values: dict[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting that ``values`` hold a value of, by its dotted name."""
    for name, field in model.model_fields.items():
        if name not in values:
            continue
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, values[name], f"{place}{name}.")
        else:
            yield f"{place}{name}", values[name]


class TestAnomaly:
    def test_the_section_that_was_before_is_named_with_what_replaced_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "winnow.toml"
        file.write_text("[host]\ndeviations = 6\n")
        with pytest.raises(SettingsError, match=r"unknown setting host: .*anomaly\.least"):
            load_settings(file)
        monkeypatch.setenv("WINNOW_HOST__MUTE_WINDOWS", "3")
        with pytest.raises(SettingsError, match=r"unknown setting host: .*\(environment variable WINNOW_HOST__MUTE"):
            load_settings()

    def test_a_misspelt_scorer_or_metric_is_named_with_those_there_are(self) -> None:
        with pytest.raises(ValidationError, match=r"events: no scorer 'rihc'; known: .*rich"):
            Settings.model_validate({"anomaly": {"scorers": {"events": "rihc"}}})
        chosen = Settings.model_validate({"anomaly": {"scorers": {"evnets": "rich"}}})
        with pytest.raises(UsageError, match=r"anomaly\.scorers: no metric 'evnets'; known: events"):
            load_metrics(chosen)
