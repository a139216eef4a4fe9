"""``winnow bench incidents --citations`` says so when what an incident cites is not there."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.incidents_cited import resolve

LINE = '{"timestamp":"2026-01-01T00:00:00Z","host":"%s","event_type":"alert","rule_id":"r"}\n'


def test_what_leads_nowhere_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(LINE % "web-1" + LINE % "web-2")
    incident = {
        "entities": ["web-1"],
        "explanation": "seen [a.jsonl-0-0] [a.jsonl-0-5]",
        "evidence": ["a.jsonl-0-0"],
        "alerts": ["a-1"],
    }

    def lost(**changes: object) -> tuple[int, ...]:
        lines = {"incidents.jsonl": json.dumps(incident | changes).encode(), "alerts.jsonl": b'{"id":"a-1"}'}
        found = resolve(file, lines)
        return found["citations_lost"], found["evidence_lost"], found["alerts_lost"]

    assert lost() == (1, 0, 0)  # a citation that is no evidence
    assert lost(explanation="", evidence=["a.jsonl-0-0", "a.jsonl-0-9"]) == (0, 1, 0)  # no such line
    assert lost(explanation="", entities=["web-2"]) == (0, 1, 0)  # another host's event
    assert lost(explanation="", alerts=["a-2"]) == (0, 0, 1)
