"""Where results go. A sink is one module: a ``Sink`` that is given every ``Out`` and writes what it is for."""

from typing import ClassVar

from bytewax.outputs import DynamicSink

from analyzers.alerts import AlertUpdate
from state.audits import Audited
from state.escalations import Escalated
from state.events import Rejected
from state.incidents import IncidentUpdate
from state.ledger import LedgerRow
from state.suppressions import Suppressed
from state.windows import HostSeen, HostWindow

#: Everything the flow puts out.
Out = AlertUpdate | IncidentUpdate | HostWindow | HostSeen | LedgerRow | Rejected | Escalated | Suppressed | Audited


class Sink(DynamicSink[Out]):
    """A place that results go to. Delivery is at least once, by deterministic ids."""

    #: Step id of the sink. Stored data.
    name: ClassVar[str]


__all__ = ["Out", "Sink"]
