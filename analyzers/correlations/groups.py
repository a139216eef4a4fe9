"""What is remembered of one group of one correlation, by the manner in which it counts.

A window is the timespan that ends with an event: ``(time - timespan, time]``. What can be told as soon as enough has
come (``Counted``, ``Named``, ``Ordered``) keeps the latest that can still matter, so it is exact whatever comes; what
further events may unmake (``Whole``) is told when its window, which begins with an event, has passed.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import NamedTuple

import msgspec

from analyzers.correlations.hits import Cite, first_cites
from analyzers.rules.correlation import MAX_WINDOW, SCALE, Correlation
from state.alerts import MAX_EVIDENCE

#: Before all times.
NEVER = -(2**62)
#: About what a group, and an entry of it, cost beyond their texts, bytes.
GROUP_BYTES = 400
ENTRY_BYTES = 200


class Entry(msgspec.Struct, gc=False):
    """One event, or one time that a correlation held, as a group counts it."""

    #: Its place in the order of time, µs.
    place: int
    #: Host of the events; empty if they are of several.
    host: str
    cites: tuple[Cite, ...]
    #: The value that is counted, as text; numbers times SCALE.
    value: str = ""
    number: int = 0

    @property
    def size(self) -> int:
        """Return about what it costs, bytes."""
        return ENTRY_BYTES + len(self.value) + sum(80 + len(event) + len(raw) for _, event, raw in self.cites)


class Holding(msgspec.Struct, frozen=True, gc=False):
    """That a correlation holds, and by which events."""

    #: How many events, values or rules there were; of a sum, average or percentile that, times SCALE.
    amount: int
    #: Host of all of them; empty if they are of several.
    host: str
    cites: tuple[Cite, ...]
    exact: bool = True


class Met(NamedTuple):
    """That the condition is met, and by which entries; they are looked at only if that is wanted, for they may be many.

    It is true until the group takes in the next event.
    """

    amount: int
    entries: Collection[Entry]

    def holding(self) -> Holding:
        """Return by which events it holds."""
        hosts = {entry.host for entry in self.entries}
        cites = [cite for entry in islice(self.entries, 2 * MAX_EVIDENCE) for cite in entry.cites]
        return Holding(self.amount, hosts.pop() if len(hosts) == 1 else "", first_cites(cites))


class _Group(msgspec.Struct, tag=True):
    #: When an event last came, and when it last said that it holds; places, µs.
    touched: int = NEVER
    fired: int = NEVER
    #: Until when it may lack events that it had no room for; a place, µs.
    lacking: int = NEVER
    #: About what it costs, bytes.
    size: int = GROUP_BYTES

    def copies(self) -> int:
        """Return how many copies of events it holds, as far as further ones matter."""
        return 0


class Counted(_Group, tag="counted"):
    """Events of the window, by order: ``event_count`` and ``value_sum`` with a least number."""

    entries: list[Entry] = []
    total: int = 0

    def copies(self) -> int:
        """Return how many events there are."""
        return len(self.entries)

    def add(self, entry: Entry, correlation: Correlation) -> Met | None:
        """Take in an event; say whether it holds."""
        entries = self.entries
        entries.append(entry)
        self.total += entry.number
        self.size += entry.size
        begin = entry.place - correlation.timespan
        least = correlation.least
        gone = 0
        while entries[gone].place <= begin or len(entries) - gone > (least or MAX_WINDOW):
            dropped = entries[gone]
            if not least and dropped.place > begin:
                self.lacking = dropped.place + correlation.timespan
            self.total -= dropped.number
            self.size -= dropped.size
            gone += 1
        del entries[:gone]
        if least:
            return Met(len(entries), entries) if len(entries) >= least else None
        if all(test.holds(self.total) for test in correlation.tests):
            return Met(self.total, entries)
        return None


class Named(_Group, tag="named"):
    """The latest event of each value or rule: ``value_count`` with a least number, and ``temporal``."""

    entries: dict[str, Entry] = {}

    def copies(self) -> int:
        """Return how many values or rules there are."""
        return len(self.entries)

    def add(self, names: list[str], entry: Entry, correlation: Correlation) -> Met | None:
        """Take in an event under its names; say whether it holds."""
        entries = self.entries
        for name in names:
            self._drop(name)
            entries[name] = entry
            self.size += entry.size + len(name)
        begin = entry.place - correlation.timespan
        while entries:
            oldest = next(iter(entries))
            if entries[oldest].place > begin and len(entries) <= max(correlation.least, len(names)):
                break
            self._drop(oldest)
        if len(entries) < correlation.least:
            return None
        return Met(len(entries), entries.values())

    def _drop(self, name: str) -> None:
        known = self.entries.pop(name, None)
        if known is not None:
            self.size -= known.size + len(name)


class Ordered(_Group, tag="ordered"):
    """For each rule, and number of rules before it, the chain of events that began last: ``temporal_ordered``."""

    #: By place of the last rule times 64 plus length.
    chains: dict[int, list[Entry]] = {}

    def add(self, places: list[int], entry: Entry, correlation: Correlation) -> Met | None:
        """Take in an event that met the rules at some places of the order; say whether it ends enough of them."""
        begin = entry.place - correlation.timespan
        least = correlation.least
        for key in [key for key, chain in self.chains.items() if chain[0].place <= begin]:
            self.size -= sum(each.size for each in self.chains.pop(key))
        found: list[Entry] | None = None
        # From the last place back, so that one event is not taken for two in a row.
        for place in sorted(places, reverse=True):
            for length in range(1, least + 1):
                before = [] if length == 1 else self._latest(place, length - 1)
                if before is None:
                    break
                chain = [*before, entry]
                self.size -= sum(each.size for each in self.chains.get(place * 64 + length, ()))
                self.chains[place * 64 + length] = chain
                self.size += sum(each.size for each in chain)
                if length == least and (found is None or chain[0].place > found[0].place):
                    found = chain
        return Met(least, found) if found is not None else None

    def _latest(self, place: int, length: int) -> list[Entry] | None:
        """Return, of the chains of a length that end before a place in the order, the one that began last."""
        chains = [self.chains[key] for earlier in range(place) if (key := earlier * 64 + length) in self.chains]
        return max(chains, key=lambda chain: chain[0].place, default=None)


class Whole(_Group, tag="whole"):
    """A window as a whole: all that further events may unmake."""

    # The event that it ends with is kept too.
    size: int = GROUP_BYTES + 1_500
    #: When the window ends, a place, µs.
    ends: int = NEVER
    count: int = 0
    #: Different values, sorted when it matters; numbers times SCALE.
    values: dict[str, None] = {}
    numbers: list[int] = []
    #: The sum, times SCALE; as text, for it may outgrow 64 bits.
    total: str = "0"
    host: str | None = None
    cites: list[Cite] = []
    full: bool = False

    def copies(self) -> int:
        """Return how many events are cited."""
        return len(self.cites)

    def add(self, entry: Entry, correlation: Correlation) -> None:
        """Take in an event."""
        if self.ends == NEVER:
            self.ends = entry.place + correlation.timespan
        self.count += 1
        self.host = entry.host if self.host in (None, entry.host) else ""
        if len(self.cites) < MAX_EVIDENCE:
            self.cites += entry.cites
            self.size += entry.size
        if correlation.type == "value_count":
            if entry.value not in self.values:
                if len(self.values) < MAX_WINDOW:
                    self.values[entry.value] = None
                    self.size += 80 + len(entry.value)
                else:
                    self.full = True
        elif correlation.type in ("value_percentile", "value_median"):
            if len(self.numbers) < MAX_WINDOW:
                self.numbers.append(entry.number)
                self.size += 40
            else:
                self.full = True
        elif correlation.type != "event_count":
            self.total = str(int(self.total) + entry.number)

    def close(self, correlation: Correlation) -> Holding | None:
        """Say whether the window held, now that it has passed."""
        value, of = self._amount(correlation)
        if not all(test.holds(value, of) for test in correlation.tests):
            return None
        amount = value // SCALE if correlation.type in ("event_count", "value_count") else value // of
        return Holding(amount, self.host or "", first_cites(self.cites), not self.full)

    def _amount(self, correlation: Correlation) -> tuple[int, int]:
        """Return what is compared, times SCALE, and what it is to be divided by."""
        match correlation.type:
            case "event_count":
                return self.count * SCALE, 1
            case "value_count":
                return len(self.values) * SCALE, 1
            case "value_sum":
                return int(self.total), 1
            case "value_avg":
                return int(self.total), self.count
        ordered = sorted(self.numbers)
        if correlation.type == "value_median":
            return ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2], 2
        # The nearest rank: the least value that so many per cent of the values do not exceed.
        return ordered[-(-len(ordered) * correlation.percentile // 100) - 1], 1


Group = Counted | Named | Ordered | Whole


def new_group(correlation: Correlation) -> Group:
    """Return what remembers a group of a correlation, empty."""
    if correlation.whole:
        return Whole()
    if correlation.type in ("event_count", "value_sum"):
        return Counted()
    return Ordered() if correlation.type == "temporal_ordered" else Named()
