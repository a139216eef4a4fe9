"""The flow's third input: what the LLM's process answered, to the host that it is about."""

from __future__ import annotations

from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream

from operators.host import HostIn
from operators.verdicts import VerdictSource
from state.escalations import LlmVerdict
from state.events import Rejected


def answer(
    flow: Dataflow, verdicts: VerdictSource, items: Stream[tuple[str, HostIn]]
) -> tuple[Stream[tuple[str, HostIn]], Stream[Any]]:
    """Read the verdicts; return what goes to hosts, and what goes to the sinks (messages that are refused)."""
    answered = op.input("verdicts", flow, verdicts)
    to_hosts = op.merge("to_hosts", items, op.filter_map("verdicts_by_host", answered, by_host))
    return to_hosts, op.filter_map("verdicts_refused", answered, only_refused)


def by_host(item: LlmVerdict | Rejected) -> tuple[str, HostIn] | None:
    """Key a verdict by its host."""
    return (item.host, item) if isinstance(item, LlmVerdict) else None


def only_refused(item: LlmVerdict | Rejected) -> Rejected | None:
    """Keep what is no verdict, for the dead-letter topic."""
    return item if isinstance(item, Rejected) else None
