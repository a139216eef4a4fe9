"""The packaged model answers on loopback, in the protocol that the lane speaks. What it says is worth nothing."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time

import pytest

from analyzers.llm.endpoint import Endpoint, Reply
from analyzers.llm.settings import LlmSettings
from flows.triage.client import open_client
from flows.triage.local import LocalModelError, answers, local_settings, model_file

pytestmark = pytest.mark.local_llm


def test_the_packaged_model_answers() -> None:
    try:
        model_file()
    except LocalModelError as error:
        pytest.skip(f"NO LOCAL MODEL: {error}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = subprocess.Popen([sys.executable, "-m", "flows.triage.local", str(port)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                answers(port)
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline, "the server did not start"
                time.sleep(0.1)
        # A short question: a whole one takes minutes where other work has the cores.
        settings = local_settings(port, LlmSettings()).model_copy(
            update={"max_tokens": 64, "response_format": "object"}
        )

        async def ask() -> Reply:
            async with open_client(settings) as client:
                return await Endpoint(client, settings).call([{"role": "user", "content": "Answer {}."}])

        reply = asyncio.run(ask())
        assert reply.text and reply.text.lstrip().startswith("{")
        assert reply.prompt_tokens and reply.completion_tokens and reply.completion_tokens <= 64
    finally:
        server.terminate()
        server.wait(20)
