"""Turn Sigma rules into SQL by pySigma's SQLite backend, in the form that Zircolite reads.

Run by ``benchmarks.peers`` with the Python of a virtual environment that has the packages; imports nothing of Winnow.
One argument: a JSON file naming ``rules`` (Sigma files), ``converted`` and ``result`` (the JSON files to write).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from sigma.backends.sqlite import sqliteBackend
from sigma.collection import SigmaCollection
from sigma.pipelines.sysmon import sysmon_pipeline
from sigma.pipelines.windows import windows_logsource_pipeline


def convert(paths: list[str]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the rules with their SQL, and what could not be converted: path to reason."""
    backend = sqliteBackend(sysmon_pipeline() + windows_logsource_pipeline())
    rules: list[dict[str, Any]] = []
    refused: dict[str, str] = {}
    for path in paths:
        try:
            parsed = SigmaCollection.from_yaml(Path(path).read_text(encoding="utf-8"))
            rules += json.loads(backend.convert(parsed, output_format="zircolite"))
        except Exception as error:  # Whatever a rule does to the backend, the others are still to be measured.
            refused[path] = f"{type(error).__name__}: {error}"
    return rules, refused


if __name__ == "__main__":
    job = json.loads(Path(sys.argv[1]).read_text())
    began = time.process_time()
    rules, refused = convert(job["rules"])
    seconds = time.process_time() - began
    Path(job["converted"]).write_text(json.dumps(rules))
    Path(job["result"]).write_text(json.dumps({"rules": len(rules), "refused": refused, "seconds": seconds}))
