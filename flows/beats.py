"""A worker's side of its supervision: it says twice a second how it is, and does not outlive its supervisor."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from typing import Any

import msgspec

from flows.cluster import Place
from flows.settings import SupervisorSettings
from operators.liveness import liveness

#: How often a worker says how it is, seconds.
EVERY = 0.5
#: For how long it holds that the supervisor said that some sink waits, seconds.
HELD = 2.0
_PR_SET_PDEATHSIG = 1


def obey(place: Place) -> None:
    """Tie this process to its supervisor, if it has one: end with it, and tell it how we are."""
    if not place.supervisor:
        return
    if sys.platform == "linux":
        # Whether or not Python can run: a worker that goes on would write into the store of the next supervisor's.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    threading.Thread(target=_beat, args=(place,), name="beats", daemon=True).start()
    threading.Thread(target=_listen, name="held", daemon=True).start()


def report(settings: SupervisorSettings) -> tuple[bool, dict[str, Any]]:
    """Return whether this worker is well, and how it is, for ``/health``.

    ``starting``: nothing is read yet. ``waiting``: a sink's server is away, of this worker or of another one, which
    holds it back; well, for a restart would not help. ``stalled``: it stands still.
    """
    now = time.monotonic()
    beat = liveness.beat(now)
    if beat.waiting or now - liveness.held < HELD:
        status = "waiting"
    elif beat.standstill() >= settings.stall_seconds:
        status = "stalled"
    else:
        status = "ok" if liveness.begun else "starting"
    return status in ("ok", "waiting"), {
        "status": status,
        "last_poll_age_seconds": beat.poll_age,
        "last_progress_age_seconds": beat.move_age,
        "watermark_delay_seconds": beat.watermark_delay,
        "partitions": beat.partitions,
        "messages_read": beat.read,
        "partitions_paused": beat.paused,
        "waiting": beat.waiting,
        "rules": beat.rules,
        "rules_failed": beat.rules_failed,
        "models": beat.models,
        "models_failed": beat.models_failed,
        "calibrations": beat.calibrations,
        "calibrations_failed": beat.calibrations_failed,
    }


def _listen() -> None:
    # Whatever the supervisor says means the same; when it says nothing any more, its end is closed.
    while os.read(0, 4096):
        liveness.held = time.monotonic()


def _beat(place: Place) -> None:
    encoder = msgspec.json.Encoder()
    while os.getppid() == place.supervisor:
        try:
            os.write(place.beats, encoder.encode(liveness.beat(time.monotonic())) + b"\n")
        except OSError:
            break
        time.sleep(EVERY)
    os._exit(1)
