"""Other Sigma engines, each in a virtual environment of its own, over the same lines and rules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def measure(lines: Sequence[bytes], rules: Sequence[Path], folder: Path) -> dict[str, Any]:
    """Return what each peer did."""
    return {}
