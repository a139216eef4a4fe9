"""What an operator's change of rules comes to: an activation on the control topic, or a reason why there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.activation import Watch, activate, begin
from flows.cli import main
from flows.settings import Settings
from flows.usage import UsageError
from operators.control import ControlSource
from state.control import EARLIEST, Activation
from tests.integration.live import settings


class Desk:
    """A folder of rules, the settings that name it, and what the control topic holds."""

    def __init__(self, kafka: str, topic: str, folder: Path) -> None:
        self.rules = folder / "rules"
        self.rules.mkdir()
        self.settings: Settings = settings(kafka, topic)
        self.settings.rules.builtin = False
        self.settings.rules.paths = [self.rules]
        self.settings.rules.registry = folder / "registry"
        self.put("a", "x")

    def put(self, name: str, value: str) -> None:
        rule = {
            "title": name,
            "id": f"{name * 8}-0000-4000-8000-000000000000",
            "logsource": {"product": "windows"},
            "detection": {"sel": {"A": value}, "condition": "sel"},
        }
        (self.rules / f"{name}.yml").write_text(yaml.safe_dump(rule))

    def told(self) -> list[Activation]:
        return [
            each.message
            for each in ControlSource.open(self.settings.kafka).activations
            if isinstance(each.message, Activation)
        ]


@pytest.fixture
def desk(kafka: str, topic_name: str, tmp_path: Path) -> Desk:
    return Desk(kafka, topic_name, tmp_path)


def test_a_start_with_changed_rules_activates_them_and_one_with_the_same_does_not(desk: Desk) -> None:
    first = begin(desk.settings)
    assert first is not None and desk.told() == []
    assert begin(desk.settings) == type(first)(first.version, 0, pytest.approx(first.at, abs=60_000_000))
    desk.put("b", "y")
    second = begin(desk.settings)
    (message,) = desk.told()
    assert second is not None and second.version == message.artifact != first.version
    assert (message.from_time, message.what) == (EARLIEST, "rules")
    begin(desk.settings)
    assert len(desk.told()) == 1


def test_what_was_activated_by_hand_outlives_a_restart(desk: Desk, tmp_path: Path) -> None:
    begin(desk.settings)
    other = tmp_path / "other"
    desk.rules.rename(other)
    desk.rules.mkdir()
    (desk.rules / "a.yml").write_text((other / "a.yml").read_text())
    (other / "a.yml").write_text((other / "a.yml").read_text().replace("x", "z"))
    done = activate(desk.settings, [other], EARLIEST, "ann", "trial")
    assert done.message is not None
    again = begin(desk.settings)
    assert again is not None and again.version == done.message.artifact
    assert len(desk.told()) == 1


def test_a_changed_file_is_seen_and_activated(desk: Desk) -> None:
    begin(desk.settings)
    watch = Watch(desk.settings)
    assert watch.check() is None
    desk.put("a", "another")
    done = watch.check()
    assert done is not None and done.message is not None
    assert [each.artifact for each in desk.told()] == [done.message.artifact]
    assert watch.check() is None


def test_the_command_keeps_what_broke_and_publishes_nothing_if_nothing_compiles(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = desk.settings
    for name, value in {
        "KAFKA__BOOTSTRAP_SERVERS": str(known.kafka.bootstrap_servers),
        "KAFKA__CONTROL": known.kafka.control,
        "RULES__BUILTIN": "false",
        "RULES__PATHS": json.dumps([str(desk.rules)]),
        "RULES__REGISTRY": str(known.rules.registry),
    }.items():
        monkeypatch.setenv(f"WINNOW_{name}", value)

    def command(*more: str) -> tuple[int, dict[str, Any], str]:
        status = main(["rules", "activate", "--author", "ann", *more])
        said = capsys.readouterr()
        return status, json.loads(said.out or "{}"), said.err

    desk.put("b", "y")
    status, line, _ = command("--from", "2030-01-01T00:00:00Z")
    assert (status, line["activated"], line["rules"], line["kept"]) == (0, True, 2, {})
    assert line["from"] == "2030-01-01T00:00:00.000000Z"
    assert command()[1]["activated"], "what is to hold in years can hold from now on"
    status, line, _ = command()
    assert (status, line["activated"]) == (0, False), "the same rules need no second activation"
    (desk.rules / "a.yml").write_text("title: [")
    desk.put("c", "z")
    status, line, said = command()
    assert (status, line["activated"], line["rules"], line["problems"]) == (1, True, 3, 1)
    assert list(line["kept"].values()) == ["a"] and "a.yml:2: not valid YAML" in said
    for name in "abc":
        (desk.rules / f"{name}.yml").write_text("title: [")
    status, line, said = command()
    assert (status, line) == (1, {}) and "nothing is activated" in said
    assert len(desk.told()) == 3
    assert main(["rules", "activate", "--from", "tomorrow"]) == 2
    assert main(["rules", "activate", "nowhere"]) == 2


def test_without_a_folder_for_versions_the_command_says_what_to_set(desk: Desk) -> None:
    desk.settings.rules.registry = None
    assert begin(desk.settings) is None
    with pytest.raises(UsageError, match=r"recovery\.folder or rules\.registry"):
        activate(desk.settings, None, EARLIEST, "ann", "x")
