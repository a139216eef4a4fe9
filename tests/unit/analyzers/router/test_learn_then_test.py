"""Calibration: what it claims holds, it refuses what labels do not carry, and its file is what it says."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, hypergeom

from analyzers.router.calibration import Calibration, CalibrationError, decode, load
from analyzers.router.exact import binomial_cdf, differs, greater, least_trials
from analyzers.router.labels import LabelReader
from analyzers.router.learn_then_test import Labelled, calibrate, fit
from analyzers.router.router import Router


def texts(count: int, truth: bool, chances: random.Random, source: str = "shell") -> list[Labelled]:
    """Malicious ones have high probabilities, a few low; benign ones the reverse."""
    exponent = 0.15 if truth else 8.0
    return [Labelled(source, truth, round(chances.random() ** exponent, 6), 0.98) for _ in range(count)]


def both(malicious: int, benign: int, seed: int = 0, source: str = "shell") -> list[Labelled]:
    chances = random.Random(seed)
    return texts(malicious, True, chances, source) + texts(benign, False, chances, source)


@given(st.integers(1, 2_000), st.floats(0.0005, 0.9995), st.data())
def test_binomial_tails_are_those_of_scipy(trials: int, chance: float, data: st.DataObject) -> None:
    most = data.draw(st.integers(0, trials))
    assert binomial_cdf(most, trials, chance)[most] == pytest.approx(
        binom.cdf(most, trials, chance), rel=1e-7, abs=1e-12
    )


@given(st.integers(0, 400), st.integers(1, 400), st.integers(0, 400), st.integers(1, 400))
def test_fishers_test_is_that_of_scipy(before: int, of_before: int, now: int, of_now: int) -> None:
    before, now = min(before, of_before), min(now, of_now)
    expected = hypergeom.sf(now - 1, of_before + of_now, before + now, of_now)
    assert greater(before, of_before, now, of_now) == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert differs(before, of_before, now, of_now) == pytest.approx(differs(now, of_now, before, of_before), rel=1e-6)


def test_one_percent_at_95_takes_299_malicious_texts_and_with_fewer_it_says_how_many_are_missing() -> None:
    assert least_trials(0.01, 0.95) == 299
    plain = [Labelled("http", True, 1.0, 0.98)] * 299
    assert fit(plain, 0.01, 0.95).missed == 0
    with pytest.raises(CalibrationError, match=r"http: 298 malicious texts, 1 are missing"):
        calibrate(plain[1:], "m", 0.01, 0.95)
    with pytest.raises(CalibrationError, match="no labels"):
        calibrate([], "m", 0.01, 0.95)


def test_sources_share_the_confidence_and_one_with_too_few_labels_has_no_threshold() -> None:
    found = calibrate([*both(600, 600), *both(600, 600, 1, "http"), *both(20, 900, 2, "dns")], "m", 0.01, 0.95)
    assert found.sources.keys() == {"shell", "http"} and found.of("dns") is None
    assert all(each.p_value <= 0.025 for each in found.sources.values())
    # Two sources need 368 each, so 368 - 20.
    assert found.refused == {"dns": "20 malicious texts, 348 are missing"}
    with pytest.raises(CalibrationError, match=r"--pooled fits one threshold on all 400"):
        calibrate([*both(200, 0), *both(200, 0, 1, "http")], "m", 0.01, 0.95)
    pooled = calibrate([*both(200, 0), *both(200, 0, 1, "http")], "m", 0.01, 0.95, pooled=True)
    assert pooled.of("anything") == pooled.sources["*"]


def test_malicious_texts_that_the_model_holds_for_plainly_benign_are_no_reason_to_promise() -> None:
    hidden = [Labelled("http", True, 0.0, 0.98)] * 30 + [Labelled("http", True, 1.0, 0.98)] * 500
    with pytest.raises(CalibrationError, match="no threshold keeps"):
        calibrate(hidden, "m", 0.01, 0.95)


@settings(max_examples=30)
@given(st.integers(300, 900), st.integers(0, 300), st.integers(0, 1_000), st.sampled_from([0.02, 0.05, 0.1]))
def test_a_stricter_limit_never_lets_more_through(malicious: int, benign: int, seed: int, rate: float) -> None:
    labelled = both(malicious, benign, seed)
    strict, loose = fit(labelled, rate / 2, 0.95), fit(labelled, rate, 0.95)
    assert strict.benign_below <= loose.benign_below
    assert loose.missed / malicious <= rate, "what was seen must not exceed what is claimed"
    assert loose.missed == sum(text.malicious < loose.benign_below for text in labelled if text.truth)


def test_on_exchangeable_texts_the_claim_fails_in_no_more_splits_than_stated() -> None:
    population = [text.malicious for text in texts(20_000, True, random.Random(7))]
    failed = 0
    for seed in range(200):
        sample = random.Random(seed).sample(population, 500)
        low = fit([Labelled("shell", True, value, 0.98) for value in sample], 0.05, 0.9).benign_below
        failed += sum(value < low for value in population) > 0.05 * len(population)
    # Binomial of 200 and .1: 33 or more by chance once in a thousand times.
    assert 0 < failed < 33


def test_a_limit_on_false_alarms_sets_from_where_a_text_is_malicious() -> None:
    labelled = both(1_000, 4_000)
    found = fit(labelled, 0.05, 0.95, max_false_rate=0.01)
    assert found.malicious_from is not None and found.benign_below <= found.malicious_from
    assert sum(t.malicious >= found.malicious_from for t in labelled if not t.truth) <= 0.01 * 4_000
    assert fit(both(1_000, 50), 0.05, 0.95, max_false_rate=0.01).malicious_from is None, "50 benign ones cannot say"


def test_a_calibration_is_read_as_it_was_written_and_refused_if_it_was_changed(tmp_path: Path) -> None:
    found = calibrate(both(700, 700), "m1", 0.01, 0.95, labels="ab")
    path = tmp_path / "calibration.json"
    path.write_bytes(found.encode())
    assert load(path, "m1") == found and path.read_text().startswith('{\n "schema": 1,')
    assert Router(calibration=load(path, "m1")).version == found.version
    with pytest.raises(CalibrationError, match=r"fitted on model m1, and the model is m2; run winnow calibrate again"):
        load(path, "m2")
    assert load(path, "m1", 16, False) == found
    with pytest.raises(CalibrationError, match=r"bert\.windows 16, which is 4"):
        load(path, "m1", windows=4)
    with pytest.raises(CalibrationError, match=r"bert\.screen False, which is True"):
        load(path, "m1", screen=True)
    with pytest.raises(CalibrationError, match="No such file"):
        load(tmp_path / "other", "m1")
    record = msgspec.json.decode(found.encode())
    record["sources"]["shell"]["benign_below"] = 0.99
    for raw in (
        msgspec.json.encode(record),
        b"",
        b"[]",
        b"{" * 100_000,
        b'"\xff"',
        found.encode().replace(b'"schema": 1', b'"schema": 2'),
        b" " * 5_000_000,
    ):
        with pytest.raises(CalibrationError) as error:
            decode(raw)
        assert "\n" not in str(error.value)


@settings(max_examples=10)
@given(st.integers(300, 500), st.integers(0, 50), st.text(max_size=8))
def test_the_version_says_what_is_in_the_file(malicious: int, benign: int, labels: str) -> None:
    found = calibrate(both(malicious, benign), "m", 0.05, 0.95, labels=labels)
    assert decode(found.encode()) == found
    other = msgspec.structs.replace(found, model="n").sealed()
    assert isinstance(other, Calibration) and other.version != found.version


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"text": "x"}', "neither label nor malicious"),
        (b'{"text": "x", "source": "web", "label": "benign"}', "no source 'web'; known: http"),
        (b'{"text": "x", "malicious": 1}', "neither true nor false"),
        (b'{"text": "x", "malicious": true, "label": "benign"}', "contradict"),
        (b'{"text": "id", "label": "malicious"}', "labelled benign and malicious"),
        (b'{"label": "benign"}', "no record"),
        (b"id", "not JSON"),
    ],
)
def test_a_label_that_is_none_is_refused(line: bytes, said: str) -> None:
    from analyzers.bert.lines import LineError

    with pytest.raises(LineError, match="names no source"):
        LabelReader().read(b'{"text": "id", "label": "benign"}')
    reader = LabelReader("shell")
    assert reader.read(b'{"text": "id", "label": "benign"}') is not None
    with pytest.raises(LineError, match=said):
        reader.read(line)
