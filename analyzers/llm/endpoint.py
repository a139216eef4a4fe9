"""One call of an OpenAI-compatible endpoint: what it may cost at most, what it did cost, and how it failed."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from analyzers.llm.settings import LlmSettings
from state.budget import NANO

#: Tokens beside those of the texts that a chat template may add, a message and a call.
MESSAGE_TOKENS, CALL_TOKENS = 16, 64
#: Answers after which the same call may go through.
RETRYABLE = frozenset({408, 409, 429})
#: Answers that are about the question and not about us: another question may go through.
ABOUT_QUESTION = frozenset({400, 413, 422})


class Reply(msgspec.Struct, frozen=True):
    """What came back."""

    text: str | None
    finish: str | None
    #: Tokens that the endpoint counted; None: it did not say.
    prompt_tokens: int | None
    completion_tokens: int | None
    seconds: float


class CallFailed(Exception):
    """A call without an answer. The message is one line that names neither key nor question.

    ``kind`` is a label for metrics: ``timeout``, ``connection``, ``rate_limit``, ``server``, ``refused`` (it does not
    take our key, model or address), ``question`` (it does not take this question), ``garbled``.
    """

    def __init__(
        self, kind: str, text: str, *, retryable: bool, sent: bool = True, free: bool = False, after: float = 0.0
    ) -> None:
        super().__init__(text)
        self.kind, self.retryable = kind, retryable
        #: Whether anything was sent; if not, it cost nothing.
        self.sent = sent
        #: Whether the endpoint said that it did nothing for us, which costs nothing either.
        self.free = free
        #: Seconds that it asked us to wait.
        self.after = after


class Endpoint:
    """A model behind an endpoint. The client is the caller's (``openai.AsyncOpenAI``), without retries of its own."""

    def __init__(self, client: Any, settings: LlmSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._settings, self._clock = client, settings, clock

    def worst_price(self, messages: Sequence[dict[str, str]], schema: dict[str, Any] | None = None) -> int:
        """Return the most that a call can cost, in billionths of the currency.

        No tokenizer makes more tokens of a text than it has bytes in UTF-8. The schema of the answer counts as well:
        some endpoints put it before the question.
        """
        sent = CALL_TOKENS + sum(MESSAGE_TOKENS + len(m["content"].encode("utf-8", "surrogatepass")) for m in messages)
        if schema is not None:
            sent += len(json.dumps(schema))
        return self.price(sent, self._settings.max_tokens)

    def price(self, sent: int, received: int) -> int:
        """Return what so many tokens cost, in billionths of the currency, rounded up."""
        settings = self._settings
        money = sent * (settings.input_price or 0.0) + received * (settings.output_price or 0.0)
        return math.ceil(money * (NANO / 1_000_000))

    def cost(self, reply: Reply, worst: int) -> int:
        """Return what a reply did cost; its worst case if the endpoint does not say how many tokens it was."""
        if reply.prompt_tokens is None or reply.completion_tokens is None:
            return worst
        return self.price(reply.prompt_tokens, reply.completion_tokens)

    async def call(self, messages: Sequence[dict[str, str]], schema: dict[str, Any] | None = None) -> Reply:
        """Send one question, with the schema of its answer if there is one; return what came back.

        Raises:
            CallFailed: nothing did, or nothing of use.
        """
        import openai

        settings = self._settings
        more: dict[str, Any] = {}
        if schema is not None:
            form = {"name": "answer", "strict": True, "schema": schema}
            more["response_format"] = {"type": "json_schema", "json_schema": form}
        elif settings.response_format == "object":
            more["response_format"] = {"type": "json_object"}
        began = self._clock()
        try:
            # The time limit is one of the whole call: one that sends a byte now and then is ended as well.
            async with asyncio.timeout(settings.timeout_seconds):
                completion = await self._client.chat.completions.create(
                    model=settings.model,
                    messages=list(messages),
                    max_tokens=settings.max_tokens,
                    temperature=settings.temperature,
                    **more,
                )
        except (TimeoutError, openai.APITimeoutError):
            raise CallFailed("timeout", f"no answer in {settings.timeout_seconds:g} s", retryable=True) from None
        except openai.APIStatusError as error:
            raise _status(error.status_code, error.response.headers.get("retry-after", "")) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__
            name = type(cause).__name__ if cause is not None else "APIConnectionError"
            sent = name not in ("ConnectError", "ConnectTimeout")
            raise CallFailed("connection", f"the connection failed ({name})", retryable=True, sent=sent) from None
        except (openai.OpenAIError, ValueError, TypeError, AttributeError) as error:
            # A reply that is no JSON, or not of the protocol.
            raise CallFailed("garbled", f"the reply is none ({type(error).__name__})", retryable=True) from None
        return _reply(completion, self._clock() - began)


def _status(code: int, after: str) -> CallFailed:
    text = f"the endpoint answered {code}"
    try:
        wait = max(0.0, min(float(after), 3600.0)) if after else 0.0
    except ValueError:
        wait = 0.0  # a date: our own pauses do
    if code in RETRYABLE:
        kind = "rate_limit" if code == 429 else "timeout" if code == 408 else "server"
        return CallFailed(kind, text, retryable=True, free=code == 429, after=wait)
    if code >= 500:
        return CallFailed("server", text, retryable=True, after=wait)
    return CallFailed("question" if code in ABOUT_QUESTION else "refused", text, retryable=False, free=True)


def _reply(completion: Any, seconds: float) -> Reply:
    choices = getattr(completion, "choices", None)
    if not isinstance(choices, list) or not choices:
        raise CallFailed("garbled", "the reply holds no choice", retryable=True)
    message = getattr(choices[0], "message", None)
    text, finish = getattr(message, "content", None), getattr(choices[0], "finish_reason", None)
    usage = getattr(completion, "usage", None)
    return Reply(
        text=text if isinstance(text, str) else None,
        finish=finish if isinstance(finish, str) else None,
        prompt_tokens=_count(getattr(usage, "prompt_tokens", None)),
        completion_tokens=_count(getattr(usage, "completion_tokens", None)),
        seconds=seconds,
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 100_000_000 else None
