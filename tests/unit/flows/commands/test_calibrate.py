"""``winnow calibrate``: labels in, a calibration that the router takes out, or a refusal that says what is missing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from analyzers.bert.manifest import BUILTIN_MODEL
from analyzers.learning.texts import Text, generated
from analyzers.router.calibration import load
from flows.cli import main

MODEL = json.loads((BUILTIN_MODEL / "model.json").read_text())["version"]


@pytest.fixture(scope="module")
def texts() -> list[Text]:
    return [text for text in generated("test", 0.1, 5) if text.source == "http"]


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, texts: list[Text]) -> None:
    lines = [{"text": text.text, "source": text.source, "label": (*text.labels, "benign")[0]} for text in texts]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_labels_become_a_calibration_of_this_model_and_a_plot(
    folder: Path, texts: list[Text], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    malicious = [text for text in texts if text.labels][:320]
    benign = [text for text in texts if not text.labels][:200]
    assert (len(malicious), len(benign)) == (320, 200)
    write(folder / "labels.jsonl", malicious + benign)
    # Again: a text counts once.
    assert main(["calibrate", "--labels", "labels.jsonl", "--labels", "labels.jsonl", "--max-miss-rate", ".05"]) == 0
    out, err = capsys.readouterr()
    found = load(folder / "calibration" / "calibration.json", MODEL)
    fitted = found.sources["http"]
    assert (fitted.malicious, fitted.benign, found.max_miss_rate) == (320, 200, 0.05) and not err
    assert fitted.missed <= 0.05 * 320 and f"{fitted.missed:,} of 320" in out
    assert found.version in out and 'router.calibration = "calibration/calibration.json"' in out
    assert (folder / "calibration" / "calibration.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_there_is_a_calibration_and_a_word_on_how_to_get_the_plot(
    folder: Path, texts: list[Text], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    write(folder / "labels.jsonl", [text for text in texts if text.labels][:40])
    assert main(["calibrate", "--labels", "labels.jsonl", "--max-miss-rate", ".3", "--out", "c"]) == 0
    assert "pip install 'winnow[train]'" in capsys.readouterr().out
    assert [path.name for path in (folder / "c").iterdir()] == ["calibration.json"]


def test_too_few_labels_are_refused_with_how_many_are_missing(
    folder: Path, texts: list[Text], capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder / "labels.jsonl", [text for text in texts if text.labels][:120])
    assert main(["calibrate", "--labels", "labels.jsonl"]) == 2
    out, err = capsys.readouterr()
    assert not out and "http: 120 malicious texts, 179 are missing" in err and err.count("\n") == 1
    assert not (folder / "calibration").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            '{"text": "id", "source": "shell", "label": "benign"}\n{"text": "x", "source": "shell"}\n',
            "labels.jsonl:2: neither label nor malicious",
        ),
        ('{"text": "id", "label": "benign"}\n', "labels.jsonl:1: names no source"),
        ("id\n", "labels.jsonl:1: not JSON"),
        ("", "there are no labels"),
        (None, "labels.jsonl: No such file"),
    ],
)
def test_what_is_no_label_is_refused_by_file_and_line(
    folder: Path, content: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (folder / "labels.jsonl").write_text(content)
    assert main(["calibrate", "--labels", "labels.jsonl"]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1
