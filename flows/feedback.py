"""Labels from analysts: the audit sample as they reviewed it, if a claim can rest on it."""

from __future__ import annotations

import hashlib

import msgspec

from analyzers.router.exact import least_trials
from analyzers.router.learn_then_test import Labelled
from flows.settings import Settings
from flows.usage import UsageError
from state.audits import Sampled, sample
from state.postgres import connect, explained


class Feedback(msgspec.Struct, frozen=True):
    """What analysts said of the sample."""

    labelled: list[Labelled]
    #: Hash of it, for the calibration file.
    digest: str


def feedback(settings: Settings, model: str, max_miss_rate: float, confidence: float) -> Feedback:
    """Return the sample's labels, with the probabilities that decided then.

    Only what this model judged, as the settings have it read texts, and drawn as they draw. All of it must have a
    review: who looks only at what is suspicious, or only at what alerted, labels what is not missed. An event is a
    label, so the claim is about events and not about distinct texts.

    Raises:
        UsageError: there is no such sample, or not all of it is reviewed; the line says how much is missing.
        DatabaseError: the database cannot be reached.
    """
    bert, router = settings.bert, settings.router
    with explained(), connect(settings.postgres.required_dsn()) as connection:
        found, others = sample(connection, model, bert.windows, bert.screen, router.audit_one_in, router.audit_seed)
    ours = f"judged by model {model} and drawn one in {router.audit_one_in:,}"
    if not found:
        raise UsageError(f"no text of the audit sample was {ours}; {others:,} were judged or drawn otherwise")
    open_ = sum(not each.truth for each in found)
    if open_:
        bad = sum(each.truth == "malicious" for each in found)
        raise UsageError(
            f"{open_:,} of {len(found):,} texts of the audit sample ({ours}) have no review, so what is reviewed "
            f"is no sample; {bad:,} are malicious so far, and at least {least_trials(max_miss_rate, confidence):,} are "
            "needed (winnow audit list)"
        )
    return Feedback([_label(each) for each in found], hashlib.sha256(msgspec.json.encode(found)).hexdigest())


def _label(each: Sampled) -> Labelled:
    return Labelled(each.source, each.truth == "malicious", each.malicious, each.alerts_from)
