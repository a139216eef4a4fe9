"""What correlations need of a match: the values of the fields that they group by and count."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

from analyzers.rules.correlation import Correlation
from analyzers.rules.linking import Feeding, feedings
from analyzers.rules.logsources import routes
from analyzers.rules.rule import LogSource, Rule
from analyzers.rules.view import Aliases, Spellings, View, texts
from state.events import Event, Fields, Kind

#: Longest value that is told apart as it is, characters; of a longer one the beginning and a hash are.
MAX_VALUE = 256
#: ECS names that every event has, whatever its format calls them; its own fields come first.
_TYPED: Mapping[str, Callable[[Event], str]] = {
    "host.name": lambda event: event.host,
    "user.name": lambda event: event.user,
    "source.ip": lambda event: event.source_ip,
    "source.port": lambda event: str(event.source_port or ""),
    "destination.ip": lambda event: event.destination_ip,
    "destination.port": lambda event: str(event.destination_port or ""),
}
_MAX_ROUTES = 8_192


class Feeds:
    """The rules of a set that correlations refer to.

    >>> Feeds(()).get("any") is None, bool(Feeds(()))
    (True, False)
    """

    def __init__(self, correlations: Sequence[Correlation]) -> None:
        self._feedings = feedings(correlations)
        self._spellings = Spellings(name for each in self._feedings.values() for name in each.names)
        self._aliases: dict[tuple[LogSource, Kind], Aliases] = {}

    def __bool__(self) -> bool:
        """Say whether there is any correlation."""
        return bool(self._feedings)

    @property
    def silent(self) -> frozenset[str]:
        """Return the ids of the rules that are only referred to."""
        return frozenset(rule for rule, feeding in self._feedings.items() if feeding.silent)

    def get(self, rule: str) -> Feeding | None:
        """Return what is to be known of matches of a rule; None if no correlation refers to it."""
        return self._feedings.get(rule)

    def read(self, feeding: Feeding, rule: Rule, event: Event, fields: Fields) -> dict[str, str]:
        """Return the values that correlations need of an event that met a rule, as text; what it lacks is left out."""
        self._spellings.observe(fields)
        view = View(fields, self._spellings, self._aliases_of(rule.logsource, event.kind))
        found: dict[str, str] = {}
        for name in feeding.names:
            value = ", ".join(texts(view.value(name)))
            if not value and name in _TYPED:
                value = _TYPED[name](event)
            if value:
                found[name] = bounded(value)
        return found

    def _aliases_of(self, source: LogSource, kind: Kind) -> Aliases:
        known = self._aliases.get((source, kind))
        if known is None:
            if len(self._aliases) >= _MAX_ROUTES:
                self._aliases.clear()
            route = next((route for route in routes(source) if route.accepts(kind)), None)
            known = self._aliases[source, kind] = route.aliases if route is not None else {}
        return known


def bounded(value: str) -> str:
    """Return a value of at most MAX_VALUE characters; two that differ still do."""
    if len(value) <= MAX_VALUE:
        return value
    digest = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{value[: MAX_VALUE - 17]}…{digest}"
