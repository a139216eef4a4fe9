"""Verdicts on texts, and answers of an LLM, that workers share through Redis.

A cache: it may be away, slow, empty or wrong at any time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

import redis

log = logging.getLogger(__name__)

#: Namespace of the keys.
PREFIX = b"winnow:text:"
#: How long Redis is left alone after it failed, seconds.
PAUSE = 10.0
#: Longest value that is taken from it, bytes.
MAX_VALUE = 1_024


class VerdictStore:
    """Verdicts by key, in Redis. No method raises: what Redis does not answer in time is judged anew.

    Args:
        url: ``redis://`` or ``unix://``; may hold a password, so it is never logged.
        timeout: how long one answer may take, seconds.
        seconds: how long a verdict is kept.
        clock: monotonic seconds.
        prefix: namespace of the keys.
        longest: longest value that is taken, bytes.
    """

    def __init__(
        self,
        url: str,
        timeout: float = 0.05,
        seconds: float = 7 * 86_400,
        clock: Callable[[], float] = time.monotonic,
        prefix: bytes = PREFIX,
        longest: int = MAX_VALUE,
    ) -> None:
        self._client = redis.Redis.from_url(
            url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=None, decode_responses=False
        )
        self._milliseconds = round(seconds * 1000)
        self._clock = clock
        self._prefix, self._longest = prefix, longest
        self._again = float("-inf")
        #: Calls that failed.
        self.failures = 0

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return what is stored under each key, by one MGET; None where nothing is, or nothing can be had."""
        nothing: list[bytes | None] = [None] * len(keys)
        if not keys or self._clock() < self._again:
            return nothing
        try:
            found = self._client.mget([self._prefix + key for key in keys])
        except (redis.RedisError, OSError) as error:
            self._failed(error)
            return nothing
        if not isinstance(found, list) or len(found) != len(keys):
            return nothing
        return [value if isinstance(value, bytes) and len(value) <= self._longest else None for value in found]

    def put(self, items: Mapping[bytes, bytes]) -> None:
        """Store values, by one pipeline of SETs."""
        if not items or self._clock() < self._again:
            return
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                for key, value in items.items():
                    pipeline.set(self._prefix + key, value, px=self._milliseconds)
                pipeline.execute(raise_on_error=False)
        except (redis.RedisError, OSError) as error:
            self._failed(error)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        self._again = self._clock() + PAUSE
        # Its text may name address and password; the type says enough.
        log.warning("redis: %s; verdicts are not shared for %.0f s", type(error).__name__, PAUSE)
