"""Which version of the rules judges which offset: told once, and the same after a crash, whatever is heard by then."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from analyzers.rules.compiled import Loaded
from analyzers.rules.registry import Registry
from operators.liveness import liveness
from operators.succession import Succession
from operators.versions import Versions
from state.control import CONTROL_VERSION, Activation, new_id

A, B, C, GONE = (letter * 16 for letter in "abcd")
T0 = 1_700_000_000_000_000


def activation(version: str, from_time: int = T0, written_at: int = T0, what: str = "rules") -> Activation:
    return Activation(
        version=CONTROL_VERSION,
        id=new_id(),
        author="ann",
        reason="test",
        written_at=written_at,
        from_time=from_time,
        what=what,  # type: ignore[arg-type]
        artifact=version,
    )


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    made = Registry(tmp_path / "registry")
    for version in (A, B, C):
        made.put(Loaded([], [], version))
    return made


@pytest.fixture(autouse=True)
def quiet() -> None:
    liveness.rules_failed.clear()


def hear(versions: Versions, *messages: Activation) -> None:
    """Hear activations and wait until their sets are there, as they are within a second."""
    for message in messages:
        versions.hear(message)
    until(lambda: {each.id for each in versions.ready} >= {message.id for message in messages})


def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def judge(succession: Succession, start: int, end: int, watermark: int) -> str:
    """Judge offsets as a partition does."""
    version = succession.version(start, watermark)
    assert succession.limit(start) >= end
    succession.judged(end)
    return version


def test_a_version_holds_from_its_time_on(registry: Registry, tmp_path: Path) -> None:
    versions = Versions(registry, A)
    one = Succession(versions, "t-0", tmp_path)
    hear(versions, activation(B, T0 + 10))
    assert judge(one, 0, 100, T0) == A
    assert judge(one, 100, 200, T0 + 9) == A
    assert judge(one, 200, 300, T0 + 10) == B
    assert judge(one, 300, 400, T0 + 11) == B
    assert versions.of(B).version == B


@pytest.mark.parametrize("crash", ["before the change was seen", "after it"])
def test_after_a_crash_each_offset_has_the_version_that_it_had(registry: Registry, tmp_path: Path, crash: str) -> None:
    versions = Versions(registry, A)
    one = Succession(versions, "t-0", tmp_path)
    judge(one, 0, 100, T0)
    hear(versions, activation(B))
    judge(one, 100, 200, T0)
    judge(one, 200, 300, T0)
    later = Versions(registry, A)
    again = Succession(later, "t-0", tmp_path)
    # The activation was heard again before the first batch, or only after the flow had read beyond it.
    if crash == "after it":
        hear(later, activation(C))
    assert [judge(again, 50, 100, T0), again.limit(50)] == [A, 100]
    assert judge(again, 100, 300, T0) == B
    if crash != "after it":
        hear(later, activation(C))
    assert judge(again, 300, 400, T0) == C


def test_what_was_judged_is_not_judged_by_what_came_later(registry: Registry, tmp_path: Path) -> None:
    versions = Versions(registry, A)
    one = Succession(versions, "t-0", tmp_path)
    judge(one, 0, 1000, T0)
    later = Versions(registry, A)
    hear(later, activation(B))
    again = Succession(later, "t-0", tmp_path)
    assert judge(again, 0, 500, T0) == A
    assert judge(again, 500, 1000, T0) == A
    assert judge(again, 1000, 1500, T0) == B


def test_an_activation_comes_into_force_once(registry: Registry, tmp_path: Path) -> None:
    first, second = activation(B, written_at=T0), activation(C, written_at=T0 + 1)
    versions = Versions(registry, A)
    one = Succession(versions, "t-0", tmp_path)
    hear(versions, first)
    assert judge(one, 0, 10, T0) == B
    hear(versions, second)
    assert judge(one, 10, 20, T0) == C
    later = Versions(registry, A)
    hear(later, first, second)
    again = Succession(later, "t-0", tmp_path)
    assert judge(again, 20, 30, T0) == C


def test_an_activation_of_the_version_in_force_does_not_return_later(registry: Registry, tmp_path: Path) -> None:
    same, other = activation(A), activation(B, written_at=T0 + 1)
    versions = Versions(registry, A)
    one = Succession(versions, "t-0", tmp_path)
    hear(versions, same)
    assert judge(one, 0, 10, T0) == A
    hear(versions, other)
    assert judge(one, 10, 20, T0) == B
    later = Versions(registry, A)
    again = Succession(later, "t-0", tmp_path)
    hear(later, other, same)
    assert judge(again, 20, 30, T0) == B
    assert judge(again, 30, 40, T0) == B


def test_of_several_that_are_due_the_last_holds(registry: Registry, tmp_path: Path) -> None:
    versions = Versions(registry, A)
    hear(versions, activation(C, T0 + 5), activation(B, T0 + 1))
    one = Succession(versions, "t-0", tmp_path)
    assert judge(one, 0, 10, T0 + 9) == C
    assert judge(one, 10, 20, T0 + 9) == C


def test_a_fresh_partition_begins_with_the_base_and_not_with_what_led_to_it(registry: Registry, tmp_path: Path) -> None:
    old = activation(A)
    versions = Versions(registry, B, [old.id])
    hear(versions, old)
    one = Succession(versions, "t-0", tmp_path)
    assert judge(one, 0, 10, T0 + 9) == B
    assert judge(one, 10, 20, T0 + 9) == B


def test_a_version_that_cannot_be_loaded_leaves_the_one_before_in_force(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    versions = Versions(registry, A)
    one = Succession(versions, "t-0", tmp_path)
    (registry.folder / f"{B}.ruleset").write_bytes(b"damaged")
    for version in (GONE, B, "../../etc/passwd"):
        versions.hear(activation(version))
    until(lambda: len(liveness.rules_failed) == 3)
    assert judge(one, 0, 10, T0 + 9) == A
    assert "stays in force" in caplog.text
    assert set(liveness.beat(0.0).rules_failed) == {GONE, B, "../../etc/passwd"}
    hear(versions, activation(C))
    assert judge(one, 10, 20, T0 + 9) == C


def test_a_version_that_is_gone_is_replaced_and_said(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    versions = Versions(registry, A)
    one = Succession(versions, "t-0", tmp_path)
    judge(one, 0, 10, T0)
    hear(versions, activation(B))
    judge(one, 10, 20, T0)
    (registry.folder / f"{B}.ruleset").unlink()
    again = Succession(Versions(registry, A), "t-0", tmp_path)
    assert judge(again, 5, 10, T0) == A
    assert judge(again, 10, 20, T0) == A
    assert "from offset 10 on was judged by version" in caplog.text
    assert judge(again, 20, 30, T0) == A


def test_sets_that_nobody_uses_are_forgotten(registry: Registry, tmp_path: Path) -> None:
    many = [f"{number:016x}" for number in range(12)]
    for version in many:
        registry.put(Loaded([], [], version))
    versions = Versions(registry, A)
    busy, idle = Succession(versions, "t-0", tmp_path), Succession(versions, "t-1", tmp_path)
    judge(idle, 0, 1, T0)
    for number, version in enumerate(many):
        hear(versions, activation(version, written_at=T0 + number))
        assert judge(busy, number * 10, number * 10 + 10, T0) == version
    held = [version for version in (A, *many) if version in versions._things]
    assert len(held) <= 6
    # The idle partition passes over what came and went, and needs no more than the last.
    assert judge(idle, 1, 2, T0) == many[-1]


def test_without_a_folder_nothing_is_written(registry: Registry) -> None:
    versions = Versions(registry, A)
    versions.hear(activation(A, what="metrics"))
    hear(versions, activation(B))
    one = Succession(versions, "t-0", None)
    assert judge(one, 0, 10, T0) == B


def test_a_damaged_record_is_refused(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "t-0.jsonl").write_text('{"offset":0,"version":"a"}\nnot json\n')
    with pytest.raises(ValueError, match=r"t-0\.jsonl"):
        Succession(Versions(registry, A), "t-0", tmp_path)
