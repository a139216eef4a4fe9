"""What a sighting weighs: by its level, and by how rare the like is on its host and in the fleet."""

from __future__ import annotations

from analyzers.anomaly.rarity_fleet import Fleet
from analyzers.anomaly.surprise import Surprise
from analyzers.incidents.minutes import Minute
from analyzers.incidents.settings import IncidentSettings
from analyzers.incidents.sightings import Sighting
from state.alerts import Level

#: Risk of a rule, by level, where it is rare. A high one makes an incident of severity medium.
LEVELS = {Level.informational: 0.25, Level.low: 1.0, Level.medium: 3.0, Level.high: 6.0, Level.critical: 12.0}
#: Risk that another system's own word adds. Its high is not ours: half.
TOLD = {Level.informational: 0.0, Level.low: 0.0, Level.medium: 1.5, Level.high: 3.0, Level.critical: 6.0}
#: Share of its level's risk that a metric's score has: it says that something is new, not that it is bad.
SCORE = 0.5
#: Decades from which what a rule or score says is rare enough to have its level's risk.
RARE = 3.0
MINUTES_A_DAY = 1_440


def surprises_of(minute: Minute, fleet: Fleet) -> dict[tuple[str, str], Surprise]:
    """Measure each host's past against the fleet's as it was before this minute; then the fleet learns it."""
    for _, born in minute.born:
        fleet.join(born)
    for at, joined in minute.left:
        fleet.leave(joined, at)
    counts: dict[str, dict[str, float]] = {}
    for sighting in minute.sightings:
        if sighting.standing is not None:
            count = float(sighting.count) if sighting.kind == "alert" else 1.0
            counts.setdefault(sighting.host, {})[sighting.value] = count
    found: dict[tuple[str, str], Surprise] = {}
    usual = {host: fleet.usual(values, minute.start) for host, values in counts.items()}
    for sighting in minute.sightings:
        if sighting.standing is not None:
            value, host = sighting.value, sighting.host
            found[host, value] = sighting.standing.surprise(value, counts[host][value], usual[host][value])
    for host in sorted(counts):
        fleet.learn_one(counts[host], minute.start)
    return found


def weigh(sighting: Sighting, surprise: Surprise | None, settings: IncidentSettings) -> tuple[float, str]:
    """Return a sighting's risk, and why; 0 if it was weighed this minute already, or is nothing unusual."""
    if sighting.kind == "anomaly":  # which has its own memory of what is usual, and a budget
        new = sighting.level if sighting.level is not None else Level.low
        return LEVELS[new] * SCORE, f"level {new.name}; {sighting.reason}"
    if surprise is None:
        return 0.0, ""
    rare = min(1.0, surprise.gap / RARE)
    if sighting.kind == "alert":
        weight = max(0.0, surprise.total - settings.least)
        level = sighting.level
        if level is not None:
            weight += TOLD[level] * rare
        said = f"; its system calls it {level.name}" if level is not None else ""
        return weight, f"{surprise.total:.1f} decades of rarity: {_often(surprise)}{said}"
    of = sighting.level if sighting.level is not None else Level.low
    return LEVELS[of] * rare, f"level {of.name}; {_often(surprise)}; {sighting.reason}"


def _often(surprise: Surprise) -> str:
    """Return how often the like is seen, against how often it was now."""
    every = surprise.expected_every
    usual = f"{every / MINUTES_A_DAY:,.1f} days" if every >= MINUTES_A_DAY else f"{max(every, 1.0):,.0f} minutes"
    count = f", {surprise.count:,.0f} times in this one" if surprise.count > 1.0 else ""
    return f"expected in one minute of {usual}{count}"
