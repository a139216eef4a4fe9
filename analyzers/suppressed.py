"""Count what suppressions kept from becoming alerts: nothing is suppressed silently. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from state.alerts import Signal
from state.suppressions import DAY, Suppressed

#: Counts kept of one entity; beyond, those of the oldest days go, which have been written.
MAX_KEPT = 256
#: Rule under which what has no place is counted.
OVERFLOW_RULE = "_overflow"
#: Suppression, kind, rule, and start of the day, µs.
Key = tuple[str, str, str, int]


class SuppressedBook:
    """What suppressions kept back of one entity, by suppression, kind, rule and day. In any order the same.

    By day, because an entity is forgotten that was not heard of for long: what is counted anew must not overwrite what
    was counted before.
    """

    def __init__(self, counts: Iterable[Suppressed] = ()) -> None:
        self._counts: dict[Key, Suppressed] = {
            (each.suppression, each.kind, each.rule, each.day): each for each in counts
        }

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, signals: Iterable[Signal]) -> list[Suppressed]:
        """Count signals of one entity; return each count that changed, once."""
        touched: dict[Key, Suppressed] = {}
        for signal in signals:
            key: Key = (signal.suppressed, signal.kind, signal.rule, signal.time - signal.time % DAY)
            if key not in self._counts and len(self._counts) >= MAX_KEPT:
                key = self._make_room(key)
            known = self._counts.get(key)
            marks = [(signal.time, signal.event_id), *((time, event_id) for time, event_id, _ in signal.more)]
            if known is not None:
                marks.append((known.last_event_time, known.last_event))
            # That of a metric's signal has no id, and is no last event while there is one with an id.
            last_time, last_event = max(marks, key=lambda mark: (bool(mark[1]), mark))
            suppression, kind, rule, day = key
            last = max(signal.time, signal.last)
            touched[key] = self._counts[key] = Suppressed(
                suppression,
                signal.entity,
                kind,
                rule,
                day,
                signal.count + (0 if known is None else known.count),
                signal.time if known is None else min(known.first_seen, signal.time),
                last if known is None else max(known.last_seen, last),
                last_event,
                last_time,
            )
        return list(touched.values())

    def _make_room(self, key: Key) -> Key:
        """Drop counts of days older than the key's; if there are none, return the key of what has no place.

        What was dropped thus never begins anew: a signal of that day finds no older day any more.
        """
        while len(self._counts) >= MAX_KEPT:
            oldest = min(self._counts, key=lambda kept: (kept[3], kept[2] == OVERFLOW_RULE, kept))
            if oldest[3] >= key[3]:
                return (key[0], key[1], OVERFLOW_RULE, oldest[3])
            del self._counts[oldest]
        return key

    def forget(self, before: int) -> None:
        """Drop the counts that did not grow from ``before`` on, µs."""
        self._counts = {key: count for key, count in self._counts.items() if count.last_seen >= before}

    def snapshot(self) -> list[Suppressed]:
        """Return the state as plain data."""
        return list(self._counts.values())
