"""Models come into force between batches; one that is refused leaves the one before in force."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from analyzers.bert.judge import TextJudge
from analyzers.bert.manifest import BUILTIN_MODEL, Manifest, version_of
from analyzers.bert.registry import ModelRegistry
from operators.liveness import liveness
from operators.models import Models
from operators.succession import Judges, Succession
from state.control import CONTROL_VERSION, Activation, new_id

T0 = 1_700_000_000_000_000
TEXTS = [("id=1' or '1'='1", "http"), ("ls", "shell")]


def activation(version: str, what: str = "model") -> Activation:
    return Activation(
        version=CONTROL_VERSION,
        id=new_id(),
        author="ann",
        reason="test",
        written_at=T0,
        from_time=T0,
        what=what,  # type: ignore[arg-type]
        artifact=version,
    )


def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(tmp_path / "registry")


@pytest.fixture
def versions(registry: ModelRegistry, tmp_path: Path) -> tuple[str, str]:
    """Return the versions of two models that are stored; the second differs in a line end of its tokenizer."""
    other = tmp_path / "other"
    shutil.copytree(BUILTIN_MODEL, other)
    manifest = json.loads((other / "model.json").read_text())
    with (other / "tokenizer.json").open("ab") as file:
        file.write(b"\n")
    manifest["sha256"]["tokenizer.json"] = hashlib.sha256((other / "tokenizer.json").read_bytes()).hexdigest()
    manifest["version"] = version_of(msgspec.convert(manifest, Manifest))
    (other / "model.json").write_text(json.dumps(manifest))
    return registry.put(BUILTIN_MODEL).version, registry.put(other).version


@pytest.fixture
def models(registry: ModelRegistry, versions: tuple[str, str]) -> Models:
    liveness.models_failed.clear()
    return Models(lambda version: TextJudge(registry.get(version)), versions[0])


def test_a_model_holds_from_its_time_on_and_is_warm_by_then(
    models: Models, versions: tuple[str, str], tmp_path: Path
) -> None:
    judges = Judges(None, Succession(models, "t-0", tmp_path / "models"))
    models.recent.append(TEXTS)
    assert judges.versions(0, T0) == ("", versions[0], "")
    judges.judged(100)
    models.hear(activation(versions[1], what="rules"))
    models.hear(activation(versions[1]))
    until(lambda: len(models.ready) == 1)
    assert judges.versions(100, T0 - 1) == ("", versions[0], "")
    judges.judged(200)
    assert judges.versions(200, T0) == ("", versions[1], "")
    now = models.of(versions[1])
    assert now.judge(TEXTS) == models.of(versions[0]).judge(TEXTS) or now.version != versions[0]
    assert now.counts["raw"] == 2, "what was judged of late is known to the new model before it is in force"
    # After a crash each offset has the model that it had.
    again = Judges(None, Succession(models, "t-0", tmp_path / "models"))
    assert [again.versions(150, T0), again.limit(150)] == [("", versions[0], ""), 200]


@pytest.mark.parametrize("wrong", ["0" * 12, "../../etc/passwd", "damaged"])
def test_a_model_that_is_refused_leaves_the_one_before_in_force(
    models: Models, versions: tuple[str, str], registry: ModelRegistry, tmp_path: Path, wrong: str
) -> None:
    if wrong == "damaged":
        wrong = versions[1]
        (registry.folder / wrong / "model.onnx").write_bytes(b"no model")
    judges = Judges(None, Succession(models, "t-0", tmp_path / "models"))
    models.hear(activation(wrong))
    until(lambda: wrong in liveness.models_failed)
    assert "ModelError" in liveness.models_failed[wrong]
    assert judges.versions(0, T0 + 1) == ("", versions[0], "")
    assert models.of(versions[0]).judge(TEXTS)


def test_rules_and_model_change_each_at_its_own_offset(
    models: Models, versions: tuple[str, str], tmp_path: Path
) -> None:
    rules = Succession(models, "t-0", tmp_path / "rules")
    model = Succession(models, "t-0", tmp_path / "models")
    judges = Judges(rules, model)
    assert judges.versions(0, T0 - 1) == (versions[0], versions[0], "")
    judges.judged(50)
    models.hear(activation(versions[1]))
    until(lambda: len(models.ready) == 1)
    assert model.version(50, T0) == versions[1]
    model.judged(80)
    assert (judges.limit(0), judges.limit(50)) == (50, 2**63 - 1)
    assert Judges().limit(0) == 2**63 - 1 and Judges().versions(0, T0) == ("", "", "")
