"""Compiled rules are kept on disk: what changed is compiled, what is damaged is not trusted, all else comes back."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from analyzers.rules import RuleSet, cache, parsing
from analyzers.rules.compiled import own_folder, write_file
from state.events import Event

Make = Callable[..., dict[str, Any]]


class Folder:
    """Rules in a folder, and which of them were parsed when they were last loaded."""

    def __init__(self, path: Path, make_rule: Make, make_event: Callable[..., Event]) -> None:
        self.rules, self.cache = path / "rules", path / "cache" / "rules"
        self.rules.mkdir()
        self.parsed: list[str] = []
        self._make_rule, self._make_event = make_rule, make_event

    def put(self, name: str, value: str, **more: Any) -> None:
        number = int(name[1:])
        rule = self._make_rule(
            {"sel": {"A": value}, "condition": "sel"}, id=f"00000000-0000-4000-8000-{number:012}", title=name, **more
        )
        (self.rules / f"{name}.yml").write_text(yaml.safe_dump(rule))

    def load(self, **more: Any) -> RuleSet:
        self.parsed.clear()
        return RuleSet.load(self.rules, cache=self.cache, **more)

    def met(self, rules: RuleSet, **fields: Any) -> list[str]:
        return [match.rule.title for match in rules.match_batch([self._make_event()], lambda _: fields)]

    @property
    def file(self) -> Path:
        (file,) = self.cache.glob("*.rules")
        return file


@pytest.fixture
def folder(
    tmp_path: Path, make_rule: Make, make_event: Callable[..., Event], monkeypatch: pytest.MonkeyPatch
) -> Folder:
    made = Folder(tmp_path, make_rule, make_event)
    for name in ("r1", "r2", "r3"):
        made.put(name, f"{name}-value")
    parse = parsing.parse

    def noted(path: str, *rest: Any) -> parsing.Parsed:
        made.parsed.append(Path(path).stem)
        return parse(path, *rest)

    monkeypatch.setattr(parsing, "parse", noted)
    return made


def test_rules_that_did_not_change_are_not_parsed_again(folder: Folder) -> None:
    first = folder.load()
    assert folder.parsed == ["r1", "r2", "r3"]
    second = folder.load()
    assert folder.parsed == []
    assert (second.version, second.problems) == (first.version, first.problems)
    assert [msgspec.structs.asdict(rule) for rule in second.rules] == [
        msgspec.structs.asdict(rule) for rule in first.rules
    ]
    assert folder.met(second, A="r2-VALUE") == ["r2"]


def test_only_a_changed_rule_is_parsed_again(folder: Folder) -> None:
    first = folder.load()
    folder.put("r2", "new")
    second = folder.load()
    assert folder.parsed == ["r2"]
    assert second.version != first.version
    assert folder.met(second, A=["r1-value", "r2-value", "new"]) == ["r1", "r2"]
    folder.load()
    assert folder.parsed == []


def test_added_and_removed_rules_are_seen(folder: Folder) -> None:
    folder.load()
    folder.put("r4", "four")
    (folder.rules / "r1.yml").unlink()
    rules = folder.load()
    assert folder.parsed == ["r4"]
    assert [rule.title for rule in rules.rules] == ["r2", "r3", "r4"]
    size = folder.file.stat().st_size
    (folder.rules / "r4.yml").unlink()
    assert [rule.title for rule in folder.load().rules] == ["r2", "r3"]
    assert folder.file.stat().st_size < size, "what is gone is still kept"


def test_problems_come_back_from_the_cache(folder: Folder) -> None:
    (folder.rules / "r1.yml").write_text("title: [")
    (folder.rules / "r4.yml").write_text((folder.rules / "r3.yml").read_text() + "\n---\n- no rule\n")
    first, second = folder.load(), folder.load()
    assert folder.parsed == []
    assert len(first.problems) == 3
    assert second.problems == first.problems
    assert second.problems[-1].reason.startswith("has the id of a rule in") and second.problems[-1].line > 0


def test_a_filter_that_comes_changes_or_goes_concerns_rules_that_did_not_change(folder: Folder) -> None:
    def filter_by(user: str) -> None:
        text = yaml.safe_dump(
            {
                "title": "no admins",
                "logsource": {"product": "windows"},
                "filter": {"rules": ["00000000-0000-4000-8000-000000000001"], "f": {"U": user}, "condition": "not f"},
            }
        )
        (folder.rules / "z.yml").write_text(text)

    folder.load()
    filter_by("admin")
    assert folder.met(folder.load(), A="r1-value", U="admin") == []
    assert folder.met(folder.load(), A="r1-value", U="root") == ["r1"]
    assert folder.parsed == []
    folder.put("r1", "other")  # the filter, which did not change, must hold for a rule that did
    assert folder.met(folder.load(), A="other", U="admin") == []
    assert set(folder.parsed) == {"r1", "z"}
    filter_by("root")
    assert folder.met(folder.load(), A="other", U="admin") == ["r1"]
    (folder.rules / "z.yml").unlink()
    assert folder.met(folder.load(), A="other", U="root") == ["r1"]


def test_documents_of_one_file_stay_together(folder: Folder) -> None:
    one, two = ((folder.rules / f"{name}.yml").read_text() for name in ("r1", "r2"))
    (folder.rules / "r1.yml").write_text(f"{one}\n---\n{two}")
    (folder.rules / "r2.yml").unlink()
    for _ in range(2):
        assert folder.met(folder.load(), A=["r1-value", "r2-value"]) == ["r1", "r2"]
    assert folder.parsed == []


def test_other_placeholders_are_another_set(folder: Folder) -> None:
    (folder.rules / "r1.yml").write_text(
        (folder.rules / "r1.yml").read_text().replace("A: r1-value", "A|expand: '%x%'")
    )
    assert folder.met(folder.load(placeholders={"x": ["one"]}), A="one") == ["r1"]
    assert folder.met(folder.load(placeholders={"x": ["two"]}), A="one") == []
    assert [problem.title for problem in folder.load().problems] == ["r1"]


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "foreign", "other_type", "link_to_nothing"])
def test_a_damaged_cache_is_not_trusted_and_made_anew(
    damage: str, folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    folder.load()
    file, data = folder.file, folder.file.read_bytes()
    if damage == "cut":
        file.write_bytes(data[: len(data) // 2])
    elif damage == "flip":
        file.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
    elif damage == "other_type":
        write_file(file, msgspec.msgpack.encode({"filters": b"", "files": {"x": [1]}}))
    elif damage == "link_to_nothing":
        file.unlink()
        file.symlink_to("nowhere")
    else:
        file.write_bytes(b"" if damage == "empty" else b"\x80\x04\x95 a pickle")
    assert folder.met(folder.load(), A="r1-value") == ["r1"]
    assert folder.parsed == ["r1", "r2", "r3"]
    assert damage == "link_to_nothing" or "compiled again" in caplog.text
    folder.load()
    assert folder.parsed == []


def test_a_cache_that_cannot_be_written_is_done_without(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    folder.cache.parent.mkdir()
    folder.cache.write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        assert folder.met(folder.load(), A="r1-value") == ["r1"]
    assert "not cached" in caplog.text


def test_the_cache_is_ours_alone(folder: Folder) -> None:
    folder.cache.mkdir(parents=True)
    folder.cache.chmod(0o777)
    folder.load()
    assert stat.S_IMODE(folder.cache.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.file.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_the_folder_of_another_user_is_not_used(tmp_path: Path) -> None:
    tmp_path.mkdir(exist_ok=True)
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(PermissionError, match="belongs to another user"):
        own_folder(tmp_path)


def test_what_nobody_used_for_a_month_goes(folder: Folder) -> None:
    folder.load()
    old, stale, used = (folder.cache / name for name in ("a.rules", ".b.tmp", "c.rules"))
    for path in (old, stale, used):
        path.write_bytes(b"x")
    ago = time.time() - cache.KEEP - 1
    os.utime(old, (ago, ago))
    os.utime(stale, (ago, ago))
    folder.put("r1", "new")
    folder.load()
    assert not old.exists() and not stale.exists() and used.exists()


def test_from_the_cache_pysigma_is_not_even_imported(folder: Folder) -> None:
    folder.load()
    code = (
        "import sys; from pathlib import Path; from analyzers.rules import RuleSet;"
        "rules = RuleSet.load(sys.argv[1], cache=Path(sys.argv[2]));"
        "print(len(rules.rules), 'sigma' in sys.modules, 'yaml' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder.rules, folder.cache], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["3", "False", "False"]
