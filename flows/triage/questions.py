"""How escalations become questions: what analysts said of the like goes along."""

from __future__ import annotations

from analyzers.llm.question import Question
from analyzers.llm.settings import LlmSettings
from state.escalations import Escalation
from state.precedents import Precedents


class Questions:
    """Makes questions as the settings say, with the precedents that there are."""

    def __init__(self, settings: LlmSettings, precedents: Precedents) -> None:
        self._settings, self._precedents = settings, precedents

    def of(self, escalation: Escalation, look: bool = True) -> tuple[Question, bytes]:
        """Return the question about an escalation, and what it is about (``Question.subject``).

        ``look``: whether the database may be asked whether analysts said something new.

        Raises:
            DatabaseError: what was said before cannot be read.
            ValueError: the escalation cannot be asked about.
        """
        question = Question.by(self._settings, escalation)
        subject = question.subject
        past = self._precedents.of(escalation, subject, look)
        return (Question.by(self._settings, escalation, past) if past else question), subject
