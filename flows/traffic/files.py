"""Writes traffic to files, as replay and benchmarks read them."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import msgspec
import orjson

from flows.traffic.message import BENIGN
from flows.traffic.schedule import Traffic

#: File of each format. An access log does not name its host, so each server has its own, named after it.
_FILES = {
    "zeek_json": "zeek.jsonl",
    "suricata": "suricata.jsonl",
    "windows_ecs": "winlogbeat.jsonl",
    "windows_nxlog": "nxlog.jsonl",
    "syslog": "syslog.log",
    "json": "application.jsonl",
}
TRUTH_FILE = "truth.jsonl"


class Written(msgspec.Struct):
    """What ``write_files`` wrote."""

    #: Lines a file, without the truth.
    lines: dict[str, int] = {}
    #: Bytes in all, without the truth.
    size: int = 0
    #: Attack ids with the number of their messages.
    attacks: dict[str, int] = {}


def write_files(traffic: Traffic, until: int, folder: Path) -> Written:
    """Write all messages before ``until`` (µs) into ``folder``: a file each format, ``<host>.log`` for access logs.

    ``truth.jsonl`` holds one line for each message of an attack: file, line from 0, event id in replay, time, host,
    truth and attack; what it does not name is benign. Files of an earlier run are overwritten. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = Written()
    with ExitStack() as stack:
        handles: dict[str, BinaryIO] = {}
        truth = stack.enter_context((folder / TRUTH_FILE).open("wb"))
        for message in traffic.messages(until):
            name = _FILES.get(message.format) or f"{message.host}.log"
            handle = handles.get(name)
            if handle is None:
                handle = handles[name] = stack.enter_context((folder / name).open("wb"))
                written.lines[name] = 0
            line = written.lines[name]
            handle.write(message.value)
            handle.write(b"\n")
            written.lines[name] = line + 1
            written.size += len(message.value) + 1
            if message.truth != BENIGN:
                written.attacks[message.attack_id] = written.attacks.get(message.attack_id, 0) + 1
                truth.write(
                    orjson.dumps(
                        {
                            "file": name,
                            "line": line,
                            "event": f"{name}-0-{line}",
                            "time": message.time,
                            "host": message.host,
                            "truth": message.truth,
                            "attack": message.attack_id,
                        },
                        option=orjson.OPT_APPEND_NEWLINE,
                    )
                )
    return written
