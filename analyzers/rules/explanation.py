"""Why an event meets a rule, or what it lacks: the condition as a tree, each part with the values that it saw.

Explanations go to people and are bounded: values and alternatives are cut, and what was cut is counted. They never
decide: ``RuleSet.match_batch`` does, and the two are tested to agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Literal

import msgspec

from analyzers.rules.gaps import Gap, gaps_of
from analyzers.rules.logsources import Route, routes
from analyzers.rules.nodes import And, Constant, Evidence, Exists, Field, FieldReference, Keyword, Node, Not, Null, Or
from analyzers.rules.rule import LogSource, Rule
from analyzers.rules.selections import Branch, Condition
from analyzers.rules.view import Spellings, View
from state.events import Event, Fields, Kind

#: Characters shown of a value or of what a rule wants.
MAX_TEXT = 160
#: Of them before the place where a long value meets a test.
MAX_BEFORE = 40
#: Values of a field, alternatives of a test and parts of a join that are shown, and gaps that are listed.
MAX_VALUES = 5
MAX_WANTED = 20
MAX_PARTS = 60
MAX_GAPS = 30
#: Gaps that are counted.
MAX_COUNTED = 10_000
#: Field names of the event that are listed where a field is missing.
MAX_NAMES = 80


class Met(msgspec.Struct, frozen=True):
    """The value that met a test, and the test."""

    value: str
    wanted: str


class Part(msgspec.Struct, frozen=True):
    """One part of a condition, judged for one event."""

    #: ``and``, ``or``, ``not`` and ``selection`` have parts; the others are tests.
    kind: Literal["and", "or", "not", "selection", "field", "keywords", "null", "exists", "reference", "constant"]
    met: bool
    #: The selection's name, the field's name, or how the rule puts it: ``1 of selection_*``.
    text: str
    parts: tuple[Part, ...] = ()
    #: Parts that are not shown.
    more_parts: int = 0
    #: What the test wants, alternatives: ``endswith \\cmd.exe``; and how many further ones are not shown.
    wanted: tuple[str, ...] = ()
    more_wanted: int = 0
    #: The field's values in the event, none if it lacks the field; and how many further ones are not shown.
    values: tuple[str, ...] = ()
    more_values: int = 0
    #: Whether the event has the field at all; it may have it without a value that could be compared.
    present: bool = True
    #: What met the test, where something did.
    by: Met | None = None


class Way(msgspec.Struct, frozen=True):
    """One kind of event that the rule's log source means."""

    name: str
    wants: str
    taken: bool


class Source(msgspec.Struct, frozen=True):
    """Whether the rule's log source means the event, and why not."""

    met: bool
    logsource: str
    #: What the event is.
    event: str
    said: str
    ways: tuple[Way, ...]


class Explanation(msgspec.Struct, frozen=True):
    """What one rule makes of one event."""

    matched: bool
    rule: str
    title: str
    path: str
    source: Source
    conditions: tuple[str, ...]
    tree: Part
    #: What keeps the event from meeting the condition; empty if it meets it.
    gaps: tuple[Gap, ...]
    more_gaps: int
    #: The event's fields, where a field was missing: the rule may mean another.
    names: tuple[str, ...] = ()


def explain(rule: Rule, condition: Condition, event: Event, fields: Fields) -> Explanation:
    """Explain what a rule makes of an event with these original fields."""
    source, route = source_of(rule.logsource, event.kind, fields)
    return _explained(rule, condition, source, _view(rule, fields, route))


def explain_fields(rule: Rule, condition: Condition, fields: Fields) -> Explanation:
    """Explain what a rule makes of fields named as the rule names them, of an event of its log source."""
    said = "taken as an event of the rule's log source"
    source = Source(True, str(rule.logsource), "", said, ())
    return _explained(rule, condition, source, _view(rule, fields, None))


def _view(rule: Rule, fields: Fields, route: Route | None) -> View:
    spellings = Spellings(rule.fields)
    spellings.observe(fields)
    return View(fields, spellings, route.aliases if route is not None else {})


def _explained(rule: Rule, condition: Condition, source: Source, view: View) -> Explanation:
    tree = _judge(condition.tree, view)
    every = list(dict.fromkeys(islice(gaps_of(tree), MAX_COUNTED)))
    gaps = every[:MAX_GAPS]
    lacking = any(": no field " in gap.said for gap in gaps)
    return Explanation(
        matched=source.met and tree.met,
        rule=rule.id,
        title=shown(rule.title),
        path=rule.path,
        source=source,
        conditions=tuple(shown(text, 1_000) for text in condition.texts),
        tree=tree,
        gaps=tuple(gaps),
        more_gaps=len(every) - len(gaps),
        names=tuple(shown(name) for name in list(view.fields)[:MAX_NAMES]) if lacking else (),
    )


# --------------------------------------------------------------------------------------------------------- Log source


def source_of(logsource: LogSource, kind: Kind, fields: Fields) -> tuple[Source, Route | None]:
    """Return whether a log source means an event, why not, and the route by which it does."""
    found = routes(logsource)
    ways = tuple(Way(route.name, route.accepts.wants, route.accepts(kind)) for route in found)
    code = f", event id {kind.code}" if kind.code else ""
    channel = f", channel {shown(kind.channel)}" if kind.channel else ""
    told = f"source {shown(kind.source)}{channel}{code}"
    # The first route that takes the kind is the one whose field names hold; so the engine has it.
    route = next((route for route in found if route.accepts(kind)), None)
    if not found:
        said = "no format yields this log source"
    elif route is None:
        said = f"the event is {told}; the rule wants {'; or '.join(way.wants for way in ways)}"
    elif route.holds is not None and not route.holds(fields):
        said = f"{route.name}: the event's own type says that it is another"
        return Source(False, str(logsource), told, said, ways), route
    else:
        return Source(True, str(logsource), told, route.name, ways), route
    return Source(False, str(logsource), told, said, ways), None


# ---------------------------------------------------------------------------------------------------------- The tree


def _judge(branch: Branch, view: View) -> Part:
    if branch.node is not None:
        inner = _test(branch.node, view)
        # A selection shows its tests, and not that they are joined by "and".
        parts, more = (inner.parts, inner.more_parts) if inner.kind == "and" else ((inner,), 0)
        return Part("selection", inner.met, shown(branch.text), parts, more)
    judged = [_judge(part, view) for part in branch.parts]
    met = [part.met for part in judged]
    whole = all(met) if branch.kind == "and" else any(met) if branch.kind == "or" else not met[0]
    if len(judged) > MAX_PARTS:
        judged.sort(key=lambda part: part.met is not (branch.kind == "or"))
    return Part(branch.kind, whole, shown(branch.text), tuple(judged[:MAX_PARTS]), max(0, len(judged) - MAX_PARTS))


def _test(node: Node, view: View) -> Part:
    if isinstance(node, And | Or):
        wanted = isinstance(node, Or)
        children = list(node.parts)
        if len(children) > MAX_PARTS:
            # Met parts of an "or" and failed parts of an "and" say most: they come first where not all are shown.
            children.sort(key=lambda part: part.match(view) is not wanted)
        parts = tuple(_test(part, view) for part in children[:MAX_PARTS])
        kind: Literal["and", "or"] = "or" if wanted else "and"
        text = "any of" if wanted else "all of"
        return Part(kind, node.match(view), text, parts, len(node.parts) - len(parts))
    if isinstance(node, Not):
        return Part("not", node.match(view), "not", (_test(node.part, view),))
    return _leaf(node, view)


def _leaf(node: Node, view: View) -> Part:
    met = node.match(view)
    if isinstance(node, Field):
        return _tests("field", node.name, node, [test.shown for test in node.tests], met, view, view.plain(node.name))
    if isinstance(node, Keyword):
        return _tests("keywords", "any field", node, [test.shown for test in node.tests], met, view, ())
    if isinstance(node, Null):
        return _tests("null", node.name, node, ["null, or no such field"], met, view, view.plain(node.name))
    if isinstance(node, Exists):
        wanted = "the field, with any value" if node.expected else "no such field, or null"
        return _tests("exists", node.name, node, [wanted], met, view, view.plain(node.name))
    if isinstance(node, FieldReference):
        how = "contains" if node.starts and node.ends else "startswith" if node.starts else "endswith"
        how = how if node.starts or node.ends else "equals"
        other = view.plain(node.other)
        values = f"which is {' or '.join(_quoted(other)[0])}" if other else "which the event lacks"
        text = f"{how} field {node.other}, {values}"
        return _tests("reference", node.name, node, [text], met, view, view.plain(node.name))
    if isinstance(node, Constant):
        return Part("constant", met, "always" if node.value else "never")
    raise TypeError(f"a condition of unknown kind: {type(node).__name__}")


def _tests(
    kind: Literal["field", "keywords", "null", "exists", "reference"],
    name: str,
    node: Node,
    wanted: Sequence[str],
    met: bool,
    view: View,
    values: Sequence[str],
) -> Part:
    by: Met | None = None
    if met and kind in ("field", "keywords"):
        evidence: Evidence = []
        node.explain(view, evidence)
        if evidence:
            _, test, value = evidence[0]
            by = Met(_excerpt(value, test), shown(test))
    quoted, more = _quoted(values)
    return Part(
        kind,
        met,
        shown(name),
        wanted=tuple(shown(text) for text in wanted[:MAX_WANTED]),
        more_wanted=max(0, len(wanted) - MAX_WANTED),
        values=quoted,
        more_values=more,
        present=kind == "keywords" or view.exists(name),
        by=by,
    )


def _quoted(values: Sequence[str]) -> tuple[tuple[str, ...], int]:
    return tuple(f'"{shown(value)}"' for value in values[:MAX_VALUES]), max(0, len(values) - MAX_VALUES)


def _excerpt(value: str, test: str) -> str:
    """Return the part of a long value where it meets a test, as far as the test is a plain text."""
    how, _, literal = test.partition(" ")
    folded = value.casefold()
    at = folded.rfind(literal.casefold()) if how == "endswith" else folded.find(literal.casefold())
    if len(value) <= MAX_TEXT or at + len(literal) < MAX_TEXT:
        return shown(value)
    return "…" + shown(value[max(0, at - MAX_BEFORE) :], MAX_TEXT - 1)


def shown(text: str, limit: int = MAX_TEXT) -> str:
    """Return a text bounded to so many characters, with whatever could disturb a line or a screen escaped.

    >>> shown("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
