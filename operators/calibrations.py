"""The calibrations that a worker holds, each as the router that decides by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from analyzers.router.calibration import CalibrationError
from analyzers.router.router import UNCALIBRATED, Router
from operators import metrics
from operators.held import Held, What
from operators.liveness import liveness


class Calibrations(Held[Router]):
    """Holds routers by the version of their calibration, see ``Held``; ``uncalibrated`` is a version, too.

    Args:
        load: returns the router of a version; raises OSError or ValueError if there is none, or it is refused.
        base: version that a partition begins with, of which nothing is known yet.
        past: ids of the activations that the base comes of, or overtook.
        knows: says whether this worker holds a version of the text model. A calibration of another would settle
            nothing, so it does not come into force before its model can.

    Raises:
        OSError, ValueError: the base version cannot be loaded.
    """

    what: ClassVar[What] = "calibration"

    def __init__(
        self,
        load: Callable[[str], Router],
        base: str,
        past: Sequence[str] = (),
        knows: Callable[[str], bool] = lambda model: True,
    ) -> None:
        self._load = load
        self._knows = knows
        super().__init__(base, past)

    def swapped(self, seconds: float) -> None:
        """Count that a partition took another version into force."""
        metrics.CALIBRATION_SWAPS.inc()

    def lost(self) -> None:
        """Count that a version is gone that decided before."""
        metrics.CALIBRATIONS_FAILED.inc()

    def _read(self, version: str, aside: bool = False) -> Router:
        router = self._load(version)
        found = router.calibration
        if aside and found is not None and not self._knows(found.model):
            raise CalibrationError(f"calibration {version} is of model {found.model}, which is not in force here")
        return router

    def _tell(self, versions: set[str]) -> None:
        liveness.calibrations = sorted(versions - {UNCALIBRATED})

    def _failed(self, version: str, why: str | None) -> bool:
        if why is None:
            liveness.calibrations_failed.pop(version, None)
            return False
        new = version not in liveness.calibrations_failed
        liveness.calibrations_failed[version] = why
        metrics.CALIBRATIONS_FAILED.inc()
        return new
