"""The flow's second input: what is told through the control topic, to every shard and to every worker."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream

from analyzers.control import Change, Told
from operators.batch import ShardItem
from operators.collect import SHARD_KEYS
from operators.control import ControlSource, Ears
from state.control import Setting
from state.events import Rejected


def listen(
    flow: Dataflow, control: ControlSource, shards: Stream[tuple[str, ShardItem]]
) -> tuple[Stream[Any], list[Stream[Any]]]:
    """Read the control topic; return what goes to align, and what goes to the sinks (messages that are refused).

    Stateless steps look into ``control.timeline``, which each worker keeps up to date by itself.
    """
    told = op.input("control", flow, control)
    changes = op.filter_map("changes", told, only_changes)
    to_align = op.merge("to_align", shards, op.flat_map("changes_to_shards", changes, to_shards))
    heard: Stream[Any] = op.input("control_heard", flow, Ears(control))
    refused = op.filter_map("control_refused", told, only_refused)
    return to_align, [heard, refused]


def only_changes(item: Told | Rejected) -> Change | None:
    """Keep the changes of live settings."""
    if isinstance(item, Told) and isinstance(item.message, Setting):
        return Change(item.message, item.offset)
    return None


def only_refused(item: Told | Rejected) -> Rejected | None:
    """Keep what is no control message, for the dead-letter topic."""
    return item if isinstance(item, Rejected) else None


def to_shards(change: Change) -> Iterable[tuple[str, Change]]:
    """Tell every shard."""
    return [(key, change) for key in SHARD_KEYS]
