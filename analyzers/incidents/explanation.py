"""Say what an incident is: title, explanation with citations, and its record. No language model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from analyzers.incidents.cluster import Cluster, Print
from analyzers.incidents.settings import IncidentSettings
from analyzers.incidents.suppressed import Held
from state.alerts import FLEET, moment
from state.incidents import Incident

#: Event and alert ids that an incident names at most.
MAX_EVIDENCE = 500
MAX_ALERTS = 200
#: Hosts, and other entities, that it names.
MAX_HOSTS = 100
MAX_OTHERS = 50
#: Fingerprints that the explanation goes through.
REASONS = 10
#: Events that it cites of each.
CITED = 2
#: What was suppressed, that it goes through.
HELD = 5
#: A citation: the id of an event in brackets, ``topic-partition-offset``.
CITATION = re.compile(r"\[([^\[\]\n]+-\d+-\d+)\]")
#: ATT&CK's tactics in the order of the kill chain, with what to look at next.
TACTICS = {
    "reconnaissance": "which addresses asked, and what they were answered",
    "resource-development": "what was made ready, and by whom",
    "initial-access": "what the entry point ran or wrote right after",
    "execution": "parents and children of the processes, and the files they came from",
    "persistence": "services, tasks, run keys, keys and accounts made since it began",
    "privilege-escalation": "what the user did with the new rights",
    "defense-evasion": "what was cleared, disabled or renamed, and logs that fell silent",
    "credential-access": "logons of the accounts concerned, on all hosts, since it began",
    "discovery": "who asked, and whether the same user moved on to what was found",
    "lateral-movement": "logons from the hosts concerned to others",
    "collection": "archives and shares that were written or read",
    "command-and-control": "other hosts that spoke to the same addresses and names",
    "exfiltration": "bytes sent to the outside, and where they went",
    "impact": "what stopped, was deleted or encrypted, and backups",
}
KINDS = {
    "rule": "rule",
    "threshold": "limit of a metric",
    "anomaly": "metric's score",
    "text": "judge of texts",
    "alert": "alert of another system",
    "more": "further rules",
}


def citations(explanation: str) -> list[str]:
    """Return the ids of the events that an explanation cites, in order.

    >>> citations("seen on web-1 [web.log-0-17], and again [web.log-0-19]")
    ['web.log-0-17', 'web.log-0-19']
    """
    return CITATION.findall(explanation)


def record(
    cluster: Cluster,
    settings: IncidentSettings,
    held: Sequence[Held] = (),
    state: Literal["open", "closed", "merged"] = "open",
    merged_into: str = "",
    fleet: Cluster | None = None,
) -> Incident:
    """Return a cluster as an incident.

    ``held`` is what was suppressed on its hosts meanwhile, ``fleet`` what many hosts did at once.
    """
    prints = ranked(cluster)
    tactics = tuple(sorted(cluster.tactics, key=_stage))
    hosts = by_risk(prints)
    return Incident(
        id=cluster.id,
        state=state,
        severity=cluster.severity,
        score=round(cluster.score, 3),
        entities=(*hosts[:MAX_HOSTS], *shared(cluster)[:MAX_OTHERS]),
        first_seen=cluster.first,
        last_seen=cluster.last,
        opened=cluster.opened,
        tactics=tactics,
        techniques=tuple(sorted({technique for mark in prints for technique in mark.techniques})),
        alert_count=sum(mark.count for mark in prints),
        alerts=tuple(dict.fromkeys(alert for mark in prints for alert in mark.alerts))[:MAX_ALERTS],
        evidence=evidence(prints),
        title=title(prints, hosts),
        explanation=explain(cluster, prints, hosts, tactics, settings, held, fleet),
        aliases=tuple(cluster.aliases),
        merged_into=merged_into,
    )


def ranked(cluster: Cluster) -> list[Print]:
    """Return the fingerprints, the weightiest first."""
    return sorted(cluster.prints.values(), key=lambda mark: (-mark.best, mark.first, mark.host, mark.kind, mark.rule))


def by_risk(prints: list[Print]) -> list[str]:
    """Return the hosts, those of the most risk first."""
    risks: dict[str, float] = {}
    for mark in prints:
        if mark.host:
            risks[mark.host] = risks.get(mark.host, 0.0) + mark.best
    return sorted(risks, key=lambda host: (-risks[host], host))


def shared(cluster: Cluster) -> list[str]:
    """Return the users and addresses of a cluster, then its files, which are the most."""
    return sorted(cluster.links, key=lambda link: (link.startswith("hash:"), link))


def evidence(prints: list[Print]) -> tuple[str, ...]:
    """Return the events: the first of each fingerprint, what the explanation cites besides, the others in order."""
    first = [mark.cites[0] for mark in prints if mark.cites]
    first += [cite for mark in prints[:REASONS] for cite in mark.cites[1:CITED]]
    others = sorted({cite for mark in prints for cite in mark.cites[1:]} - set(first))
    return tuple(dict.fromkeys(event_id for _, event_id in (*first, *others)))[:MAX_EVIDENCE]


def title(prints: list[Print], hosts: list[str]) -> str:
    """Return one line for a queue."""
    lead = prints[0]
    rules = len({(mark.kind, mark.rule) for mark in prints}) - 1
    also = f" and {_some(rules, 'other sign')}" if rules else ""
    where = _host(lead.host)
    others = len([host for host in hosts if host != lead.host])
    more = f", {_some(others, 'more host')}" if others else ""
    return f"{_plain(lead.name, 120).rstrip('.')}{also} on {where}{more}"


def explain(
    cluster: Cluster,
    prints: list[Print],
    hosts: list[str],
    tactics: tuple[str, ...],
    settings: IncidentSettings,
    held: Sequence[Held] = (),
    fleet: Cluster | None = None,
) -> str:
    """Return what happened, where, since when, why it is said, and what to look at; each claim with its events.

    And what was suppressed on its hosts meanwhile, and what the fleet did.
    """
    count = sum(mark.count for mark in prints)
    rules = len({(mark.kind, mark.rule) for mark in prints})
    lines = [
        f"What: {_some(rules, 'rule or score', 'rules and scores')} signalled {_some(count, 'time')} from "
        f"{_when(cluster.first)} to {_when(cluster.last)}."
    ]
    if tactics:
        techniques = sorted({technique for mark in prints for technique in mark.techniques})
        lines.append(f"Tactics: {', '.join(tactics)} ({', '.join(techniques[:12]) or 'no technique named'}).")
    lines.append(f"Where: {'; '.join(_where(host, prints) for host in hosts[:5])}" + _rest(len(hosts) - 5) + ".")
    if cluster.links:
        links = shared(cluster)
        lines.append(f"Shared: {', '.join(_plain(link, 80) for link in links[:8])}" + _rest(len(links) - 8) + ".")
    if cluster.bonds:
        bonds = list(cluster.bonds.values())
        lines.append(f"Linked: {'; '.join(_plain(bond, 200) for bond in bonds[:8])}" + _rest(len(bonds) - 8) + ".")
    lines.append(
        f"Severity: {cluster.severity.name}, for a risk of {cluster.score:.1f} (medium from {settings.medium:g}, "
        f"halved every {settings.half_life_hours:g} h)."
    )
    lines.append("Why:")
    for mark in prints[:REASONS]:
        cited = "".join(f" [{event_id}]" for _, event_id in mark.cites[:CITED])
        lines.append(
            f"- {_plain(mark.name, 160)} ({_plain(mark.rule, 60)}, {KINDS.get(mark.kind, mark.kind)}) on "
            f"{_host(mark.host)}, {_some(mark.count, 'time')} from {_when(mark.first)}: weighs "
            f"{mark.best:.1f}{'; ' + _plain(mark.why, 240) if mark.why else ''}.{cited}"
        )
    if len(prints) > REASONS:
        lines.append(f"- and {_some(len(prints) - REASONS, 'further fingerprint')} of less weight.")
    if held:
        said = "; ".join(
            f"{_plain(each.name, 120)} ({_plain(each.rule, 60)}) {_some(each.count, 'time')} on {each.host} from "
            f"{_when(each.first)} to {_when(each.last)}, by {each.suppression}"
            for each in held[:HELD]
        )
        lines.append(f"Suppressed, and no part of the risk: {said}{_rest(len(held) - HELD)}.")
    if fleet is not None:
        at_once = [
            f"{_plain(mark.name, 120)}, from {_when(mark.first)} to {_when(mark.last)}" for mark in ranked(fleet)
        ]
        see = f" (incident {fleet.id})" if fleet.told else ""
        lines.append(f"In the whole fleet meanwhile{see}: {'; '.join(at_once[:3])}{_rest(len(at_once) - 3)}.")
    lines.append(f"Next: {'; '.join(_next(prints, hosts, tactics))}.")
    return "\n".join(lines)


def _next(prints: list[Print], hosts: list[str], tactics: tuple[str, ...]) -> list[str]:
    said = []
    cited = [mark.cites[0][1] for mark in prints[:3] if mark.cites]
    if cited:
        said.append("the first events " + " ".join(f"[{event_id}]" for event_id in cited))
    said += [TACTICS[tactic] for tactic in tactics if tactic in TACTICS][:4]
    if not tactics:
        said.append(f"what else {_host(hosts[0]) if hosts else 'the host'} did in the hour before and after")
    if len(hosts) > 1:
        said.append(f"what {hosts[0]} and {hosts[1]} have to do with each other")
    return said


def _where(host: str, prints: list[Print]) -> str:
    own = [mark for mark in prints if mark.host == host]
    return f"{_host(host)} ({_some(len(own), 'rule')}, since {_when(min(mark.first for mark in own))})"


def _when(time: int) -> str:
    """Return a time for people, to the second; events say it to the microsecond."""
    return f"{moment(time):%Y-%m-%d %H:%M:%S}Z"


def _host(host: str) -> str:
    return "the whole fleet" if host == FLEET else host or "several hosts"


def _stage(tactic: str) -> tuple[int, str]:
    order = list(TACTICS)
    return (order.index(tactic) if tactic in TACTICS else len(order), tactic)


def _some(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _rest(number: int) -> str:
    return f" and {number:,} more" if number > 0 else ""


def _plain(text: str, most: int) -> str:
    """Return what others wrote as one line that can be mistaken for no citation."""
    line = " ".join(text.replace("[", "(").replace("]", ")").split())
    return line if len(line) <= most else line[: most - 1] + "…"
