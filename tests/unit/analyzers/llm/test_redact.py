"""What an operator would not have leave the house does not: not in any field, not in an encoding, not in a reason."""

from __future__ import annotations

import pytest

from analyzers.llm.redact import Redactor
from tests.unit.analyzers.llm.secrets import planted

PLANTED = planted()


def redacted(text: str, name: str = "") -> str:
    hidden = Redactor()
    hidden.learn(text, name)
    return hidden.redacted(text)


def test_there_are_enough_of_them() -> None:
    assert len(PLANTED) >= 40


@pytest.mark.parametrize(("field", "text", "secret"), PLANTED, ids=lambda v: str(v)[:40])
def test_no_planted_secret_is_left(field: str, text: str, secret: str) -> None:
    found = redacted(text, field)
    assert secret not in found
    assert "[secret-" in found


@pytest.mark.parametrize(
    "text",
    [
        r"C:\Windows\System32\svchost.exe -k netsvcs -p -s Schedule",
        "mkdir -p /srv/www && ssh -p 22 root@web",
        "netsh wlan show profile name=home key=clear",
        r"reg query HKLM\SAM\Domains /v Key: HKLM\Software",
        "TokenElevationType=%%1936 SubjectLogonId=0x3e7",
        "msbuild app.sln /p:Configuration=Release",
        "net user bob /delete",
        "GET /search?q=password+policy&page=3",
        "curl -sSL https://example.org/install.sh | sh",
        "Failed password for root from 10.0.0.3 port 2211 ssh2",
        "$env:PASSWORD -eq $null",
        "powershell -enc " + "SQBFAFgAIAAoAE4AZQB3AC0ATwBiAGoAZQBjAHQAKQA=",
    ],
)
def test_what_is_no_secret_stays_readable(text: str) -> None:
    assert redacted(text) == text


def test_a_secret_found_once_is_hidden_in_every_other_text() -> None:
    hidden = Redactor()
    hidden.learn("mysql --password=Sommer2026! shop")
    assert hidden.redacted("typed Sommer2026! into the wrong window") == "typed [secret-1] into the wrong window"


def test_the_same_event_has_the_same_placeholders_and_the_operator_gets_them_back() -> None:
    texts = [text for _, text, _ in PLANTED[:6]]
    found = []
    for _ in range(2):
        hidden = Redactor()
        for text in texts:
            hidden.learn(text)
        found.append(([hidden.redacted(text) for text in texts], hidden.secrets))
    assert found[0] == found[1]
    assert set(found[0][1].values()) >= {secret for _, _, secret in PLANTED[:6]}


@pytest.mark.parametrize("text", ["mysql -p" * 250, "a.a/" * 500, "-----BEGIN PRIVATE KEY-----" * 70, "%41" * 680])
def test_hostile_texts_come_back(text: str) -> None:
    assert redacted(text)
