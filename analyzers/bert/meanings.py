"""What each label of the text judge means to a person, and when a verdict is worth an alert. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from analyzers.bert.judge import TextJudge, Verdict
from state.alerts import Level, Signal
from state.events import Event

#: Longest excerpt of a text in a reason, characters.
EXCERPT = 120


class Meaning(msgspec.Struct, frozen=True):
    """What a label says in an alert; techniques and tactics are ATT&CK's."""

    name: str
    level: Level
    techniques: tuple[str, ...]
    tactics: tuple[str, ...]
    #: Probability below which the label does not alert, whatever the model asks.
    least: float = 0.0


MEANINGS = {
    "sqli": Meaning("SQL injection by its text", Level.medium, ("T1190",), ("initial-access",)),
    "xss": Meaning("Cross-site scripting by its text", Level.medium, ("T1190", "T1059.007"), ("initial-access",)),
    "path-traversal": Meaning("Path traversal by its text", Level.medium, ("T1190", "T1083"), ("initial-access",)),
    "cmdi": Meaning("Command injection by its text", Level.medium, ("T1190", "T1059"), ("initial-access", "execution")),
    "malicious-shell": Meaning("Malicious command by its text", Level.medium, ("T1059",), ("execution",)),
    "malicious-powershell": Meaning("Malicious PowerShell by its text", Level.medium, ("T1059.001",), ("execution",)),
    # Names made by chance are ordinary too (CDNs, trackers), and one look-up does little.
    "suspicious-domain": Meaning(
        "Suspicious domain name by its text", Level.low, ("T1568.002",), ("command-and-control",), least=0.999
    ),
}


class Bar(msgspec.Struct, frozen=True):
    """From which probability on a label alerts: by ``labels``, else the greatest of ``least``, meaning and model."""

    least: float
    labels: Mapping[str, float] = {}

    def passed(self, verdict: Verdict, judge: TextJudge) -> tuple[str, float] | None:
        """Return the most probable label that alerts, with its probability."""
        if verdict.malicious < self.least and not self.labels:
            return None
        found = [
            (score, label)
            for score, (label, asked) in zip(verdict.scores, self.asked(judge).items(), strict=True)
            if score >= asked
        ]
        if not found:
            return None
        score, label = max(found, key=lambda pair: pair[0])
        return label, score

    def asked(self, judge: TextJudge) -> dict[str, float]:
        """Return from which probability on each label of a model alerts, in the model's order."""
        manifest = judge.encoder.manifest
        own = manifest.alert or (0.0,) * len(manifest.labels)
        return {
            label: self.labels.get(label, max(self.least, asked, _least(label)))
            for label, asked in zip(manifest.labels, own, strict=True)
        }


def _least(label: str) -> float:
    meaning = MEANINGS.get(label)
    return 0.0 if meaning is None else meaning.least


class Finding(msgspec.Struct, frozen=True):
    """A text of an event that is malicious: what, how sure that is, and where it stands."""

    label: str
    score: float
    model: str
    text: str
    field: str


def signal_of(event: Event, finding: Finding, rules: str, said: list[Signal]) -> Signal:
    """Return what is to be said of an event; ``said`` is what rules said of it, ``rules`` their version.

    At most of level medium, for a text alone proves little; if a rule of level medium matched too, of level high.
    """
    label = finding.label
    meaning = MEANINGS.get(label) or Meaning(f"Malicious text: {label}", Level.low, (), ())
    agreed = any(signal.kind == "rule" and signal.level >= Level.medium for signal in said)
    return Signal(
        kind="text",
        rule=label,
        name=meaning.name,
        level=Level.high if agreed and meaning.level >= Level.medium else meaning.level,
        entity=event.host,
        time=event.time,
        reason=f"{finding.field} is {label} by {finding.score:.3f} (model {finding.model}): {_line(finding.text)}",
        techniques=meaning.techniques,
        tactics=meaning.tactics,
        event_id=event.id,
        versions=(("rules", rules), ("model", finding.model)),
    )


def _line(text: str) -> str:
    """Return the beginning of a text as one printable line."""
    shown = "".join(char if char.isprintable() else " " for char in text[: EXCERPT + 1])
    return shown if len(shown) <= EXCERPT else shown[:EXCERPT] + "…"
