"""Anomalies as signals: of one host within its budget, and of the whole fleet."""

from __future__ import annotations

import msgspec

from analyzers.anomaly.barrier import Report
from analyzers.anomaly.budget import Alarm, Verdict
from analyzers.anomaly.budget_anomaly import Anomaly, Reading
from analyzers.anomaly.budget_fleet import Shift
from analyzers.anomaly.settings import AnomalySettings
from analyzers.metrics import Meaning, MetricSet
from state.alerts import FLEET, Level, Signal


def meaning_of(metrics: MetricSet, reading: Reading) -> Meaning:
    """Return what a reading of a metric means.

    Raises:
        ValueError: it means nothing.
    """
    metric = metrics.metrics[metrics.names.index(reading.metric)]
    meaning = metric.dip if reading.side == "dip" else metric.peak
    if meaning is None:
        raise ValueError(f"metric {reading.metric} has no meaning of a {reading.side}")
    return meaning


def shift_signal(metrics: MetricSet, shift: Shift) -> Signal:
    """Return a shift of the fleet as a signal: level and techniques are those of its lead, at most medium."""
    meaning = meaning_of(metrics, shift.lead)
    return Signal(
        kind="anomaly",
        rule=f"fleet:{shift.lead.metric}:{shift.lead.side}",
        name=f"Many hosts at once: {meaning.name}",
        level=min(meaning.severity, Level.medium),
        entity=FLEET,
        time=shift.time,
        reason=shift.text(),
        techniques=meaning.techniques,
        tactics=meaning.tactics,
        versions=(("metrics", metrics.version),),
    )


class _Saved(msgspec.Struct):
    version: int
    rule: str
    alarm: bytes


class HostAlarm:
    """What a host's unusual windows are worth saying, as signals. ``judge`` them in order of time, once shifts are out.

    What is added to an anomaly is a signal of its rule, opened when it was: the two are one alert.
    """

    VERSION = 1

    def __init__(self, host: str, metrics: MetricSet, settings: AnomalySettings) -> None:
        self._metrics = metrics
        self._settings = settings
        self._alarm = Alarm(host, settings)
        #: Of the anomaly that others are added to.
        self._rule = ""
        #: What became of the last window.
        self.verdict: Verdict | None = None

    def judge(self, report: Report) -> Signal | None:
        """Return what a window is worth saying, if anything."""
        if report.unusual is None:
            return None
        self._alarm.settings = report.tuning.of(self._settings) if report.tuning else self._settings
        self.verdict = verdict = self._alarm.judge(report.unusual)
        return None if verdict.anomaly is None else self._say(verdict, verdict.anomaly)

    def _say(self, verdict: Verdict, anomaly: Anomaly) -> Signal:
        meanings = [meaning_of(self._metrics, reading) for reading in anomaly.passed]
        if verdict.status == "alarm" or not self._rule:
            self._rule = f"{anomaly.lead.metric}:{anomaly.lead.side}"
        return Signal(
            kind="anomaly",
            rule=self._rule,
            name=meanings[0].name,
            level=min(max(meaning.severity for meaning in meanings), Level.medium),
            entity=anomaly.host,
            time=anomaly.time,
            opened=anomaly.opened,
            reason=anomaly.text(),
            techniques=tuple(dict.fromkeys(t for meaning in meanings for t in meaning.techniques)),
            tactics=tuple(dict.fromkeys(t for meaning in meanings for t in meaning.tactics)),
            versions=(("metrics", self._metrics.version),),
        )

    def snapshot(self) -> bytes:
        """Return the state as versioned bytes."""
        return msgspec.msgpack.encode(_Saved(self.VERSION, self._rule, self._alarm.snapshot()))

    @classmethod
    def restore(cls, metrics: MetricSet, settings: AnomalySettings, state: bytes) -> HostAlarm:
        """Return one that goes on from a snapshot.

        Raises:
            ValueError: the snapshot is of another version.
        """
        saved = msgspec.msgpack.decode(state, type=_Saved)
        if saved.version != cls.VERSION:
            raise ValueError(f"alarm of a host: snapshot version {saved.version} cannot be read")
        alarm = Alarm.restore(settings, saved.alarm)
        restored = cls(alarm.host, metrics, settings)
        restored._alarm, restored._rule = alarm, saved.rule
        return restored
