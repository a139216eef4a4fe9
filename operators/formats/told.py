"""Other systems' alerts in the telemetry: Suricata's, Zeek's notices, Wazuh's, and JSON events of type ``alert``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from analyzers.incidents.indicators import indicators_of
from analyzers.incidents.sightings import Told
from state.alerts import Level
from state.events import Event, Fields, Kind

from . import fields

#: Longest rule id and name that are kept.
MAX_RULE, MAX_NAME = 200, 300
#: Keys of a generic JSON message, the first that is present counts.
RULES = ("rule_id", "rule.id", "signature_id", "alert.signature_id", "sid", "rule", "signature", "alert.signature")
NAMES = (
    *("description", "rule.description", "rule.name", "signature", "alert.signature", "message", "msg", "title"),
    *("name", "rule"),
)
LEVELS = ("severity", "level", "alert.severity", "event.severity", "priority")
WORDS = {
    "informational": Level.informational,
    "info": Level.informational,
    "notice": Level.informational,
    "low": Level.low,
    "minor": Level.low,
    "warning": Level.low,
    "medium": Level.medium,
    "moderate": Level.medium,
    "high": Level.high,
    "major": Level.high,
    "critical": Level.critical,
    "severe": Level.critical,
}
#: Suricata's priorities: 1 is the highest.
PRIORITIES = {1: Level.high, 2: Level.medium, 3: Level.low, 4: Level.informational}
#: Wazuh's levels 0 to 15: from which on. https://documentation.wazuh.com/current/user-manual/ruleset/rules-classification.html
WAZUH = ((15, Level.critical), (12, Level.high), (7, Level.medium), (3, Level.low))
#: Zeek's notices of attacks, by how they begin, with techniques and tactics; it has no levels.
#: https://docs.zeek.org/en/master/zeek-noticeindex.html
NOTICES = {
    "Scan::": (("T1046",), ("discovery",)),
    "SSH::Password_Guessing": (("T1110.001",), ("credential-access",)),
    "SSH::Login_By_Password_Guesser": (("T1110.001",), ("credential-access",)),
    "FTP::Bruteforcing": (("T1110.001",), ("credential-access",)),
    "HTTP::SQL_Injection": (("T1190",), ("initial-access",)),
    "Heartbleed::": (("T1190",), ("initial-access",)),
    "TeamCymruMalwareHashRegistry::": (("T1204.002",), ("execution",)),
    "Intel::Notice": ((), ()),
}
TECHNIQUE = re.compile(r"T[0-9]{4}(?:[._][0-9]{3})?")


class Alerted(NamedTuple):
    """An alert: what it says of itself, and the files and processes that it names."""

    told: Told
    indicators: tuple[str, ...] = ()


def is_alert(kind: Kind) -> bool:
    """Say whether events of a kind are another system's alerts."""
    return kind.category == "intrusion_detection" and "alert" in kind.action


def alerted(event: Event) -> Alerted:
    """Return what an alert says; of one that names no rule, its event's source type is the rule."""
    source = event.kind.source
    try:
        read = fields(event)
        if source.startswith("suricata."):
            said = _suricata(read)
        else:
            said = _zeek(source, read) if source.startswith("zeek.") else _generic(source, read)
        return Alerted(said, tuple(indicators_of(read)))
    except (ValueError, RecursionError):  # it could be decoded as an event, and all the rest is hostile
        return Alerted(Told(source, source))


def indicators(event: Event) -> tuple[str, ...]:
    """Return the files and processes that an event names, as incidents link by them."""
    try:
        return tuple(indicators_of(fields(event)))
    except (ValueError, RecursionError):
        return ()


def _zeek(source: str, read: Fields) -> Told:
    rule = _text(read, ("note", "sig_id"))[:MAX_RULE] or source
    name = (_text(read, ("msg", "event_msg", "note")) or rule)[:MAX_NAME]
    for begins, (techniques, tactics) in NOTICES.items():
        if rule.startswith(begins):
            return Told(rule, name, Level.medium, techniques, tactics)
    return Told(rule, name)


def _suricata(read: Fields) -> Told:
    rule = _text(read, ("alert.signature_id", "alert.signature")) or "suricata"
    level = _get(read, ("alert.severity",))
    techniques, tactics = _attack(read, ("alert.metadata.mitre_technique_id",), ("alert.metadata.mitre_tactic_name",))
    return Told(
        rule[:MAX_RULE],
        (_text(read, ("alert.signature",)) or rule)[:MAX_NAME],
        PRIORITIES.get(level) if isinstance(level, int) else None,
        techniques,
        tactics,
    )


def _generic(source: str, read: Fields) -> Told:
    rule = _text(read, RULES) or source
    wazuh = _get(read, ("rule.level",))
    level: Level | None = None
    if isinstance(wazuh, int):
        level = next((level for least, level in WAZUH if wazuh >= least), Level.informational)
    elif word := _text(read, LEVELS):
        level = WORDS.get(word.strip().lower())
    techniques, tactics = _attack(
        read,
        ("rule.mitre.id", "threat.technique.id", "techniques", "technique"),
        ("rule.mitre.tactic", "threat.tactic.name", "tactics", "tactic"),
    )
    return Told(rule[:MAX_RULE], (_text(read, NAMES) or rule)[:MAX_NAME], level, techniques, tactics)


def _attack(read: Fields, techniques: tuple[str, ...], tactics: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    ids = [text.upper().replace("_", ".") for text in _texts(read, techniques) if TECHNIQUE.fullmatch(text.upper())]
    names = ["-".join(text.lower().replace("_", " ").replace("-", " ").split())[:60] for text in _texts(read, tactics)]
    return tuple(dict.fromkeys(ids))[:20], tuple(dict.fromkeys(name for name in names if name))[:14]


def _texts(read: Fields, keys: Iterable[str]) -> list[str]:
    value = _get(read, keys)
    values = value if isinstance(value, list) else [value]
    return [text for text in values[:50] if isinstance(text, str)]


def _text(read: Fields, keys: Iterable[str]) -> str:
    for key in keys:
        value = read.get(key)
        if isinstance(value, str) and value.strip():
            return " ".join(value[:1_000].split())
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)[:MAX_RULE]
    return ""


def _get(read: Fields, keys: Iterable[str]) -> Any:
    return next((read[key] for key in keys if key in read), None)
