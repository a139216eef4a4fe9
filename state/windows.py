"""What the flow writes about a host's closed window. Times are µs since the epoch, UTC."""

from __future__ import annotations

import msgspec


class HostWindow(msgspec.Struct, frozen=True, gc=False):
    """The metrics of one host in one closed window, with their anomaly scores."""

    host: str
    #: Start of the window, µs.
    start: int
    #: Length of the window, seconds: 60, or a roll-up's 600 or 3,600.
    seconds: int
    #: Metric names, sorted; only metrics seen on this host.
    metrics: tuple[str, ...]
    values: tuple[float, ...]
    #: Anomaly score of each value, 0 to 1; -1 while the scorer is still warming up, and in roll-ups.
    scores: tuple[float, ...]


class HostSeen(msgspec.Struct, frozen=True, gc=False):
    """Totals of a host since the flow first saw it. Written by SET from recovered state."""

    host: str
    events: int
    first_seen: int
    last_seen: int
    #: From when on its metrics tell anomalies, µs: until then it is new, and silent. 0 before its first window.
    judged_from: int = 0
