"""The ledger: what became of every offset that was read.

One row a (topic, partition, offset // 10,000), counted in recovered state and written by SET, so that a restart repeats
the same numbers. ``consumed = rejected + skipped + rule + bert + llm`` once nothing is pending.
"""

from __future__ import annotations

import msgspec

#: Offsets a ledger row spans.
SPAN = 10_000


class LedgerRow(msgspec.Struct, gc=False):
    """Counts for one span of offsets of one partition."""

    topic: str
    partition: int
    bucket: int
    #: Messages read; each of them is rejected, skipped or decided in exactly one lane.
    consumed: int = 0
    #: Messages that are no event; they went to the dead-letter topic.
    rejected: int = 0
    #: Header and comment lines of a file format (Zeek TSV's ``#fields``).
    skipped: int = 0
    #: Offsets that do not exist (compaction, transactions).
    absent: int = 0
    #: Events decided in each lane.
    rule: int = 0
    bert: int = 0
    llm: int = 0
    #: Events left out of windows: older than their partition's watermark, or too far ahead of the clock.
    late: int = 0
    future: int = 0
    #: Events by source type.
    sources: dict[str, int] = {}
    #: Versions in force: rule set, metric set.
    versions: dict[str, str] = {}
    #: Offsets that retention removed before they were read.
    lost: int = 0
    #: Which version of the rules judged what: the first offset of each, until that of the next.
    rules: dict[int, str] = {}
