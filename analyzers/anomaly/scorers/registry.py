"""Find the scorers: a class with a ``name`` in a module of this package is one."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from typing import Any

from analyzers.anomaly import scorers
from analyzers.anomaly.scorers.scorer import Scorer


@cache
def scorer_types() -> dict[str, type[Scorer]]:
    """Return all scorers by name, in order of name.

    >>> list(scorer_types())
    ['deviation', 'gaussian', 'half-spaces', 'light', 'predictive', 'rich', 'windows']
    """
    found: dict[str, type[Scorer]] = {}
    for module in pkgutil.iter_modules(scorers.__path__):
        members = vars(importlib.import_module(f"{scorers.__name__}.{module.name}"))
        for kind in members.values():
            if not (inspect.isclass(kind) and issubclass(kind, Scorer) and kind.__module__.endswith(module.name)):
                continue
            name = vars(kind).get("name")
            if name is None:
                continue
            if name in found:
                raise TypeError(f"two scorers are called {name}: {found[name].__name__}, {kind.__name__}")
            found[name] = kind
    return dict(sorted(found.items()))


def make_scorer(name: str, **settings: Any) -> Scorer:
    """Return a fresh scorer.

    Raises:
        ValueError: no scorer has this name, or it has no such setting; the message names those there are.
    """
    kind = scorer_types().get(name)
    if kind is None:
        raise ValueError(f"no scorer {name!r}; known: {', '.join(scorer_types())}")
    known = inspect.signature(kind).parameters
    if wrong := settings.keys() - known.keys():
        raise ValueError(f"scorer {name} has no setting {min(wrong)!r}; known: {', '.join(known)}")
    return kind(**settings)
