"""``winnow check`` says of the LLM what would fail, before it costs anything."""

from __future__ import annotations

import pytest

from flows.cli import main
from tests.integration.llm_double import Double, serving


def checked(capsys: pytest.CaptureFixture[str]) -> str:
    main(["check"])
    return next(line for line in capsys.readouterr().out.splitlines() if " llm: " in line)


def test_an_endpoint_that_answers_refuses_the_key_or_is_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked(capsys).startswith("ok    llm: not configured")
    monkeypatch.setenv("WINNOW_LLM__MODEL", "m")
    with serving(Double(lambda _, __: 200)) as double:
        monkeypatch.setenv("WINNOW_LLM__BASE_URL", double.url)
        assert "set llm.input_price" in checked(capsys)
        monkeypatch.setenv("WINNOW_LLM__INPUT_PRICE", "1")
        monkeypatch.setenv("WINNOW_LLM__OUTPUT_PRICE", "1")
        # It knows no page of models, and answers; nothing that costs is asked.
        assert checked(capsys) == f"ok    llm: {double.url} answers; model m"
        assert double.bodies == []
    assert "does not answer: ConnectError" in checked(capsys)
