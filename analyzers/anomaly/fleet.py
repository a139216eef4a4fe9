"""The fleet as a whole: what of its hosts' windows is a shift of all, and whether it lastingly became less usual."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from analyzers.anomaly.barrier import END, Barrier, Complete, Report, WindowClosed
from analyzers.anomaly.budget_fleet import FleetShift
from analyzers.anomaly.drift import UnusualDrift
from analyzers.anomaly.settings import ShiftSettings
from analyzers.anomaly.telling import shift_signal
from analyzers.metrics import MetricSet
from state.alerts import FLEET, Level, Signal, iso


class _Saved(msgspec.Struct):
    version: int
    barrier: bytes
    shift: bytes
    drift: bytes


class Fleet:
    """Judge each window of all hosts together. ``add`` what shards and hosts say, ``release`` what is judged.

    Args:
        shards: how many shards close windows.
        metrics: the metric set in force.
        settings: what makes a shift.
    """

    VERSION = 1

    def __init__(self, shards: int, metrics: MetricSet, settings: ShiftSettings) -> None:
        self._metrics = metrics
        self._barrier = Barrier(shards)
        self._shift = FleetShift(settings)
        self._drift = UnusualDrift()
        #: Windows of hosts that shifts explained, since this was last read.
        self.absorbed = 0
        self._closer = shards
        self._ended = False

    def add(self, item: WindowClosed | Report) -> None:
        """Take in that a shard closed a window, or what a host says of one."""
        if isinstance(item, WindowClosed):
            self._barrier.close(item)
        else:
            self._barrier.report(item)

    def release(self) -> Iterator[Signal | Report | WindowClosed]:
        """Return the signals of the fleet, and what is left for the hosts' own alarms, in order of time.

        After each window comes that it is closed, and how much of it is left for alarms: a shard more, for who waits
        for these as well.
        """
        for window in self._barrier.release():
            left = 0
            for item in self._judge(window):
                left += isinstance(item, Report)
                yield item
            yield WindowClosed(self._closer, window.start, 0, left)
        if self._barrier.ended and not self._ended:
            self._ended = True
            yield WindowClosed(self._closer, END, 0)

    def _judge(self, window: Complete) -> Iterator[Signal | Report]:
        said = {report.host: report for report in window.reports}
        found = [report.unusual for report in window.reports if report.unusual is not None]
        # Also of windows in which nothing is unusual, for that is what ends a shift.
        result = self._shift.judge(window.start, found, window.hosts)
        self.absorbed += len(result.absorbed)
        for shift in result.shifts:
            if shift.first:
                yield shift_signal(self._metrics, shift)
        for unusual in result.alone:
            yield msgspec.structs.replace(said[unusual.host], unusual=unusual)
        # One host alone is no matter of the fleet, however long it lasts and however small the fleet is.
        drift = self._drift.learn(max(len(result.alone) - 1, 0) / max(window.hosts, 1))
        if drift is not None:
            yield Signal(
                kind="anomaly",
                rule="fleet:drift",
                name="Hosts are lastingly less usual than they were",
                level=Level.low,
                entity=FLEET,
                time=window.start,
                reason=(
                    f"the share of hosts with an unusual minute rose from {drift.before:.2%} to {drift.after:.2%} by "
                    f"{iso(window.start)} and stays there: what is usual has changed, or much goes on at once"
                ),
                versions=(("metrics", self._metrics.version),),
            )

    def snapshot(self) -> bytes:
        """Return the state as versioned bytes."""
        return msgspec.msgpack.encode(
            _Saved(self.VERSION, self._barrier.snapshot(), self._shift.snapshot(), self._drift.snapshot())
        )

    @classmethod
    def restore(cls, shards: int, metrics: MetricSet, settings: ShiftSettings, state: bytes) -> Fleet:
        """Return one that goes on from a snapshot.

        Raises:
            ValueError: the snapshot is of another version.
        """
        saved = msgspec.msgpack.decode(state, type=_Saved)
        if saved.version != cls.VERSION:
            raise ValueError(f"fleet: snapshot version {saved.version} cannot be read")
        fleet = cls(shards, metrics, settings)
        fleet._barrier = Barrier.restore(shards, saved.barrier)
        fleet._shift = FleetShift.restore(settings, saved.shift)
        fleet._drift = UnusualDrift.restore(saved.drift)
        return fleet
