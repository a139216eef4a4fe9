"""One machine is one host, however it is written; a collector is none."""

from __future__ import annotations

import pytest

from operators.formats import FormatSettings, Malformed
from operators.formats.hosts import Hosts


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("WORKSTATION5", "workstation5"),
        ("WORKSTATION5.theshire.local", "workstation5"),
        ("workstation5.THESHIRE.local.", "workstation5"),
        (" ws1 ", "ws1"),
        ("10.0.0.5", "10.0.0.5"),
        ("::ffff:10.0.0.5", "10.0.0.5"),
        ("::FFFF:10.0.0.5", "10.0.0.5"),
        ("FE80::1%eth0", "fe80::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("37L4247D28-05", "37l4247d28-05"),
        ("dead.beef.example", "dead"),
    ],
)
def test_names_by_default(written: str, name: str) -> None:
    assert Hosts(FormatSettings()).name(written) == name


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("web1.eu.acme.example", "web1"),
        ("web1.acme.example", "web1"),
        ("web1.other.example", "web1.other.example"),
        ("acme.example", "acme.example"),
    ],
)
def test_only_listed_suffixes_are_stripped(written: str, name: str) -> None:
    hosts = Hosts(FormatSettings(domain_suffixes=("acme.example", ".eu.acme.example")))
    assert hosts.name(written) == name


def test_aliases_join_names_and_addresses() -> None:
    hosts = Hosts(FormatSettings(host_aliases={"10.0.0.5": "DC1", "olddc.acme.example": "dc1", "backup": "nas"}))
    assert hosts.name("10.0.0.5") == hosts.name("OLDDC.acme.example") == "dc1"
    assert hosts.name("backup.acme.example") == "nas"
    assert hosts.address("::ffff:10.0.0.5").host == "dc1"
    assert hosts.address("::ffff:10.0.0.5").ip == "10.0.0.5"


@pytest.mark.parametrize("text", ["", "  ", "-", "(null)"])
def test_no_name_is_no_host(text: str) -> None:
    with pytest.raises(Malformed) as error:
        Hosts(FormatSettings()).name(text)
    assert error.value.reason == "missing_host"


@pytest.mark.parametrize("text", ["a b", "a\0b", "x" * 300, "a\x1b[31m"])
def test_impossible_name_is_no_host(text: str) -> None:
    with pytest.raises(Malformed) as error:
        Hosts(FormatSettings()).name(text)
    assert error.value.reason == "bad_host"


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("10.1.2.3", True),
        ("172.31.0.1", True),
        ("172.32.0.1", False),
        ("100.64.0.1", True),
        ("169.254.1.1", True),
        ("127.0.0.1", True),
        ("fd00::1", True),
        ("fe80::1", True),
        ("::1", True),
        ("8.8.8.8", False),
        ("2001:4860::8888", False),
    ],
)
def test_home_networks(text: str, local: bool) -> None:
    assert Hosts(FormatSettings()).address(text).local is local


@pytest.mark.parametrize("text", ["-", "LOCAL", "host.example", "999.1.1.1", "1.2.3", "1:2", "x" * 10_000])
def test_no_address_is_nowhere(text: str) -> None:
    assert Hosts(FormatSettings()).address(text).ip == ""


def test_caches_stay_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operators.formats.hosts.CACHE", 10)
    hosts = Hosts(FormatSettings())
    for i in range(100):
        hosts.name(f"h{i}")
        hosts.address(f"10.0.0.{i}")
    assert len(hosts.addresses) <= 10
    assert hosts.name("h3.acme.example") == "h3"
