"""An explanation names the words that make a text what it is, and costs a bounded number of runs."""

from __future__ import annotations

from analyzers.bert.explain import NAMED, explain
from analyzers.bert.judge import TextJudge, Verdict


def test_weights_are_what_the_score_loses_without_the_word(judge: TextJudge) -> None:
    text = "name=anna&comment=hello' union select password from users"
    parts = explain(judge, text, "http")
    assert parts and len(parts) <= NAMED
    assert all(part.text in text and text[part.start :].startswith(part.text) for part in parts)
    assert [abs(part.weight) for part in parts] == sorted((abs(part.weight) for part in parts), reverse=True)
    (whole,) = judge.judge([(text, "http")])
    assert isinstance(whole, Verdict)
    label = max(range(len(judge.labels)), key=whole.scores.__getitem__)
    assert all(-1 <= part.weight <= whole.scores[label] for part in parts)


def test_a_long_text_and_none_are_explained_too(judge: TextJudge) -> None:
    assert explain(judge, "", "http") == []
    assert explain(judge, "word " * 20_000, "http")
