"""``winnow classify`` and ``winnow models check``: one answer a line, in order, and exit statuses with a meaning."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from analyzers.bert.manifest import BUILTIN_MODEL
from flows.cli import main
from flows.commands import classify

LABELS = list(json.loads((BUILTIN_MODEL / "model.json").read_text())["labels"])


class Pipe:
    """Standard input that comes in pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self.buffer = self
        self._pieces = list(pieces)

    def read1(self, size: int) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    read = read1


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)

    def command(*args: str, stdin: tuple[bytes, ...] = ()) -> tuple[int, list[dict[str, Any]], str]:
        monkeypatch.setattr(sys, "stdin", Pipe(*stdin))
        status = main(list(args))
        out, err = capsysbinary.readouterr()
        return status, [json.loads(line) for line in out.splitlines()], err.decode()

    return command


def test_texts_one_a_line_are_answered_in_order(run: Any, tmp_path: Path) -> None:
    lines = ["id", "", "<script>alert(1)</script>", "ls -la"]
    (tmp_path / "texts.txt").write_text("\n".join(lines) + "\n")
    status, answers, _ = run("classify", "texts.txt")
    assert status == 0 and len(answers) == len(lines)
    for answer in answers:
        assert list(answer)[:3] == ["label", "malicious", "scores"]
        assert list(answer["scores"]) == LABELS
        assert answer["malicious"] == max(answer["scores"].values())
        assert answer["label"] in ("benign", *LABELS)
    assert answers[1]["label"] == "benign"
    single = [run("classify", stdin=(line.encode() + b"\n",))[1][0] for line in lines]
    assert single == answers, "what else is in the file must not matter"


def test_records_have_their_source_and_a_broken_line_is_an_answer_too(run: Any) -> None:
    status, answers, said = run(
        "classify", stdin=(b'{"text": "whoami", "source": "shell"}\n{"text":\nwhoami\n', b'{"te', b'xt": "whoami"}')
    )
    assert status == 1 and len(answers) == 4
    assert ["error" in answer for answer in answers] == [False, True, True, False]
    assert "2 of 4 lines" in said
    assert run("classify", "--source", "shell", stdin=(b"whoami",))[1] == [answers[0]]


def test_a_line_without_end_is_refused_and_the_next_one_read(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzers.bert.lines.MAX_LINE", 1_000)
    status, answers, _ = run("classify", stdin=(b"a" * 600, b"a" * 600, b"a" * 600, b"a\r\nid\r\n"))
    assert status == 1
    assert [answer.get("error", "")[:11] for answer in answers] == ["line is lon", ""]
    assert answers[1:] == run("classify", stdin=(b"id",))[1]


def test_bytes_that_are_no_text_are_answered(run: Any) -> None:
    status, answers, _ = run("classify", stdin=(bytes(range(256)) * 4,))
    assert status == 0
    assert len(answers) == 5  # four line ends in it


def test_an_explanation_names_parts_of_the_text(run: Any) -> None:
    _, answers, _ = run("classify", "--explain", "--source", "http", stdin=(b"id=1' union select password from users",))
    assert answers[0]["explanation"]
    assert all(part["text"] in "id=1' union select password from users" for part in answers[0]["explanation"])


def test_an_endless_stream_is_answered_as_it_comes() -> None:
    batches = list(classify._lines(io.BufferedReader(io.BytesIO(b"a\n" * 1_200))))  # type: ignore[arg-type]
    assert [len(batch) for batch in batches] == [512, 512, 176]


@pytest.mark.parametrize("command", [("classify", "--model"), ("models", "check")])
def test_a_model_that_is_none_is_one_clear_line(run: Any, tmp_path: Path, command: tuple[str, ...]) -> None:
    status, answers, said = run(*command, str(tmp_path))
    assert (status, answers, said.count("\n")) == (2, [], 1)
    assert "model.json" in said
    assert run("classify", "no such file")[0] == 2


def test_a_model_says_what_it_is(run: Any) -> None:
    status, (answer,), _ = run("models", "check")
    assert status == 0
    assert list(answer["labels"]) == LABELS
    assert answer["version"] == json.loads((BUILTIN_MODEL / "model.json").read_text())["version"]
    assert answer["batches"], "the shipped model can be run in batches without a verdict depending on its neighbours"
