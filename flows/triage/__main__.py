"""``python -m flows.triage``: the lane with the settings that the environment holds, as the demo starts it."""

from __future__ import annotations

import logging
import sys

from flows.cluster import worker_place
from flows.settings import SettingsError
from flows.triage.process import check, triage
from flows.usage import UsageError
from state.postgres import DatabaseError


def main() -> int:
    """Run the lane; return the exit status, 2 if the set-up is wrong."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    _, settings = worker_place()
    try:
        check(settings)
        return triage(settings)
    except (UsageError, SettingsError, DatabaseError) as error:
        print(f"winnow: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
