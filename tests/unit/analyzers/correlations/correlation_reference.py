"""What Sigma correlations mean, slowly and obviously: over the whole list of matches, each window looked at anew."""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple

from analyzers.correlations.hits import Hit
from analyzers.correlations.reading import number_of
from analyzers.rules.correlation import SCALE, Correlation


class Place(NamedTuple):
    """When something happens: a window ends before an event of the same time; equal times are in canonical order."""

    time: int
    is_event: bool
    tie: tuple[Any, ...]


class Seen(NamedTuple):
    """One event as one correlation sees it in one group."""

    place: Place
    hit: Hit
    shown: tuple[str, ...]
    sources: frozenset[int]
    value: str
    number: int
    #: The events behind it, and what the rule read of the event itself.
    cites: frozenset[tuple[int, str]]
    hosts: frozenset[str]
    matched: Any


class Held(NamedTuple):
    """A correlation held."""

    correlation: Correlation
    seen: Seen
    #: When it was known: of a window that is told as a whole, its end.
    place: Place
    group: tuple[str, ...]
    amount: int
    cites: frozenset[tuple[int, str]]
    hosts: frozenset[str]
    fired: bool


def holds(correlations: list[Correlation], hits: list[Hit]) -> list[Held]:
    """Return all times that a correlation held, in order."""
    found: list[Held] = []
    for depth in (1, 2, 3):
        for correlation in [each for each in correlations if each.depth == depth]:
            groups: dict[tuple[str, ...], list[Seen]] = {}
            for name, seen in _all_seen(correlation, hits, found):
                groups.setdefault(name, []).append(seen)
            for name, list_of in groups.items():
                found += (
                    _whole(correlation, name, list_of) if correlation.whole else _sliding(correlation, name, list_of)
                )
    return sorted(found, key=lambda held: (held.place, held.correlation.depth, held.correlation.rule.id, held.group))


def _all_seen(correlation: Correlation, hits: list[Hit], children: list[Held]) -> list[tuple[tuple[str, ...], Seen]]:
    temporal = correlation.type.startswith("temporal")
    # Of: place, hit, of, matched, cites, hosts.
    ways = [
        (
            Place(hit.place, True, hit.order),
            hit,
            f"r:{each.rule}",
            each,
            frozenset({(hit.time, hit.id)}),
            frozenset({hit.host}),
        )
        for hit in hits
        for each in hit.matches
    ]
    ways += [
        (held.place, held.seen.hit, f"c:{held.correlation.key}", held.seen.matched, held.cites, held.hosts)
        for held in children
        if held.fired or temporal
    ]
    found: dict[tuple[Place, tuple[str, ...]], Seen] = {}
    for place, hit, of, matched, cites, hosts in ways:
        sources = frozenset(i for i, source in enumerate(correlation.sources) if source.of == of)
        if not sources:
            continue
        fields = [_field(correlation, name, of, matched.rule) for name in correlation.group_by]
        counted = [_field(correlation, name, of, matched.rule) for name in correlation.fields]
        if any(name not in matched.values for name in (*fields, *counted)):
            continue
        shown = tuple(matched.values[name] for name in fields)
        value = "\0".join(matched.values[name].casefold() for name in counted)
        number = 0
        if correlation.type in ("value_sum", "value_avg", "value_median", "value_percentile"):
            read = number_of(matched.values[counted[0]])
            if read is None:
                continue
            number = read
        key = (place, tuple(each.casefold() for each in shown))
        if key in found:
            known = found[key]
            found[key] = known._replace(
                sources=known.sources | sources, cites=known.cites | cites, hosts=known.hosts | hosts
            )
        else:
            found[key] = Seen(place, hit, shown, sources, value, number, cites, hosts, matched)
    return sorted(((name, seen) for (_, name), seen in found.items()), key=lambda each: each[1].place)


def _field(correlation: Correlation, name: str, of: str, rule: str) -> str:
    alias = correlation.aliases.get(name, {})
    return alias.get(of) or alias.get(f"r:{rule}") or name


def _sliding(correlation: Correlation, name: tuple[str, ...], seen: list[Seen]) -> list[Held]:
    found: list[Held] = []
    last = None
    for i, now in enumerate(seen):
        window = [each for each in seen[: i + 1] if each.place.time > now.place.time - correlation.timespan]
        outcome = _outcome(correlation, window)
        if outcome is None:
            continue
        amount, chosen = outcome
        fired = last is None or last + correlation.timespan <= now.place.time
        if fired:
            last = now.place.time
        found.append(Held(correlation, now, now.place, name, amount, _cites(chosen), _hosts(chosen), fired))
    return found


def _outcome(correlation: Correlation, window: list[Seen]) -> tuple[int, list[Seen]] | None:
    """Return how much there is at the last event of a window, and the events that show it; None if it is too little."""
    least = correlation.least
    match correlation.type:
        case "event_count":
            return (least, window[-least:]) if len(window) >= least else None
        case "value_sum":
            total = sum(each.number for each in window)
            return (total, window) if all(test.holds(total) for test in correlation.tests) else None
        case "value_count":
            latest = {each.value: i for i, each in enumerate(window)}
        case "temporal":
            latest = {str(source): i for i, each in enumerate(window) for source in each.sources}
        case _:
            # Every way to pick so many events that end with the last, one after the other, for rules in order.
            ways = [(*way, window[-1]) for way in combinations(window[:-1], least - 1)]
            chains = [way for way in ways if _in_order([each.sources for each in way], -1)]
            return (least, list(chains[0])) if chains else None
    if len(latest) < least:
        return None
    chosen = sorted(latest.values())[-max(least, len(window[-1].sources) if correlation.type == "temporal" else 1) :]
    return (len(chosen), [window[i] for i in sorted(set(chosen))])


def _in_order(sources: list[frozenset[int]], after: int) -> bool:
    if not sources:
        return True
    return any(_in_order(sources[1:], source) for source in sources[0] if source > after)


def _whole(correlation: Correlation, name: tuple[str, ...], seen: list[Seen]) -> list[Held]:
    found: list[Held] = []
    while seen:
        end = seen[0].place.time + correlation.timespan
        window = [each for each in seen if each.place.time < end]
        seen = seen[len(window) :]
        place = Place(end, False, (-correlation.depth, correlation.key, name))
        value, of = _value(correlation, window)
        if all(test.holds(value, of) for test in correlation.tests):
            amount = value // SCALE if correlation.type in ("event_count", "value_count") else value // of
            held = Held(correlation, window[-1], place, name, amount, _cites(window), _hosts(window), True)
            found.append(held)
    return found


def _value(correlation: Correlation, window: list[Seen]) -> tuple[int, int]:
    numbers = sorted(each.number for each in window)
    match correlation.type:
        case "event_count":
            return len(window) * SCALE, 1
        case "value_count":
            return len({each.value for each in window}) * SCALE, 1
        case "value_sum":
            return sum(numbers), 1
        case "value_avg":
            return sum(numbers), len(numbers)
        case "value_median":
            half = len(numbers) // 2
            return (numbers[half] * 2, 2) if len(numbers) % 2 else (numbers[half - 1] + numbers[half], 2)
    # The least value that at least so many per cent of the values do not exceed.
    wanted = correlation.percentile * len(numbers)
    return next(each for each in numbers if 100 * sum(other <= each for other in numbers) >= wanted), 1


def _cites(seen: list[Seen]) -> frozenset[tuple[int, str]]:
    return frozenset(sorted({cite for each in seen for cite in each.cites})[:20])


def _hosts(seen: list[Seen]) -> frozenset[str]:
    return frozenset(host for each in seen for host in each.hosts)
