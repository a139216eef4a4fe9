"""What was told through the control topic, by event time: which value of a live setting holds when, and which
suppressions there are. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import structs
from pydantic import BaseModel, ValidationError

from analyzers.alerts import AlertSettings
from analyzers.anomaly.settings import AnomalySettings, Tuning
from analyzers.host import HostEvents
from analyzers.router.candidate import Candidate
from analyzers.suppressions import Suppressions
from state.alerts import Level
from state.control import Control, Refusal, Setting, Suppression, decode, refuse

#: Settings that may be changed while the flow runs, to the model that says what their values may be.
LIVE: dict[str, type[BaseModel]] = {
    "anomaly.per_day": AnomalySettings,
    "anomaly.least": AnomalySettings,
    "anomaly.mute_minutes": AnomalySettings,
    "alerts.min_level": AlertSettings,
}
#: Settings that are no more, to what is set instead.
REPLACED = {
    "host.deviations": "anomaly.least, in decades of rarity and not in standard deviations",
    "host.mute_windows": "anomaly.mute_minutes",
}
#: Changes of one setting that are kept; further ones are refused.
MAX_CHANGES = 10_000


def check(name: str, value: Any) -> Refusal | None:
    """Say what is wrong with a new value of a setting, if anything; ``None`` as value means the configured one."""
    model = LIVE.get(name)
    if model is None:
        return refuse("unknown_setting", unknown(name))
    if value is None:
        return None
    try:
        model.model_validate({name.partition(".")[2]: value}, strict=True)
    except ValidationError as error:
        return refuse("bad_value", f"setting {name}: {error.errors()[0]['msg']}")
    return None


def unknown(name: str) -> str:
    """Say that a setting cannot be changed live, and what can."""
    if name in REPLACED:
        return f"{name} is no more; it is now {REPLACED[name]}"
    return f"{name} cannot be changed live; what can: {', '.join(LIVE)}"


class Told(msgspec.Struct, frozen=True):
    """A control message and the offset at which it stands in its topic, which orders messages of one event time."""

    message: Control
    offset: int


class Change(msgspec.Struct, frozen=True):
    """A setting told, and the offset at which it stands."""

    setting: Setting
    offset: int

    @property
    def order(self) -> tuple[int, int]:
        """Return the order of changes: event time from which they hold, then offset."""
        return (self.setting.from_time, self.offset)


class Timeline:
    """Every change of every live setting. The same whatever order changes come in, and however often.

    Of several changes that hold from one event time, the one written last wins.

    >>> change = Setting(version=1, id="c-" + "0" * 20, author="ann", reason="noise", written_at=2 * 10**15,
    ...                  from_time=10**15, name="anomaly.least", value=4.0)
    >>> timeline = Timeline([Change(change, 0)])
    >>> timeline.value("anomaly.least", 10**15 - 1), timeline.value("anomaly.least", 10**15)
    (None, 4.0)
    """

    def __init__(self, changes: Sequence[Change] = ()) -> None:
        self._changes: dict[str, list[Change]] = {}
        self._orders: dict[str, list[tuple[int, int]]] = {}
        #: What is not wanted as an alert.
        self.suppressions = Suppressions()
        for change in changes:
            self.add(change)

    def __bool__(self) -> bool:
        """Say whether any setting was ever changed."""
        return bool(self._changes)

    def add(self, change: Change) -> bool:
        """Take in a change, unless it is known; say whether there was room for it."""
        name = change.setting.name
        orders = self._orders.setdefault(name, [])
        place = bisect_left(orders, change.order)
        if place < len(orders) and orders[place] == change.order:
            return True
        if len(orders) >= MAX_CHANGES:
            return False
        orders.insert(place, change.order)
        self._changes.setdefault(name, []).insert(place, change)
        return True

    def at(self, name: str, time: int) -> Change | None:
        """Return the change in force at an event time, µs."""
        orders = self._orders.get(name)
        if not orders:
            return None
        place = bisect_right(orders, (time, 2**63))
        return self._changes[name][place - 1] if place else None

    def after(self, name: str, time: int) -> Change | None:
        """Return the next change to come into force after an event time, µs."""
        orders = self._orders.get(name, [])
        place = bisect_right(orders, (time, 2**63))
        return self._changes[name][place] if place < len(orders) else None

    def value(self, name: str, time: int) -> Any:
        """Return the value in force at an event time, µs; ``None``: the configured one."""
        change = self.at(name, time)
        return None if change is None else change.setting.value

    def history(self, name: str | None = None) -> list[Change]:
        """Return the changes of one setting, or of all, in the order in which they hold."""
        names = list(self._changes) if name is None else [name]
        return sorted((c for n in names for c in self._changes.get(n, [])), key=lambda change: change.order)

    def copy(self) -> Timeline:
        """Return a timeline of its own with the same changes and suppressions."""
        other = Timeline()
        other.suppressions = self.suppressions.copy()
        other._changes = {name: list(changes) for name, changes in self._changes.items()}
        other._orders = {name: list(orders) for name, orders in self._orders.items()}
        return other

    def lowest(self, time: int) -> Level | None:
        """Return the least level that alerts at an event time, µs; ``None``: the configured one."""
        value = self.value("alerts.min_level", time)
        return None if value is None else Level[value]

    def apply(self, item: HostEvents | Candidate) -> HostEvents | Candidate:
        """Return what the host step is given, with the settings that hold at its event time.

        That of a window is its start: a change holds from the first window that begins at or after it.
        """
        if isinstance(item, Candidate):
            return structs.replace(item, lowest=self.lowest(item.time))
        tuning = Tuning(*(self.value(f"anomaly.{name}", item.start) for name in Tuning.__struct_fields__))
        return structs.replace(item, tuning=tuning)


def read(raw: bytes | None, offset: int, timeline: Timeline) -> Told | Refusal:
    """Return the control message that stands at an offset, or why it is none.

    A setting or a suppression enters the timeline.
    """
    message = decode(raw)
    if isinstance(message, Refusal):
        return message
    if isinstance(message, Setting):
        wrong = check(message.name, message.value)
        if wrong is not None:
            return wrong
        if not timeline.add(Change(message, offset)):
            return refuse("too_many", f"{message.name} has been changed {MAX_CHANGES:,} times; no more are kept")
    if isinstance(message, Suppression):
        wrong = timeline.suppressions.add(message, offset)
        if wrong is not None:
            return wrong
    return Told(message, offset)
