"""How much is lost if an event is decided wrongly, and how hard it is to decide. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

from analyzers.router.candidate import Candidate, Context, Reading
from state.alerts import Level, Signal

#: What a rule match says by itself, by its level: chance that it matters.
_LEVELS = {Level.informational: 0.02, Level.low: 0.08, Level.medium: 0.3, Level.high: 0.6, Level.critical: 0.85}
#: What certainty of the text judge, an anomalous window, and a host at high risk say.
_TEXT, _ANOMALY, _RISK = 0.5, 0.3, 0.4
#: Risk of which half of ``_RISK`` counts: that of an incident of level medium.
_HALF_RISK = 5.0
#: What a layer of encoding says, and how many count; it takes effort to hide a text, and nobody hides without reason.
_LAYER, _LAYERS = 0.05, 3
#: Characters from which a text is long: of longer ones the judge reads several windows.
LONG = 512


def worst_rule(signals: Iterable[Signal]) -> Level | None:
    """Return the highest level of the rules among signals."""
    return max((signal.level for signal in signals if signal.kind == "rule"), default=None)


def stakes(candidate: Candidate, context: Context, criticality: float) -> float:
    """Return how much is lost if this is decided wrongly, 0 to 1.

    Reasons are taken as independent, each a chance that it matters; the chance that none does is their product. A
    rule counts less the more often it matched on this host, a text the more often it was seen there. ``criticality``
    is how often the loss would be an ordinary host's.
    """
    nothing = 1.0
    for signal in candidate.signals:
        if signal.kind == "rule":
            noise = max(context.noise.get(signal.rule, 0.0), 0.0)
            nothing *= 1 - _LEVELS[signal.level] / (1 + noise) ** 0.5
    reading = candidate.reading
    if reading is not None:
        text = _TEXT * _share(reading.malicious) + _LAYER * min(max(reading.layers, 0), _LAYERS)
        nothing *= 1 - text * (0.5 + 0.5 / (1 + max(context.seen, 0.0)))
    nothing *= 1 - _ANOMALY * _share(context.anomaly)
    risk = max(context.risk, 0.0)
    nothing *= 1 - _RISK * (risk / (risk + _HALF_RISK))
    return round(1 - math.pow(nothing, criticality), 4)


def complexity(reading: Reading, low: float, high: float) -> float:
    """Return how hard a text is for the text judge, 0 (plain) to 1.

    How near its probability is to the middle of what is unsettled, and what hides it: layers of encoding, length.
    """
    half = max((high - low) / 2, 1e-6)
    near = max(0.0, 1 - abs(reading.malicious - (low + half)) / (2 * half))
    hidden = min(max(reading.layers, 0), _LAYERS) / _LAYERS
    plain = (1 - 0.6 * near) * (1 - 0.5 * hidden) * (1 - (0.2 if reading.length > LONG else 0.0))
    return round(1 - plain, 4)


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0)
