"""What analysts lose if links are wrong: one attack in pieces, or the whole fleet as one incident."""

from __future__ import annotations

import hashlib
import random

import msgspec
import pytest

from analyzers.incidents.book import HOUR, MINUTE, IncidentBook
from analyzers.incidents.indicators import indicators_of
from analyzers.incidents.links import MAX_FILES, MAX_RECENT, Links
from analyzers.incidents.settings import IncidentSettings
from analyzers.incidents.sightings import MAX_LINKS, Sighting, bounded
from operators.formats.settings import FormatSettings
from state.alerts import Level, Signal
from state.events import Event
from tests.unit.analyzers.incidents.test_book import LOGON, T0, Fleet

DUMPERT = "d286348de31501385a3a8f57a08af602722913c36aaa4aa9fcb9ee129a7680c0"
SYSMON = (
    f"SHA1=98B13ABB701577AC88E360D702BB89160B50E378,SHA256={DUMPERT.upper()},IMPHASH=E57401FBDADCD4571FF385AB82BD5D6D"
)


def said(fleet: Fleet, host: str, rule: str, t: int, *named: str, level: Level = Level.medium) -> list[Sighting]:
    fleet.events += 1
    event = Event("log", fleet.events, t, host, LOGON, b"{}", "json")
    signal = Signal("rule", rule, f"Rule {rule}", level, host, t, "why", event_id=event.id)
    return fleet._watch(host).signals([signal], t, event, named)


def test_the_same_file_on_two_hosts_is_one_attack_hours_later_and_the_explanation_says_so() -> None:
    fleet = Fleet()
    fleet.minute(said(fleet, "ws-1", "r1", T0, f"hash:{DUMPERT}"))
    fleet.minute(said(fleet, "ws-2", "r2", T0 + 5 * HOUR, f"hash:{DUMPERT}"))
    [incident] = fleet.open()
    assert incident.entities == ("ws-1", "ws-2", f"hash:{DUMPERT}")
    assert f"Linked: ws-2 to ws-1 by hash:{DUMPERT}." in incident.explanation


def test_a_file_that_many_hosts_have_links_none_of_them() -> None:
    fleet = Fleet(file_hosts=3)
    for n in range(9):  # the same updater, a minute after another
        fleet.minute(said(fleet, f"ws-{n}", f"r{n}", T0 + n * MINUTE, f"hash:{DUMPERT}"))
    sizes = sorted(sum(entity.startswith("ws-") for entity in incident.entities) for incident in fleet.open())
    assert sizes == [1] * 6 + [3]
    # In one minute it is known to be common before it links anything; then there are as many incidents as hosts.
    at_once = Fleet(file_hosts=3)
    at_once.minute([s for n in range(9) for s in said(at_once, f"ws-{n}", f"r{n}", T0 + n, f"hash:{DUMPERT}")])
    assert len(at_once.open()) == 9


def test_a_process_tree_is_one_attack_after_a_long_pause_and_another_tree_is_not_part_of_it() -> None:
    fleet = Fleet()
    fleet.minute(said(fleet, "ws-1", "r1", T0, "process:aa", "process:parent"))
    # Alone these say little, hours after the last; what has the same parent says more of it.
    little = Level.informational
    fleet.minute(said(fleet, "ws-1", "r2", T0 + 4 * HOUR, "process:other", level=little))
    assert "(r2, " not in fleet.open()[0].explanation
    fleet.minute(said(fleet, "ws-1", "r3", T0 + 4 * HOUR + 30 * MINUTE, "process:bb", "process:aa", level=little))
    # And what is nothing unusual at all is counted with its tree.
    usual = said(fleet, "ws-1", "r3", T0 + 4 * HOUR + 59 * MINUTE, "process:bb", level=little)
    fleet.minute([msgspec.structs.replace(sighting, rule="r5", standing=None) for sighting in usual])
    [incident] = fleet.open()
    assert "(r2, " not in incident.explanation
    assert "(r3, " in incident.explanation
    assert "(r5, " in incident.explanation
    assert "Linked: ws-1 to itself by process:aa." in incident.explanation
    # Another host's process of that id is another process.
    fleet.minute(said(fleet, "ws-2", "r4", T0 + 5 * HOUR, "process:aa"))
    assert ("ws-2",) in [incident.entities for incident in fleet.open()]


def test_without_tree_or_file_such_signals_are_incidents_apart() -> None:
    fleet = Fleet()
    fleet.minute(said(fleet, "ws-1", "r1", T0))
    fleet.minute(said(fleet, "ws-1", "r3", T0 + 5 * HOUR, level=Level.informational))
    fleet.minute(said(fleet, "ws-2", "r2", T0 + 5 * HOUR))
    assert len(fleet.open()) == 2
    assert all("(r3, " not in incident.explanation for incident in fleet.open())


def test_memory_of_what_links_is_bounded_whatever_names_are_sent() -> None:
    links = Links(IncidentSettings())
    for minute in range(21):
        t = minute * MINUTE
        named = [
            Sighting("ws-1", t, "rule", f"r{n}", "R", Level.high, t, t, 1, "", links=(hash_of(minute, n),))
            for n in range(1_000)
        ]
        links.learn(named)
        for sighting in named:
            links.remember(sighting, 6.0, minute * MINUTE, "i-1")
    assert (len(links.recent), len(links.files)) == (MAX_RECENT, MAX_FILES)
    links.forget(100 * HOUR)
    assert not links.recent
    fleet = Fleet()
    fleet.minute(said(fleet, "ws-1", "r1", T0, *(hash_of(0, n) for n in range(1_000)), "process:aa"))
    [incident] = fleet.open()
    assert len(incident.entities) == 1 + MAX_LINKS


def hash_of(*of: int) -> str:
    return f"hash:{hashlib.sha256(repr(of).encode()).hexdigest()}"


def test_links_are_the_same_in_any_order_of_merging_and_no_kind_crowds_out_another() -> None:
    every = [f"{kind}:{n:02d}" for kind in ("hash", "process", "user", "address") for n in range(20)]
    rng = random.Random(3)
    for _ in range(20):
        rng.shuffle(every)
        cut = rng.randrange(1, len(every))
        merged = bounded([*bounded(every[:cut]), *bounded(every[cut:])])
        assert merged == bounded(every)
        assert [sum(link.startswith(kind) for link in merged) for kind in ("user", "hash")] == [MAX_LINKS] * 2


def test_a_book_of_the_version_before_is_gone_on_from() -> None:
    fleet = Fleet()
    fleet.minute(said(fleet, "ws-1", "r1", T0, f"hash:{DUMPERT}"))
    old = fleet.book.snapshot().replace(b"\xa7version\x03", b"\xa7version\x02")
    assert old != fleet.book.snapshot()
    book = IncidentBook.restore(IncidentSettings(), HOUR, old)
    assert len(book) == 1
    assert book.snapshot() == fleet.book.snapshot()


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"Hashes": SYSMON, "Image": "C:\\Users\\w\\Outflank-Dumpert.exe"}, [f"hash:{DUMPERT}"]),
        ({"file.hash.md5": "C78D58386504CAF3437EED37FBFF77B5"}, ["hash:c78d58386504caf3437eed37fbff77b5"]),
        (
            {"process.hash.sha1": "98b13abb701577ac88e360d702bb89160b50e378", "process.hash.sha256": DUMPERT},
            [f"hash:{DUMPERT}"],
        ),
        ({"syscheck.sha256_after": DUMPERT}, [f"hash:{DUMPERT}"]),
        ({"fileinfo.sha256": DUMPERT}, [f"hash:{DUMPERT}"]),
        # What came with the system is on every host.
        ({"Hashes": SYSMON, "Company": "Microsoft Corporation", "Product": "Microsoft® Windows® Operating System"}, []),
        (
            {
                "Hashes": SYSMON,
                "SignatureStatus": "Valid",
                "Signature": "Microsoft Windows",
                "ImageLoaded": "C:\\k.dll",
            },
            [],
        ),
        ({"process.hash.sha256": DUMPERT, "process.executable": "/usr/bin/bash"}, []),
        # Sysinternals are Microsoft's too, and not part of Windows.
        ({"Hashes": SYSMON, "SignatureStatus": "Valid", "Signature": "Microsoft Corporation"}, [f"hash:{DUMPERT}"]),
        # What is no digest, or that of nothing.
        ({"sha256": "0" * 64}, []),
        ({"md5": "d41d8cd98f00b204e9800998ecf8427e"}, []),
        ({"Hashes": "-", "sha256": "x" * 64, "md5": 7, "hash.sha1": None}, []),
        ({"Hashes": "SHA256=" + "=," * 5_000}, []),
        # Processes, but those that all on a host come from.
        ({"ProcessGuid": "{39E4-01}", "ParentProcessGuid": "{39E4-02}"}, ["process:39e4-01", "process:39e4-02"]),
        (
            {"ProcessGuid": "{39E4-01}", "ParentProcessGuid": "{2}", "ParentImage": "C:\\Windows\\Explorer.EXE"},
            ["process:39e4-01"],
        ),
        ({"SourceProcessGUID": "{a1}", "TargetProcessGUID": "{b2}", "TargetImage": "C:\\x.exe"}, ["process:a1"]),
        (
            {
                "process.entity_id": "abc=",
                "process.parent.entity_id": "d",
                "process.parent.executable": "/usr/lib/systemd/systemd",
            },
            ["process:abc="],
        ),
        ({"ProcessGuid": "{00000000-0000-0000-0000-000000000000}"}, []),
        ({"ProcessGuid": "x" * 500, "process.entity_id": ["a"], "ParentProcessGuid": "a\nb"}, []),
    ],
)
def test_an_event_names_its_files_and_processes(fields: dict[str, object], found: list[str]) -> None:
    assert indicators_of(fields) == found


RESOLVER, INTRUDER, OUTSIDE = "10.0.0.53", "10.0.0.66", "198.51.100.7"


def at_home() -> Fleet:
    """Return a fleet whose book knows which networks are ours."""
    fleet = Fleet()
    fleet.book = IncidentBook(IncidentSettings(), HOUR, home=FormatSettings().home_networks)
    return fleet


def spoke(fleet: Fleet, host: str, rule: str, t: int, source: str, destination: str = "") -> list[Sighting]:
    fleet.events += 1
    event = Event("log", fleet.events, t, host, LOGON, b"{}", "json", "", source, 0, destination)
    signal = Signal("rule", rule, f"Rule {rule}", Level.medium, host, t, "why", event_id=event.id)
    return fleet._watch(host).signals([signal], t, event)


def hosts_of(fleet: Fleet) -> list[list[str]]:
    return sorted(sorted(name for name in incident.entities if ":" not in name) for incident in fleet.open())


def test_attacks_that_have_but_a_server_of_ours_in_common_are_apart_and_each_names_it() -> None:
    fleet = at_home()
    fleet.minute(spoke(fleet, "ws-1", "tunnel", T0, "10.0.0.1", RESOLVER))
    fleet.minute(spoke(fleet, "ws-2", "scan", T0 + MINUTE, "10.0.0.2", RESOLVER))
    # What is done to it from outside is no reason either.
    fleet.minute(spoke(fleet, "dc-1", "exploit", T0 + 2 * MINUTE, OUTSIDE, RESOLVER))
    assert hosts_of(fleet) == [["dc-1"], ["ws-1"], ["ws-2"]]
    assert all(f"address:{RESOLVER}" in incident.entities for incident in fleet.open())


@pytest.mark.parametrize("server", ["198.51.100.53", "2001:db8::53", "not an address"])
def test_who_speak_to_the_same_stranger_are_one_attack(server: str) -> None:
    fleet = at_home()
    fleet.minute(spoke(fleet, "ws-1", "beacon", T0, "10.0.0.1", server))
    fleet.minute(spoke(fleet, "ws-2", "upload", T0 + MINUTE, "10.0.0.2", server))
    [incident] = fleet.open()
    assert f"Linked: ws-2 to ws-1 by address:{server}." in incident.explanation


@pytest.mark.parametrize("intruder", [INTRUDER, OUTSIDE, "fd00::66"])
def test_who_attacks_several_hosts_links_them_wherever_he_is(intruder: str) -> None:
    fleet = at_home()
    # More than would make a server common: an address that acts is never.
    for n in range(9):
        fleet.minute(spoke(fleet, f"ws-{n}", f"r{n}", T0 + n * MINUTE, intruder, f"10.0.0.{n + 1}"))
    [incident] = fleet.open()
    assert sum(entity.startswith("ws-") for entity in incident.entities) == 9


@pytest.mark.parametrize("back", [False, True])
def test_an_attack_that_moves_on_from_host_to_host_is_one_in_either_order(back: bool) -> None:
    fleet = at_home()
    # It is seen where it comes from, then where it goes to; the host between says nothing itself.
    chain = [("ws-1", "10.0.0.1", INTRUDER), ("ws-3", INTRUDER, "10.0.0.3"), ("ws-4", "10.0.0.3", "10.0.0.4")]
    for n, (host, source, destination) in enumerate(reversed(chain) if back else chain):
        fleet.minute(spoke(fleet, host, f"r{n}", T0 + n * MINUTE, source, destination))
    [incident] = fleet.open()
    assert incident.entities[:3] == ("ws-1", "ws-3", "ws-4")


def test_what_a_server_did_is_not_linked_to_the_many_that_use_it() -> None:
    fleet = at_home()
    for n in range(6):
        fleet.minute(spoke(fleet, f"ws-{n}", f"r{n}", T0 + n * MINUTE, f"10.0.0.{n + 1}", RESOLVER))
    fleet.minute(spoke(fleet, "dc-1", "beacon", T0 + 7 * MINUTE, RESOLVER, OUTSIDE))
    fleet.minute(spoke(fleet, "ws-7", "r7", T0 + 8 * MINUTE, "10.0.0.8", RESOLVER))
    assert hosts_of(fleet) == [["dc-1"], *([f"ws-{n}"] for n in (0, 1, 2, 3, 4, 5, 7))]
    # Whom it attacks is.
    fleet.minute(spoke(fleet, "ws-8", "r8", T0 + 9 * MINUTE, RESOLVER, "10.0.0.9"))
    assert ["dc-1", "ws-8"] in hosts_of(fleet)


def test_who_acted_and_who_was_spoken_to_is_known_after_a_restart() -> None:
    fleet = at_home()
    fleet.minute(spoke(fleet, "ws-1", "tunnel", T0, "10.0.0.1", RESOLVER))
    home = FormatSettings().home_networks
    fleet.book = IncidentBook.restore(IncidentSettings(), HOUR, fleet.book.snapshot(), home=home)
    fleet.minute(spoke(fleet, "ws-2", "scan", T0 + MINUTE, "10.0.0.2", RESOLVER))
    assert len(fleet.open()) == 2
    fleet.minute(spoke(fleet, "ws-3", "logon", T0 + 2 * MINUTE, "10.0.0.1", "10.0.0.3"))
    assert hosts_of(fleet) == [["ws-1", "ws-3"], ["ws-2"]]


def test_who_took_a_server_is_found_although_another_spoke_to_it_since() -> None:
    fleet = at_home()
    fleet.minute(spoke(fleet, "ws-1", "exploit", T0, "10.0.0.1", INTRUDER))
    fleet.minute(spoke(fleet, "ws-2", "scan", T0 + MINUTE, "10.0.0.2", INTRUDER))
    assert hosts_of(fleet) == [["ws-1"], ["ws-2"]]
    fleet.minute(spoke(fleet, "ws-3", "logon", T0 + 2 * MINUTE, INTRUDER, "10.0.0.3"))
    assert hosts_of(fleet) == [["ws-1", "ws-2", "ws-3"]]
