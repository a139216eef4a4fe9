"""Whatever the rules and events, and however they come in, the engine says what the slow reference says."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest

from analyzers.correlations.correlator import Correlator, Said
from analyzers.correlations.hits import Hit, Hits, Matched
from analyzers.correlations.settings import CorrelationSettings
from analyzers.rules.compiled import Compiled
from analyzers.rules.correlation import SCALE, Comparison, Correlation, Drawn, Type
from analyzers.rules.linking import feedings, link
from analyzers.rules.nodes import Constant
from analyzers.rules.rule import LogSource, Rule
from state.alerts import FLEET, Level
from tests.unit.analyzers.correlations import correlation_reference

SECOND = 1_000_000
BASES = ("a", "b", "c")
RISING: list[Type] = ["event_count", "value_count", "value_sum", "temporal", "temporal_ordered"]
WHOLE: list[Type] = ["event_count", "value_count", "value_sum", "value_avg", "value_median", "value_percentile"]


def describe(name: str) -> Rule:
    return Rule(
        f"id-{name}", name.upper(), Level.medium, "", LogSource("windows"), (), (), "r.yml", "", (), (), 1, name
    )


#: Half seconds, host, rules that it meets, values.
Happened = tuple[int, str, list[str], dict[str, str]]
COMPILED = [Compiled(describe(name), Constant(True)) for name in BASES]


def drawn(choose: random.Random, name: str, known: Sequence[str]) -> Drawn:
    whole = choose.random() < 0.4
    type = choose.choice(WHOLE if whole else RISING)
    refs = choose.sample(known, choose.randint(1, min(3, len(known))))
    if type == "temporal_ordered" and choose.random() < 0.5:
        refs = choose.choices(known, k=4)
    number = choose.randint(1, 4)
    if type.startswith("temporal"):
        tests = (Comparison("gte", choose.randint(max(len(refs) - 1, 1), len(refs)) * SCALE),)
    elif not whole:
        tests = (Comparison(choose.choice(["gt", "gte"]), number * SCALE),)
    elif type in ("value_avg", "value_median", "value_percentile"):
        tests = (Comparison(choose.choice(["gt", "gte", "lt", "lte", "eq", "neq"]), number * SCALE),)
    elif choose.random() < 0.5:
        tests = (Comparison(choose.choice(["lt", "lte", "eq", "neq"]), number * SCALE),)
    else:
        tests = (Comparison("gt", (number - 1) * SCALE), Comparison("lte", (number + 1) * SCALE))
    group_by = choose.choice([(), ("user",), ("user", "ip"), ("who",)])
    return Drawn(
        rule=describe(name),
        type=type,
        refs=tuple(refs),
        group_by=group_by,
        aliases={"who": {"a": "user", "b": "ip"}} if "who" in group_by else {},
        timespan=choose.randint(1, 6) * SECOND,
        span="5s",
        tests=tests,
        fields=("n",) if type.startswith("value_") else (),
        percentile=choose.choice([1, 25, 50, 90, 100]),
        generate=choose.random() < 0.5,
    )


def rule_set(choose: random.Random) -> list[Correlation]:
    """Return one to five correlations, in up to three levels."""
    one = [drawn(choose, f"one{i}", BASES) for i in range(choose.randint(1, 2))]
    two = [drawn(choose, f"two{i}", [each.rule.name for each in one] + ["a"]) for i in range(choose.randint(0, 2))]
    three = [drawn(choose, "three", [each.rule.name for each in two] + ["b"])] if two else []
    linked = link([*one, *two, *three], COMPILED)
    assert not linked.problems
    return linked.correlations


def events(choose: random.Random) -> list[Happened]:
    """Return up to 30 events of a quarter of a minute, which meet one rule or two; now and then they lack a field."""
    found = []
    for _ in range(choose.randint(1, 30)):
        values = {"user": choose.choice(["x", "X", "y"]), "ip": choose.choice("xz"), "n": choose.choice("1234")}
        if choose.random() < 0.1:
            values["n"] = "many"
        if choose.random() < 0.1:
            del values[choose.choice(["user", "ip", "n"])]
        names = choose.sample(BASES, 1 if choose.random() < 0.8 else 2)
        found.append((choose.randint(0, 30), choose.choice(["h1", "h2"]), names, values))
    return found


def made(correlations: list[Correlation], happened: list[Happened]) -> list[Hit]:
    feeding = feedings(correlations)
    hits = []
    for offset, (halves, host, names, values) in enumerate(happened):
        concerned = {
            c.digest: c for name in names if f"id-{name}" in feeding for c in feeding[f"id-{name}"].correlations
        }
        if not concerned:
            continue
        ordered = sorted(concerned.values(), key=lambda each: (each.depth, each.rule.id, each.digest))
        time = halves * SECOND // 2
        matches = tuple(Matched(f"id-{name}", values) for name in names)
        digests = tuple(each.digest for each in ordered)
        hits.append(Hit(time, f"p-{offset % 3}", offset, time, host, b"r", matches, digests, "v"))
    return hits


def flow(correlations: list[Correlation], hits: list[Hit], order: random.Random) -> list[Said]:
    """Send each partition's hits in pieces, in any order among partitions, with restarts in between."""
    correlator = Correlator(["p-0", "p-1", "p-2"], CorrelationSettings())
    waiting = {
        name: sorted((h for h in hits if h.origin == name), key=lambda h: h.order) for name in ("p-0", "p-1", "p-2")
    }
    said: list[Said] = []
    ended: set[str] = set()
    while len(ended) < 3:
        name = order.choice([each for each in waiting if each not in ended])
        size = order.randint(0, 4)
        batch, waiting[name] = waiting[name][:size], waiting[name][size:]
        if not waiting[name]:
            ended.add(name)
            mark = 2**62
        else:
            mark = order.randint(batch[-1].place if batch else -1, waiting[name][0].place)
        order.shuffle(batch)
        wanted = {digest for hit in batch for digest in hit.concerns}
        correlator.add(Hits(name, mark, batch, tuple(c for c in correlations if c.digest in wanted)))
        if order.random() < 0.5:
            said += correlator.release()
        if order.random() < 0.4:
            state = correlator.snapshot()
            correlator = Correlator(["p-0", "p-1", "p-2"], CorrelationSettings())
            correlator.restore(state)
    return said + correlator.release()


def tainted(correlation: Correlation, all_of: list[Correlation]) -> bool:
    """Say whether which events show that it holds is a choice: of several chains in order, any will do."""
    below = {source.of for source in correlation.sources}
    return correlation.type == "temporal_ordered" or any(
        tainted(each, all_of) for each in all_of if f"c:{each.key}" in below
    )


@pytest.mark.parametrize("block", range(4))
def test_says_what_the_reference_says(block: int) -> None:
    heard = 0
    for seed in range(block * 250, block * 250 + 250):
        choose = random.Random(seed)
        correlations = rule_set(choose)
        heard += compare(correlations, made(correlations, events(choose)), choose)
    assert heard > 250, "the cases must not be idle"


def compare(correlations: list[Correlation], hits: list[Hit], order: random.Random) -> int:
    said = flow(correlations, hits, order)
    expected = [
        held for held in correlation_reference.holds(correlations, hits) if held.fired and not held.correlation.silent
    ]
    loose = {each.rule.id for each in correlations if tainted(each, correlations)}

    def told(each: Said) -> tuple[object, ...]:
        signal = each.signal
        cites = {(signal.time, signal.event_id), *((time, event) for time, event, _ in signal.more)}
        rest = () if signal.rule in loose else (signal.entity, frozenset(cites), signal.reason)
        return (each.place, signal.rule, signal.event_id, *rest)

    def due(held: correlation_reference.Held) -> tuple[object, ...]:
        correlation, hit = held.correlation, held.seen.hit
        entity = next(iter(held.hosts)) if len(held.hosts) == 1 else held.group[0] if held.group else FLEET
        cites = held.cites | {(hit.time, hit.id)}
        rest = () if correlation.rule.id in loose else (entity, cites, reason(held))
        return (held.place.time, correlation.rule.id, hit.id, *rest)

    assert Counter(map(told, said)) == Counter(map(due, expected))
    assert [each.place for each in said] == sorted(each.place for each in said)
    return len(said)


def reason(held: correlation_reference.Held) -> str:
    from analyzers.correlations.groups import Holding
    from analyzers.correlations.telling import reason

    return reason(held.correlation, held.seen.shown, Holding(held.amount, "", ()))


@pytest.mark.parametrize("seed", range(3))
def test_what_is_said_does_not_depend_on_how_partitions_come_in(seed: int) -> None:
    """Two interleavings of the same partitions say the same in the same order."""
    choose = random.Random(seed)
    counts = Drawn(
        describe("many"), "event_count", ("a",), ("user",), {}, 5 * SECOND, "5s", (Comparison("gte", 3 * SCALE),)
    )
    correlations = link([counts], COMPILED).correlations
    happened = [(choose.randint(0, 200), "h1", ["a"], {"user": choose.choice("xyz")}) for _ in range(300)]
    hits = made(correlations, happened)
    one, other = (flow(correlations, hits, random.Random(seed + more)) for more in (10, 20))
    assert len(one) > 20
    assert msgspec.json.encode(one) == msgspec.json.encode(other)
