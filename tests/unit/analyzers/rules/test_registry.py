"""What workers get the rules from: whole sets by version; a rule that broke keeps the form that it had."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from analyzers.rules import RuleSet, registry
from analyzers.rules.compiled import Loaded
from analyzers.rules.loading import load
from analyzers.rules.registry import Registry, keep_broken
from flows.compile import Order, compile_apart
from state.events import Event

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def put(tmp_path: Path, make_rule: Make) -> Callable[[str, str], Path]:
    """Write a rule into a folder."""
    folder = tmp_path / "rules"
    folder.mkdir()

    def write(name: str, value: str) -> Path:
        rule = make_rule({"sel": {"A": value}, "condition": "sel"}, id=f"{name * 8}-0000-4000-8000-000000000000")
        (folder / f"{name}.yml").write_text(yaml.safe_dump({**rule, "title": name}))
        return folder

    return write


def met(loaded: Loaded, event: Event, value: str) -> list[str]:
    rules = RuleSet.of(loaded.compiled, loaded.problems, loaded.version)
    return [match.rule.title for match in rules.match_batch([event], lambda _: {"A": value})]


def test_a_set_comes_back_as_it_was_put(
    put: Callable[[str, str], Path], tmp_path: Path, make_event: Callable[..., Event]
) -> None:
    put("a", "x")
    folder = put("b", "y")
    (folder / "c.yml").write_text("title: [")
    loaded = load([folder], {})
    store = Registry(tmp_path / "registry")
    rested: list[int] = []
    store.put(loaded)
    found = store.get(loaded.version, lambda: rested.append(1))
    assert (found.version, found.problems) == (loaded.version, loaded.problems)
    assert met(found, make_event(), "y") == ["b"]
    assert rested, "a large set is read without a pause"
    assert loaded.version in store and "0" * 16 not in store
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("version", ["../../etc/passwd", "", "0123456789ABCDEF", "0" * 17, "0" * 15 + "\n"])
def test_a_version_cannot_lead_out_of_the_folder(version: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a version"):
        Registry(tmp_path).get(version)
    assert version not in Registry(tmp_path)


def test_one_version_is_not_taken_for_another(tmp_path: Path) -> None:
    store = Registry(tmp_path)
    store.put(Loaded([], [], "a" * 16))
    (tmp_path / f"{'a' * 16}.ruleset").rename(tmp_path / f"{'b' * 16}.ruleset")
    with pytest.raises(ValueError, match="holds version"):
        store.get("b" * 16)


def test_a_damaged_version_is_stored_anew(tmp_path: Path) -> None:
    store = Registry(tmp_path)
    store.put(Loaded([], [], "a" * 16))
    (tmp_path / f"{'a' * 16}.ruleset").write_bytes(b"winnow-r and then nothing")
    with pytest.raises(ValueError, match=r"not a file of compiled rules|damaged"):
        store.get("a" * 16)
    store.put(Loaded([], [], "a" * 16))
    assert store.get("a" * 16).version == "a" * 16


def test_old_versions_go_but_not_the_last_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "KEEP_VERSIONS", 2)
    store = Registry(tmp_path)
    ago = time.time() - registry.KEEP_SECONDS - 100
    for number in range(4):
        store.put(Loaded([], [], f"{number:016x}"))
        os.utime(tmp_path / f"{number:016x}.ruleset", (ago + number, ago + number))
    store.put(Loaded([], [], "f" * 16))
    assert sorted(path.stem[-1] for path in tmp_path.glob("*.ruleset")) == ["3", "f"]


@pytest.mark.parametrize(
    "breakage", ["title: [", "title: a\nid: aaaaaaaa-0000-4000-8000-000000000000\ndetection: {}\n"]
)
def test_a_rule_that_broke_keeps_its_form_until_it_is_mended_or_removed(
    breakage: str, put: Callable[[str, str], Path], make_event: Callable[..., Event]
) -> None:
    put("a", "x")
    folder = put("b", "y")
    before = load([folder], {})
    (folder / "a.yml").write_text(breakage)
    put("b", "z")
    broken, kept = keep_broken(load([folder], {}), before.compiled)
    assert [each.rule.title for each in kept] == ["a"]
    assert met(broken, make_event(), "x") == ["a"] and met(broken, make_event(), "z") == ["b"]
    assert broken.version not in (before.version, load([folder], {}).version)
    # The same again, from what was kept, is the same version: a restart changes nothing.
    assert keep_broken(load([folder], {}), broken.compiled)[0].version == broken.version
    put("a", "new")
    mended, kept = keep_broken(load([folder], {}), broken.compiled)
    assert (met(mended, make_event(), "new"), kept) == (["a"], [])
    (folder / "a.yml").unlink()
    assert met(keep_broken(load([folder], {}), mended.compiled)[0], make_event(), "new") == []


def test_rules_are_compiled_in_a_process_that_may_die(
    put: Callable[[str, str], Path], tmp_path: Path, make_event: Callable[..., Event]
) -> None:
    folder = put("a", "x")
    order = Order([str(folder)], [], {}, str(tmp_path / "registry"), str(tmp_path / "cache"))
    done = compile_apart(order)
    assert (done.rules, done.problems, done.kept, done.error) == (1, [], {}, "")
    assert met(Registry(tmp_path / "registry").get(done.version), make_event(), "x") == ["a"]
    (folder / "a.yml").write_text("title: [")
    none = compile_apart(order)
    assert none.version == "" and "no rule under" in none.error and len(none.problems) == 1
    (tmp_path / "file").write_text("")
    assert compile_apart(Order([], [], {}, str(tmp_path / "file" / "x"))).error
    assert "no such file" in compile_apart(Order([str(tmp_path / "nowhere")], [], {}, str(tmp_path / "r"))).error
