"""The client of the endpoint: it follows no redirect, repeats nothing by itself, and reads no endless reply."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from analyzers.llm.settings import LlmSettings

if TYPE_CHECKING:
    import httpx
    from openai import AsyncOpenAI

#: Longest reply that is read, bytes.
MAX_REPLY = 4_194_304


def open_client(settings: LlmSettings) -> AsyncOpenAI:
    """Return a client for the settings' endpoint. The key goes there and nowhere else: not to where it redirects."""
    import httpx
    from openai import AsyncOpenAI

    class Bounded(httpx.AsyncByteStream):
        def __init__(self, stream: httpx.AsyncByteStream) -> None:
            self._stream = stream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            read = 0
            async for chunk in self._stream:
                read += len(chunk)
                if read > MAX_REPLY:
                    raise httpx.ReadError(f"the reply is longer than {MAX_REPLY:,} bytes")
                yield chunk

        async def aclose(self) -> None:
            await self._stream.aclose()

    async def bound(response: httpx.Response) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = Bounded(response.stream)

    key = settings.api_key.get_secret_value() if settings.api_key is not None else ""
    connections = httpx.Limits(max_connections=settings.concurrency, max_keepalive_connections=settings.concurrency)
    http = httpx.AsyncClient(
        timeout=settings.timeout_seconds, follow_redirects=False, limits=connections, event_hooks={"response": [bound]}
    )
    # An endpoint without keys gets a word, since the client wants one.
    client = AsyncOpenAI(api_key=key or "none", base_url=settings.base_url, max_retries=0, http_client=http)
    _ = client.chat.completions  # imports them now: a second in which the first question would hold up all else
    return client
