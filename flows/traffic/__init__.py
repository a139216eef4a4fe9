"""Seeded telemetry of an imagined company, in real formats, with labelled attacks mixed in.

``Traffic(seed, start, settings).messages(until)`` yields messages in order of event time; ``producer`` sends them to
Kafka, ``files`` writes them down. What a message truly is travels beside it, never inside.
"""

from flows.traffic.files import Written, write_files
from flows.traffic.fleet import Fleet, Host
from flows.traffic.message import BENIGN, Message
from flows.traffic.producer import Produced, produce
from flows.traffic.scenario import Scenario
from flows.traffic.scenarios import SCENARIOS
from flows.traffic.schedule import Traffic
from flows.traffic.settings import Planned, TrafficSettings

__all__ = [
    "BENIGN",
    "SCENARIOS",
    "Fleet",
    "Host",
    "Message",
    "Planned",
    "Produced",
    "Scenario",
    "Traffic",
    "TrafficSettings",
    "Written",
    "produce",
    "write_files",
]
