"""Attack scenarios, one module each. A new module with a ``Scenario`` in it is found by itself."""

from __future__ import annotations

import importlib
import pkgutil
from inspect import isabstract

from flows.traffic.scenario import Scenario


def _discover() -> dict[str, Scenario]:
    found: dict[str, Scenario] = {}
    for module in pkgutil.iter_modules(__path__):
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        for item in vars(loaded).values():
            if isinstance(item, type) and issubclass(item, Scenario) and not isabstract(item):
                if item.name in found:
                    raise TypeError(f"two scenarios are named {item.name}")
                found[item.name] = item()
    return dict(sorted(found.items()))


#: All scenarios by name.
SCENARIOS: dict[str, Scenario] = _discover()
