"""Where results go. A sink is one module: a Bytewax ``DynamicSink`` that takes every ``Out`` and writes what it is for."""

from analyzers.alerts import AlertUpdate
from state.events import Rejected
from state.ledger import LedgerRow
from state.windows import HostSeen, HostWindow

#: Everything the flow puts out.
Out = AlertUpdate | HostWindow | HostSeen | LedgerRow | Rejected

__all__ = ["Out"]
