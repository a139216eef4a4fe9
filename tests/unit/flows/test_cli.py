"""The command line: help at once; exit status 2 and one clear line for a mistake, never a traceback."""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import flows.commands
from flows.cli import main

ROOT = Path(__file__).parents[3]
COMMANDS = sorted(module.name for module in pkgutil.iter_modules(flows.commands.__path__))
#: A port on loopback that nothing listens on.
NOWHERE = "127.0.0.1:1"
#: Packages that take seconds to import, or that only a running flow or console needs.
HEAVY = ("river", "scipy", "streamlit", "pandas", "torch", "transformers", "onnxruntime", "dspy", "litellm")

RULE = """
title: Reconnaissance by whoami
id: 7d0a2a4b-1111-4222-8333-944444444444
logsource: {product: windows, category: process_creation}
detection:
    selection: {CommandLine|contains: whoami}
    condition: selection
level: medium
"""
BROKEN_RULE = "title: No condition\nlogsource: {product: windows}\ndetection: {selection: {A: 1}}\n"
EVENT = {
    "@timestamp": "2024-01-08T08:00:00.000Z",
    "Hostname": "WS-1.corp.example",
    "Channel": "Microsoft-Windows-Sysmon/Operational",
    "EventID": 1,
    "EventReceivedTime": "2024-01-08 08:00:01",
    "CommandLine": "cmd /c whoami /all",
}


class Done(NamedTuple):
    """What a shell learns of a command."""

    returncode: int
    stdout: str
    stderr: str


class Winnow:
    """Run commands in a folder of their own, without any setting of the machine's."""

    def __init__(self, capture: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch, folder: Path) -> None:
        self._capture, self._patch, self.folder = capture, patch, folder
        for name in list(os.environ):
            if name.upper().startswith("WINNOW_"):
                patch.delenv(name)
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.chdir(folder)

    def __call__(self, *words: str, **environment: str) -> Done:
        """Run a command in this process: an exception that would be a traceback fails the test."""
        self._capture.readouterr()
        with self._patch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            try:
                status = main(words)
            except SystemExit as error:
                status = int(error.code or 0)
        return Done(status, *self._capture.readouterr())

    def shell(self, *argv: str) -> Done:
        """Run a program in a process of its own."""
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def winnow(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Winnow:
    return Winnow(capfd, monkeypatch, tmp_path)


def refusal(done: Done) -> str:
    """Return the one line on stderr of a command that refused what it was asked."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("winnow"), done.stderr
    assert done.stdout == ""
    return lines[0]


#: Runs a command in its process and then says on stderr which heavy packages it imported.
PROBE = f"""
import sys
from flows.cli import main
try:
    status = main(sys.argv[1:])
except SystemExit as error:
    status = error.code or 0
print(*(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)
sys.exit(status)
"""


class TestHelp:
    @pytest.mark.parametrize("words", [(), *((name,) for name in COMMANDS)], ids=lambda words: "-".join(words) or "all")
    def test_help_is_shown_and_brings_in_nothing_heavy(self, words: tuple[str, ...], winnow: Winnow) -> None:
        done = winnow.shell(sys.executable, "-c", PROBE, *words, "--help")
        assert done.returncode == 0, done.stderr
        assert done.stderr.split() == []
        assert done.stdout.startswith("usage: winnow")

    @pytest.mark.parametrize(
        "words",
        [("alerts", "tail")]
        + [("rules", action) for action in ("check", "match", "explain", "backtest", "sync", "coverage")]
        + [("settings", action) for action in ("get", "set", "history")],
        ids="-".join,
    )
    def test_help_of_an_action_is_shown(self, words: tuple[str, ...], winnow: Winnow) -> None:
        done = winnow(*words, "--help")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"usage: winnow {' '.join(words)}")

    def test_the_list_names_every_command_with_what_it_does(self, winnow: Winnow) -> None:
        shown = winnow("--help").stdout
        assert all(any(line.split()[:1] == [name] for line in shown.splitlines()) for name in COMMANDS)
        assert {"alerts", "check", "demo", "migrate", "prune", "replay", "rules", "run", "traffic"} <= set(COMMANDS)


class TestBadUsage:
    @pytest.mark.parametrize(
        "words", [(), ("nonsense",), ("rules",), ("alerts", "nonsense"), ("replay",), ("traffic",)], ids="-".join
    )
    def test_a_command_that_there_is_not_is_refused_in_one_line(self, words: tuple[str, ...], winnow: Winnow) -> None:
        done = winnow(*words)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith("winnow") and line.endswith("--help)")

    def test_replay_names_the_file_that_is_missing(self, winnow: Winnow) -> None:
        assert refusal(winnow("replay", "gone.json", "--out", "out")) == "winnow: gone.json: no such file"
        assert not (winnow.folder / "out").exists()

    def test_replay_names_the_rules_the_format_and_the_number_that_are_none(self, winnow: Winnow) -> None:
        (winnow.folder / "a.json").write_text(json.dumps(EVENT))
        base = ("replay", "a.json", "--out", "out")
        assert "gone: no such file or folder" in refusal(winnow(*base, "--rules", "gone"))
        assert "no such format: xml; known: auto, " in refusal(winnow(*base, "--format", "xml"))
        assert "--workers" in refusal(winnow(*base, "--workers", "0"))

    def test_rules_match_names_the_file_and_the_rules_that_are_missing(self, winnow: Winnow) -> None:
        (winnow.folder / "a.json").write_text(json.dumps(EVENT))
        assert "gone.json" in refusal(winnow("rules", "match", "--rules", ".", "gone.json"))
        assert "gone" in refusal(winnow("rules", "match", "--rules", "gone", "a.json"))

    def test_rules_check_names_the_folder_that_is_missing_or_empty(self, winnow: Winnow) -> None:
        assert "gone" in refusal(winnow("rules", "check", "gone"))
        assert "no rule found" in refusal(winnow("rules", "check", "."))

    @pytest.mark.parametrize("words", [("run",), ("alerts", "tail"), ("settings", "get")], ids="-".join)
    def test_without_kafka_the_setting_to_set_is_named(self, words: tuple[str, ...], winnow: Winnow) -> None:
        said = refusal(winnow(*words))
        assert "kafka.bootstrap_servers" in said and "WINNOW_KAFKA__BOOTSTRAP_SERVERS" in said

    @pytest.mark.parametrize("command", ["migrate", "prune"])
    def test_without_postgres_the_setting_to_set_is_named(self, command: str, winnow: Winnow) -> None:
        said = refusal(winnow(command))
        assert "postgres.dsn" in said and "WINNOW_POSTGRES__DSN" in said

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("get", "anomaly.leest"), "anomaly.leest cannot be changed live; what can: anomaly.per_day, "),
            (("history", "kafka.group"), "kafka.group cannot be changed live"),
            (("set", "host.grace", "3", "--reason", "r"), "host.grace cannot be changed live"),
            (("set", "host.deviations", "3", "--reason", "r"), "host.deviations is no more; it is now anomaly.least"),
            (("set", "anomaly.least", "many", "--reason", "r"), "setting anomaly.least: "),
            (("set", "anomaly.least", "nan", "--reason", "r"), "setting anomaly.least: "),
            (("set", "anomaly.mute_minutes", "9" * 400, "--reason", "r"), "setting anomaly.mute_minutes: "),
            (("set", "alerts.min_level", "severe", "--reason", "r"), "setting alerts.min_level: "),
            (("set", "anomaly.least", "3", "--reason", "r", "--from", "soon"), "--from soon: not an ISO time"),
            (("set", "anomaly.least", "3", "--reason", "r", "--from", "2026-01-01"), "--from 2026-01-01: say the"),
            (("set", "anomaly.least", "3", "--reason", "r", "--from", "1999-01-01T00:00:00Z"), "--from: a time"),
            (("set", "anomaly.least", "3", "--reason", "a\nb"), "--reason: one line"),
            (("set", "anomaly.least", "3", "--reason", "r", "--author", "\x1b[2J"), "--author: one line"),
        ],
        ids=lambda value: value if isinstance(value, str) else "-".join(value)[:60],
    )
    def test_settings_names_what_is_wrong(self, words: tuple[str, ...], said: str, winnow: Winnow) -> None:
        done = winnow("settings", *words, WINNOW_KAFKA__BOOTSTRAP_SERVERS=NOWHERE)
        assert refusal(done).startswith(f"winnow: {said}")

    def test_settings_says_which_kafka_does_not_answer(self, winnow: Winnow) -> None:
        assert NOWHERE in refusal(winnow("settings", "get", WINNOW_KAFKA__BOOTSTRAP_SERVERS=NOWHERE))

    def test_alerts_tail_says_which_kafka_does_not_answer(self, winnow: Winnow) -> None:
        done = winnow("alerts", "tail", WINNOW_KAFKA__BOOTSTRAP_SERVERS=NOWHERE)
        assert NOWHERE in refusal(done)

    def test_a_database_that_does_not_answer_is_said_without_its_password(self, winnow: Winnow) -> None:
        done = winnow("migrate", WINNOW_POSTGRES__DSN=f"postgresql://winnow:hunter2@{NOWHERE}/winnow")
        assert "hunter2" not in refusal(done) and "127.0.0.1" in done.stderr

    @pytest.mark.parametrize("command", ["run", "migrate", "prune", "check"])
    def test_a_misspelt_setting_is_named(self, command: str, winnow: Winnow) -> None:
        (winnow.folder / "winnow.toml").write_text("[kafka]\ngruop = 'g'")
        assert refusal(winnow(command)) == "winnow: unknown setting kafka.gruop"

    def test_a_settings_file_that_is_missing_is_named(self, winnow: Winnow) -> None:
        said = refusal(winnow("run", "--config", "gone.toml"))
        assert said == "winnow: gone.toml: No such file or directory"

    def test_triage_without_a_model_says_what_to_set(self, winnow: Winnow) -> None:
        assert refusal(winnow("triage")) == "winnow: no LLM is configured: set llm.base_url and llm.model"

    def test_triage_without_prices_does_not_start(self, winnow: Winnow) -> None:
        given = {"WINNOW_LLM__BASE_URL": "http://127.0.0.1:1/v1", "WINNOW_LLM__MODEL": "m"}
        assert "llm.input_price" in refusal(winnow("triage", **given))


class TestTraffic:
    @pytest.mark.parametrize(
        ("words", "named"),
        [
            (("--hours", "-1"), "--hours"),
            (("--attack", "picnic@3"), "picnic"),
            (("--attack", "port_scan@soon"), "--attack port_scan@soon"),
            (("--hosts", "1"), "hosts"),
        ],
    )
    def test_what_cannot_be_made_is_named(self, words: tuple[str, ...], named: str, winnow: Winnow) -> None:
        assert named in refusal(winnow("traffic", "--out", "out", *words))
        assert not (winnow.folder / "out").exists()

    @pytest.mark.parametrize("words", [("--start", "soon"), ("--speed", "-1"), ("--speed", "fast")])
    def test_an_option_that_is_none_is_named_with_what_it_was(self, words: tuple[str, ...], winnow: Winnow) -> None:
        done = winnow("traffic", "--out", "out", *words)
        assert done.returncode == 2 and "Traceback" not in done.stderr
        last = done.stderr.splitlines()[-1]
        assert words[0] in last and words[1] in last and "_" not in last

    def test_a_few_minutes_with_an_attack_are_written_and_counted(self, winnow: Winnow) -> None:
        words = ("--hours", "0.05", "--attacks-per-hour", "0", "--attack", "sql_injection@5")
        done = winnow("traffic", "--out", "out", *words)
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        written = {path.name: len(path.read_bytes().splitlines()) for path in (winnow.folder / "out").iterdir()}
        assert report["attacks"]["sql_injection-1"] > 0
        assert written.pop("truth.jsonl") > 0
        assert written == report["files"] and sum(written.values()) == report["messages"]


class TestRules:
    def test_check_says_which_rule_is_not_in_force_and_fails(self, winnow: Winnow) -> None:
        (winnow.folder / "good.yml").write_text(RULE)
        assert winnow("rules", "check", ".").returncode == 0
        (winnow.folder / "bad.yml").write_text(BROKEN_RULE)
        done = winnow("rules", "check", ".")
        assert done.returncode == 1 and "bad.yml" in done.stdout and "good.yml" not in done.stdout

    def test_match_prints_one_json_line_a_match(self, winnow: Winnow) -> None:
        (winnow.folder / "rule.yml").write_text(RULE)
        other = {**EVENT, "CommandLine": "cmd /c dir"}
        (winnow.folder / "a.json").write_text("\n".join(json.dumps(event) for event in (other, EVENT, other, EVENT)))
        done = winnow("rules", "match", "--rules", "rule.yml", "a.json")
        assert done.returncode == 0, done.stderr
        rule = "7d0a2a4b-1111-4222-8333-944444444444"
        assert [json.loads(line) for line in done.stdout.splitlines()] == [
            {"file": "a.json", "line": line, "rule": rule} for line in (1, 3)
        ]


def test_a_reader_that_leaves_early_is_no_error(winnow: Winnow) -> None:
    """``winnow rules match … | head -1`` ends quietly."""
    (winnow.folder / "rule.yml").write_text(RULE)
    (winnow.folder / "a.json").write_text("\n".join([json.dumps(EVENT)] * 5_000))
    command = f"set -o pipefail; '{sys.executable}' -m flows.cli rules match --rules rule.yml a.json | head -1"
    done = winnow.shell("bash", "-c", command)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr
