"""The model card: what the shipped model is, what it was trained on, what it can and cannot do."""

from __future__ import annotations

from typing import Any, Final

_CARD: Final = """\
# Model card: Winnow's text model

A BERT encoder of {layers} layers, {width} wide, with {heads} heads and an inner width of {inner}; {parameters:,}
parameters, weights as int8. Byte-level BPE of {vocabulary:,} tokens of its own, windows of {window} tokens, each
{stride} after the one before, and one of each of the most suspicious commands of a longer line. One sigmoid a label:
{labels}. The kind of text is the token type: {sources}. What was undone to bring the text into its canonical form
(version {canonical}) joins the pooled vector. A linear screen of hashed n-grams adds a bounded share of its score to
the logits.

## Meant for

Pointing a person, in a stream of security events, at a text worth reading, with a probability. Not for blocking by
itself, and not for texts of other kinds (mail, documents, source code).

## Trained on

{data}
Every text was written from Winnow's own grammars, where addresses and names are made up, or comes from the sets named.
Changed at random alike whether benign or malicious: wrapped in benign text, percent-encoded, quoted, put into
base64, and so on. Of a third of the texts the source was not told.

## Measured

{figures}
The report that `winnow train` writes says the rest: intervals over seeds, calibration, and a TF-IDF baseline trained on
the same kind of texts, beside every figure.

## Limits

- Attacks are what the grammars and the sets hold. A family that training never saw is found less often; the report
  says how much less.
- Administration looks like an attack: searches for set-user-ID files, port checks by bash, installers piped into a
  shell.
- Domain names are judged by their letters alone. A benign name made by a machine looks like one made by malware.
- Of a long text the parts are read that the screen finds most suspicious; of one over 65,536 characters head, tail and
  samples of them. What is hidden deeper than five layers of encoding is not seen.
- Whoever knows the model can write a text that it takes for benign.
"""


def card(report: dict[str, Any], shape: dict[str, Any]) -> str:
    """Return the card in Markdown."""
    first = report["seeds"][0]["encoder"]
    lines = []
    if "http" in first:
        lines.append(f"- HTTP parameters, held back: macro F1 {first['http']['macro_f1']:.3f}.")
    home = first["home"]["malicious"]
    lines.append(f"- Templates that training never saw: malicious found with F1 {home['f1']:.3f}.")
    for name, found in first.get("abroad", {}).items():
        lines.append(
            f"- {name}, {found['texts']:,} texts that training never saw: F1 {found['told']['f1']:.3f}, recall at 1 % "
            f"false positives {found['told']['recall_at_1_percent']:.3f}, at 0.1 % "
            f"{found['told']['recall_at_0_1_percent']:.3f}."
        )
        for trial, recall in found.get("wrapped", {}).items():
            lines.append(f"  - a thousand of them, {trial}: recall at 1 % {recall:.3f}.")
    data = "".join(f"- {name}: {count:,} texts.\n" for name, count in report["data"].items())
    return _CARD.format(**shape, data=data, figures="\n".join(lines) + "\n")
