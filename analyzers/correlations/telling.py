"""From a correlation that holds to the signal about it: on whom, and why, in one line."""

from __future__ import annotations

from collections.abc import Sequence

from analyzers.correlations.groups import Holding
from analyzers.correlations.hits import Cite
from analyzers.rules.correlation import Correlation, number
from state.alerts import FLEET, Signal

#: Longest value of a group, and longest reason, in characters.
MAX_SHOWN = 80
MAX_REASON = 600


def signal_of(
    correlation: Correlation, group: Sequence[str], holding: Holding, last: Cite, version: str, exact: bool
) -> Signal:
    """Return what a correlation that holds says; ``last`` is the event by which it does, ``group`` its values."""
    rule = correlation.rule
    if holding.host:
        entity = holding.host
    elif group and not group[0].startswith("_"):
        entity = group[0].casefold()
    else:
        entity = FLEET
    time, event_id, raw = last
    return Signal(
        kind="correlation",
        rule=rule.id,
        name=rule.title,
        level=rule.level,
        entity=entity,
        time=time,
        reason=reason(correlation, group, holding, exact),
        techniques=rule.techniques,
        tactics=rule.tactics,
        event_id=event_id,
        raw=raw,
        versions=(("rules", version),),
        more=tuple(cite for cite in holding.cites if cite[1] != event_id),
    )


def reason(correlation: Correlation, group: Sequence[str], holding: Holding, exact: bool = True) -> str:
    """Return why it holds: how much of what within how long, for which group."""
    titles = [_shown(source.title) for source in correlation.sources]
    field = " and ".join(_shown(name) for name in correlation.fields)
    asked = " and ".join(map(str, correlation.tests))
    match correlation.type:
        case "event_count":
            said = f"{holding.amount:,} events within {correlation.span}"
        case "value_count":
            said = f"{holding.amount:,} different values of {field} within {correlation.span}"
        case "value_sum":
            said = f"{field} adds up to {number(holding.amount)} within {correlation.span} ({asked})"
        case "value_avg":
            said = f"{field} is {number(holding.amount)} on average within {correlation.span} ({asked})"
        case "value_median":
            said = f"{field} has the median {number(holding.amount)} within {correlation.span} ({asked})"
        case "value_percentile":
            value = number(holding.amount)
            said = f"percentile {correlation.percentile} of {field} is {value} within {correlation.span} ({asked})"
        case _:
            order = " in this order" if correlation.type == "temporal_ordered" else ""
            count = "" if holding.amount >= len(titles) else f"{holding.amount} of "
            said = f"{count}{len(titles)} rules met within {correlation.span}{order}"
    if group:
        said += " for " + ", ".join(
            f"{_shown(name)} {_shown(value)}" for name, value in zip(correlation.group_by, group, strict=True)
        )
    if not exact:
        said += " (not exact: more came than memory holds)"
    said += f": {'; '.join(titles)}"
    return said if len(said) <= MAX_REASON else said[: MAX_REASON - 1] + "…"


def _shown(text: str) -> str:
    cut = text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in cut)
