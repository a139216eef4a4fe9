"""Other Sigma engines over the same lines and rules, each in a virtual environment of its own.

The environments are made on first use under the user's cache folder (``winnow/bench``), of pinned versions, and kept.
An engine that cannot be had, or fails, is skipped with the reason.

Left out: Zircolite itself. It is published as source and programs only, no package index has it, and what cannot be
pinned and installed from one is not run here. Zargunlite is its engine written anew as a library; it takes Zircolite's
rules.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ENGINES = Path(__file__).parent / "engines"
#: Seconds for an installation, and for a run of an engine.
PATIENCE = 600
#: What turns rules into the SQL that all engines here run.
CONVERTER = (
    "pySigma==1.5.1",
    "pySigma-backend-sqlite==2.0.0",
    "pysigma-pipeline-sysmon==2.0.0",
    "pysigma-pipeline-windows==2.0.1",
)


class Peer(NamedTuple):
    """An engine of ``engines/sqlite_engines.py`` and what it needs."""

    name: str
    engine: str
    requirements: tuple[str, ...]


PEERS = (
    Peer("pySigma-backend-sqlite", "sqlite", ("orjson==3.13.0",)),
    Peer("Zargunlite", "zargunlite", ("zargunlite==0.1.3", "orjson==3.13.0")),
)


class Found(NamedTuple):
    """What an engine found, and the seconds of processor time that it took."""

    pairs: frozenset[tuple[int, str]]
    seconds: float


class Skipped(Exception):
    """A peer cannot be measured; the message says why in one line."""


def measure(
    lines: Sequence[bytes], rules: Sequence[Path], folder: Path, ours: Callable[[], Found]
) -> dict[str, dict[str, Any] | str]:
    """Return by name what each peer did, or why it was skipped.

    ``ours`` judges the same lines by Winnow, afresh, just before and just after each peer does. Rates are events a
    second of processor time, from raw lines to pairs of line and rule; loading and converting rules is apart.
    """
    try:
        converted, conversion = convert(rules, folder)
    except Skipped as reason:
        return {peer.name: f"skipped: no rules in SQL: {reason}" for peer in PEERS}
    raw = folder / "lines.jsonl"
    raw.write_bytes(b"".join(line + b"\n" for line in lines))
    report: dict[str, dict[str, Any] | str] = {}
    for peer in PEERS:
        try:
            python = environment(peer.name, peer.requirements)
            before = ours()
            job = {"engine": peer.engine, "lines": str(raw), "converted": str(converted)}
            done = run(python, ENGINES / "sqlite_engines.py", job, folder)
        except Skipped as reason:
            report[peer.name] = f"skipped: {reason}"
            continue
        # Once before and once after: other work on the machine slows both sides alike.
        mine = Found(before.pairs, (before.seconds + ours().seconds) / 2)
        theirs = Found(
            frozenset((line, rule) for line, rule in done["pairs"]), done["load_seconds"] + done["query_seconds"]
        )
        report[peer.name] = {
            "versions": " ".join((*CONVERTER, *peer.requirements)),
            "lines": len(lines),
            **conversion,
            "refused": conversion["refused"] + len(done["refused"]),
            "load_seconds": done["load_seconds"],
            "query_seconds": done["query_seconds"],
            **compare(len(lines), mine, theirs),
        }
    return report


def compare(lines: int, ours: Found, theirs: Found) -> dict[str, Any]:
    """Return the rates, how many times faster we are, and how far the two agree."""
    return {
        "rate": lines / theirs.seconds,
        "winnow_rate": lines / ours.seconds,
        "ratio": theirs.seconds / ours.seconds,
        "both": len(ours.pairs & theirs.pairs),
        "winnow_only": len(ours.pairs - theirs.pairs),
        "peer_only": len(theirs.pairs - ours.pairs),
    }


def convert(rules: Sequence[Path], folder: Path) -> tuple[Path, dict[str, Any]]:
    """Return the file of the rules in SQL, and how many there are, were refused, and are converted a second."""
    converted = folder / "converted.json"
    job = {"rules": [str(path) for path in rules], "converted": str(converted)}
    done = run(environment("converter", CONVERTER), ENGINES / "convert.py", job, folder)
    if not done["rules"]:
        raise Skipped(f"none of {len(rules)} rules could be converted: {next(iter(done['refused'].values()), '')}")
    rate = done["rules"] / done["seconds"]
    return converted, {"rules": done["rules"], "refused": len(done["refused"]), "converted_a_second": rate}


def environment(name: str, requirements: Sequence[str]) -> Path:
    """Return the Python of a virtual environment with the requirements, made if there is none. Skipped if it fails."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "winnow" / "bench"
    versions = "-".join(requirement.partition("==")[2] for requirement in requirements)
    folder = cache / f"{name}-{versions}-py{sys.version_info[0]}.{sys.version_info[1]}"
    python = folder / "bin" / "python"
    if python.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)  # One whose interpreter is gone.
    print(f"\ninstalling {' '.join(requirements)}", file=sys.stderr)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # Made beside its place and moved there when whole: an installation that was cut short is not taken for one.
        with tempfile.TemporaryDirectory(dir=cache) as fresh:
            made = Path(fresh) / "made"
            call([sys.executable, "-m", "venv", "--without-pip", str(made)])
            pip = [sys.executable, "-m", "pip", "--python", str(made / "bin" / "python"), "--disable-pip-version-check"]
            call([*pip, "install", "--quiet", "--no-input", "--only-binary=:all:", *requirements])
            made.rename(folder)
    except OSError as error:
        if python.exists():  # Another run was faster.
            return python
        raise Skipped(f"no environment at {folder}: {error.strerror}") from error
    return python


def run(python: Path, script: Path, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the result that the script wrote; it sees nothing of Winnow. Skipped if it fails."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        asked, result = Path(place) / "job.json", Path(place) / "result.json"
        asked.write_text(json.dumps({**job, "result": str(result)}))
        call([str(python), "-I", str(script), str(asked)])
        found: dict[str, Any] = json.loads(result.read_text())
    return found


def call(command: Sequence[str], patience: float = PATIENCE) -> None:
    """Run the command; Skipped with what it says last if it fails or takes longer than ``patience`` seconds."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=patience, check=False)
    except subprocess.TimeoutExpired:
        raise Skipped(f"took longer than {patience:.0f} s") from None
    except OSError as error:
        raise Skipped(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        reasons = [line for line in said if line.startswith("ERROR:")] or said
        raise Skipped(re.sub(r"\s+", " ", reasons[-1])[:300])


def table(report: dict[str, dict[str, Any] | str]) -> list[str]:
    """Return the figures for people, a line or two a peer."""
    rows: list[str] = []
    for name, said in report.items():
        if isinstance(said, str):
            rows.append(f"{name}: {said}")
            continue
        spent = f"{said['load_seconds']:.2f} s to load, {said['query_seconds']:.2f} s to query"
        beside = f"Winnow {said['winnow_rate']:,.0f}/s, {said['ratio']:.1f} times as fast"
        rows.append(f"{name}: {said['rate']:,.0f}/s ({spent}); {beside}")
        rules = f"{said['rules']:,} rules converted, {said['converted_a_second']:,.0f}/s, {said['refused']} refused"
        found = f"{said['both']:,} by both, {said['winnow_only']:,} by Winnow only, {said['peer_only']:,} by it only"
        rows.append(f"  {rules}; pairs found: {found}")
    return rows
