"""Decide which lane judges an event: ``rule``, ``bert`` or ``llm``. The one place that decides. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import msgspec

from analyzers.criticality import Criticality
from analyzers.router.calibration import Calibration
from analyzers.router.candidate import Band, Candidate, Context, Reading
from analyzers.router.settings import RouterSettings
from analyzers.router.stakes import complexity, stakes, worst_rule
from state.alerts import Level, Signal
from state.events import Event

Lane = Literal["rule", "bert", "llm"]
#: What the lane says of the event by itself; ``unsettled``: it cannot tell.
Said = Literal["benign", "malicious", "unsettled", ""]
#: What is shed when the flow falls behind, see ``overload``.
NORMAL, SHED_LLM, SHED_ALL = 0, 1, 2
_NOTHING = Context()
#: The version of a router without calibration.
UNCALIBRATED = "uncalibrated"
#: Probabilities have six decimals; one of 1 has no odds.
_LEAST, _MOST = 1e-6, 1 - 1e-6
#: Criticality from which texts of a host are read though the flow is behind.
_CRITICAL = 2.0


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The final lane of an event, and why."""

    lane: Lane
    #: One line that a person can read.
    reason: str
    #: How much is lost if this is decided wrongly, 0 to 1: who waits longest for an LLM when there are too many.
    stakes: float = 0.0
    #: Whether an LLM would have been asked, if one were configured and the flow kept up.
    wanted: bool = False
    #: What the text judge says of the event; empty where it read nothing.
    said: Said = ""
    #: How hard it is for the text judge, 0 to 1.
    complexity: float = 0.0
    #: What the lane is expected to cost, in the currency of the budget, and to take, seconds.
    cost: float = 0.0
    seconds: float = 0.0
    #: Whether it is one of those whose lane's word is to be compared with the next lane's: ``rule`` with the reading
    #: that it then has, ``bert`` with an LLM's answer.
    audit: bool = False


class Router:
    """Choose the lane of each event, by the event, what its host is like, settings and calibration only.

    Args:
        settings: what is asked, and for what stakes.
        calibration: from which probability on texts are settled; None: the narrow bands of the settings.
        asks: whether an LLM is configured. If not, what one would be asked about is decided without, and says so.
    """

    def __init__(
        self, settings: RouterSettings | None = None, calibration: Calibration | None = None, asks: bool = False
    ) -> None:
        self.settings = RouterSettings() if settings is None else settings
        self.calibration = calibration
        self.asks = asks
        self._criticality = Criticality(self.settings.criticality)
        self._bands: dict[tuple[str, float, str], Band] = {}
        self._seed = str(self.settings.audit_seed).encode()

    @property
    def version(self) -> str:
        """Return the version of the calibration in force."""
        return UNCALIBRATED if self.calibration is None else self.calibration.version

    def version_for(self, model: str) -> str:
        """Return the version of the calibration that settles what a version of the model says."""
        found = self.calibration
        return UNCALIBRATED if found is None or found.model != model else found.version

    def reads(self, event: Event, signals: Sequence[Signal] = (), shed: int = NORMAL) -> bool:
        """Say whether the text judge is to read an event's text.

        Args:
            event: the event.
            signals: what the rules said of it.
            shed: how far the flow is behind.
        """
        if not event.text or shed >= SHED_ALL:
            return False
        worst = worst_rule(signals)
        if worst is not None and worst >= Level.high:
            return shed == NORMAL and self.audits(event.id)
        if shed == NORMAL:
            return True
        # The highest stakes that can be told before the host is in sight.
        return (worst is not None and worst >= Level.medium) or (self.criticality(event.host) or 1.0) >= _CRITICAL

    def settled(self, malicious: float, alerts_from: float, source: str = "", model: str = "") -> bool:
        """Say whether a text is decided benign whatever its host is like; then it does not cross the exchange.

        Args:
            malicious: probability of its most probable label.
            alerts_from: probability from which that label alerts.
            source: where the text comes from.
            model: version of the model; a calibration is of one, and of another says nothing. Empty: that one.
        """
        return malicious < self.band(source, alerts_from, model).low

    def gravity(self, malicious: float, alerts_from: float, source: str = "", model: str = "") -> tuple[int, float]:
        """Return by what the texts of one event are compared, the greatest of which decides it.

        First whether it is benign, unsettled or malicious: sources have thresholds of their own, so the text of the
        highest probability may be settled while another is not.
        """
        band = self.band(source, alerts_from, model)
        return (malicious >= band.low) + (malicious >= band.high), malicious

    def band(self, source: str, alerts_from: float, model: str = "") -> Band:
        """Return from where on texts of a source are settled."""
        key = (source, alerts_from, model)
        band = self._bands.get(key)
        if band is None:
            if len(self._bands) > 1_000:
                self._bands.clear()
            band = self._bands[key] = self._band(source, alerts_from, model)
        return band

    def _band(self, source: str, alerts_from: float, model: str) -> Band:
        fitted = None
        if self.calibration is not None and model in ("", self.calibration.model):
            fitted = self.calibration.of(source)
        if fitted is not None:
            high = alerts_from if fitted.malicious_from is None else fitted.malicious_from
            return Band(min(fitted.benign_below, alerts_from, high), high)
        factor = self.settings.grey_odds_by_source.get(source, self.settings.grey_odds)
        sure = min(max(alerts_from, _LEAST), _MOST)
        odds = sure / (1 - sure) / factor
        return Band(min(odds / (1 + odds), alerts_from), alerts_from)

    def calibrated(self, source: str, model: str) -> bool:
        """Say whether the calibration holds for texts of a source by a version of the model."""
        found = self.calibration
        return found is not None and found.model == model and found.of(source) is not None

    def criticality(self, host: str) -> float | None:
        """Return how much a host matters by the settings; None if they say nothing of it."""
        return self._criticality.of(host)

    def audits(self, event_id: str) -> bool:
        """Say whether an event is one of those that the next lane judges too: the same ones each time."""
        one_in = self.settings.audit_one_in
        if not one_in:
            return False
        told = hashlib.blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=8, key=self._seed)
        return int.from_bytes(told.digest(), "big") % one_in == 0

    def decide(self, candidate: Candidate, context: Context = _NOTHING, shed: int = NORMAL) -> Decision:
        """Return the lane of a candidate.

        Args:
            candidate: the event, with what rules and text judge said.
            context: what its host is like.
            shed: how far the flow is behind: from 1 on no LLM is asked.
        """
        own = self.criticality(candidate.event.host)
        at_stake = stakes(candidate, context, max(context.criticality, 0.0) if own is None else own)
        worst = worst_rule(candidate.signals)
        reading = candidate.reading
        if reading is None:
            found = self._by_rules(candidate, context, worst, at_stake)
        else:
            found = self._by_text(candidate, context, reading, worst, at_stake)
        return self._afforded(found, shed, self.audits(candidate.event.id))

    def _by_rules(self, candidate: Candidate, context: Context, worst: Level | None, at_stake: float) -> Decision:
        """Decide without a text. An LLM can only add to what rules say, so it is asked where they say little."""
        if worst is None:
            return Decision("rule", "no rule matched, and no text was judged", at_stake)
        if worst >= Level.high:
            return Decision("rule", f"a rule of level {worst.name} matched and was alerted at once", at_stake)
        news = self._news(candidate, context, worst)
        if worst >= Level.medium and news and at_stake >= self.settings.ask_stakes:
            return Decision("llm", f"a rule of level {worst.name} that is new here, stakes {at_stake:.2f}", at_stake)
        why = "" if news else ", which is no news on this host"
        return Decision("rule", f"decided by rules, the highest of level {worst.name}{why}", at_stake)

    def _by_text(
        self, candidate: Candidate, context: Context, reading: Reading, worst: Level | None, at_stake: float
    ) -> Decision:
        band, calibrated = reading.band, bool(reading.calibration)
        if band is None:
            band = self.band(reading.source, reading.alerts_from, reading.model)
            calibrated = self.calibrated(reading.source, reading.model)
        hard = complexity(reading, *band)
        said: Said = "benign" if reading.malicious < band.low else "unsettled"
        if reading.malicious >= band.high:
            said = "malicious"
        if worst is not None and worst >= Level.high:
            why = f"a rule of level {worst.name} matched and was alerted at once"
            return Decision("rule", why, at_stake, said=said, complexity=hard)
        text = f"{reading.source} text is {reading.label} by {reading.malicious:.3f}"
        if said == "unsettled":
            between = f"{text}, between {band.low:.3f} and {band.high:.3f}"
            # A tunnel has a thousand names: what a rule has told of this host is not asked about once more for each.
            if worst is not None and worst >= Level.medium and not self._news(candidate, context, worst):
                why = f"{between}; a rule of level {worst.name} tells of it again"
                return Decision("bert", why, at_stake, said=said, complexity=hard)
            bands = "" if calibrated else ", uncalibrated"
            # Counts decay; and a number here would make each repeat another question.
            seen = ", new on this host" if context.seen < 0.5 else ", seen before on this host"
            return Decision("llm", f"{between}{bands}{seen}", at_stake, said=said, complexity=hard)
        if said == "malicious":
            why = f"{text}, malicious from {band.high:.3f}"
        elif worst is None:
            why = f"{text}, benign below {band.low:.3f}"
        else:
            why = f"{text}, benign below {band.low:.3f}, and a rule of level {worst.name} matched"
            news = self._news(candidate, context, worst)
            if worst >= Level.medium and news and at_stake >= self.settings.ask_stakes:
                why = f"{why} that is new here, stakes {at_stake:.2f}"
                return Decision("llm", why, at_stake, said=said, complexity=hard)
        if at_stake >= self.settings.confirm_stakes:
            return Decision("llm", f"{why}, stakes {at_stake:.2f}", at_stake, said=said, complexity=hard)
        return Decision("bert", why, at_stake, said=said, complexity=hard)

    def _news(self, candidate: Candidate, context: Context, worst: Level) -> bool:
        """Say whether a rule of the highest level has matched seldom on this host."""
        return any(
            context.noise.get(signal.rule, 0.0) < self.settings.noisy
            for signal in candidate.signals
            if signal.kind == "rule" and signal.level == worst
        )

    def _afforded(self, found: Decision, shed: int, audit: bool) -> Decision:
        """Return the decision with its cost; without an LLM, or when none is to be asked, that of the next best."""
        settings = self.settings
        lane, wanted, ending = found.lane, False, ""
        if lane == "llm" and (shed >= SHED_LLM or not self.asks):
            lane = "bert" if found.said else "rule"
            wanted = True
            ending = "; llm: not asked, the flow is behind" if self.asks else "; llm: not configured"
        micros = settings.rule_microseconds if lane == "rule" else settings.text_microseconds
        money, seconds, cost = 0.0, micros / 1e6, f"about {micros:.0f} µs"
        if lane == "llm":
            money, seconds = settings.call_price, settings.call_seconds
            cost = f"about {money:.4g} and {seconds:.3g} s"
        return msgspec.structs.replace(
            found,
            lane=lane,
            reason=f"{found.reason}; {cost}{ending}",
            wanted=wanted,
            cost=money,
            seconds=seconds,
            audit=audit and lane != "llm",
        )
