"""Deterministic ids: the same events give the same ids, live and in replay, whatever the number of workers."""

from __future__ import annotations

import hashlib


def alert_id(kind: str, rule: str, entity: str, window_start: int) -> str:
    """Return the id of the alert of ``rule`` on ``entity`` in the grouping window that starts at ``window_start`` (µs).

    No event id is inside, so that repeats of one attack fall on one alert.

    >>> alert_id("rule", "abc", "web-1", 0)
    'a-3aa9edac1b42c466b786'
    """
    return "a-" + _digest(kind, rule, entity, str(window_start), size=10)


def incident_id(first_alert: str, minute: int) -> str:
    """Return the id of the incident that began with the alert ``first_alert`` in the minute from ``minute`` on (µs).

    The minute is in it because an alert of an hour may have a part in one incident and begin the next.

    >>> incident_id("a-3aa9edac1b42c466b786", 0)
    'i-a97745ca1f58f828572d'
    """
    return "i-" + _digest(first_alert, str(minute), size=10)


def suppressed_id(suppression: str, entity: str, kind: str, rule: str, day: int) -> str:
    """Return the id of what a suppression kept back of an entity, kind and rule on the day that starts at ``day`` (µs).

    >>> suppressed_id("c-00", "web-1", "rule", "abc", 0)[:2]
    's-'
    """
    return "s-" + _digest(suppression, entity, kind, rule, str(day), size=16)


def shard_of(host: str, shards: int) -> int:
    """Return the shard of a host. Stable across processes and versions: it is stored data.

    >>> shard_of("web-1", 32) == shard_of("web-1", 32)
    True
    """
    return int.from_bytes(hashlib.blake2b(host.encode(), digest_size=4).digest(), "big") % shards


def _digest(*parts: str, size: int) -> str:
    h = hashlib.blake2b(digest_size=size)
    for part in parts:
        data = part.encode()
        h.update(len(data).to_bytes(4, "big"))
        h.update(data)
    return h.hexdigest()
