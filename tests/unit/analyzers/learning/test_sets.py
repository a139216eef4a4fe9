"""Sets from outside are read whole or refused with the line; measures are what they say."""

import numpy as np
import pytest
import zstandard

from analyzers.learning.calibrate import COOLEST, STEEPEST, length, scale
from analyzers.learning.http_params import DatasetError, read
from analyzers.learning.measures import calibration, classes, interval, recall_at, score
from analyzers.learning.sets import by_time
from analyzers.learning.texts import Text
from analyzers.learning.trials import read_labelled, read_training

HEAD = '"payload","length","attack_type","label"\n'


def test_rows_that_a_quotation_mark_merged_are_read_apart(tmp_path):
    path = tmp_path / "payloads.csv"
    path.write_text(
        HEAD
        + '"calle mayor, 1","14","norm","norm"\n'
        + '"type c:"",6,cmdi,anom |type c:""","7","cmdi","anom"\n'
        + '"say ""hi""","8","norm","norm"\n'
        + '"1 or 1=1","8","sqli","anom"\n'
        + '"1 or 1=1","8","sqli","anom"\n'
    )
    assert [(payload.text, payload.labels) for payload in read(path)] == [
        ("calle mayor, 1", ()),
        ('type c:"', ("cmdi",)),
        ('|type c:"', ("cmdi",)),
        ('say "hi"', ()),
        ("1 or 1=1", ("sqli",)),
    ]


def test_a_packed_set_is_read(tmp_path):
    path = tmp_path / "payloads.csv.zst"
    path.write_bytes(zstandard.compress((HEAD + '"a","1","norm","norm"\n').encode()))
    assert [payload.text for payload in read(path)] == ["a"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"text,label\na,b\n", "header"),
        (HEAD.encode() + b'"a","1","worm","anom"\n', ":2:"),
        (HEAD.encode() + b"\xff\xfe", "utf-8"),
    ],
)
def test_another_file_is_refused(tmp_path, content, said):
    path = tmp_path / "payloads.csv"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=said):
        read(path)


def test_labelled_texts_are_read_with_their_source(tmp_path):
    path = tmp_path / "others.jsonl"
    path.write_text('{"text": "ls", "label": "benign"}\n{"text": "x", "label": "bad", "source": "http", "more": 1}\n')
    first, second = read_labelled(path, "shell")
    assert (first.source, first.labels, second.source, second.labels) == ("shell", (), "http", ("bad",))


@pytest.mark.parametrize("line", ['{"text": "ls"}', "ls", '{"text": 1, "label": "benign"}', "\xff"])
def test_a_line_that_is_no_labelled_text_is_named(tmp_path, line):
    path = tmp_path / "others.jsonl"
    path.write_text('{"text": "ls", "label": "benign", "source": "shell"}\n' + line, encoding="latin-1")
    with pytest.raises(DatasetError, match=r"others\.jsonl:2"):
        read_labelled(path, "shell")


@pytest.mark.parametrize("line", ['{"text": "x", "label": "bad", "source": "shell"}', '{"text": "x", "label": "sqli"}'])
def test_training_texts_need_a_known_label_and_a_source(tmp_path, line):
    path = tmp_path / "mine.jsonl"
    path.write_text(line)
    with pytest.raises(DatasetError, match=r"mine\.jsonl:1"):
        read_training(path)


def test_precision_recall_and_f1():
    found = score(np.array([True, True, True, False]), np.array([True, True, False, True]))
    assert (found.precision, found.recall, found.f1, found.count) == pytest.approx((2 / 3, 2 / 3, 2 / 3, 3))
    assert score(np.array([False]), np.array([False])).f1 == 0


def test_a_text_that_no_label_fits_is_of_the_last_class():
    assert classes(np.array([[0.2, 0.9], [0.4, 0.3]])).tolist() == [1, 2]


def test_recall_counts_only_what_passes_more_than_the_allowed_share():
    malicious, benign = np.array([0.9, 0.5, 0.1]), np.array([0.0] * 98 + [0.6, 0.95])
    assert recall_at(malicious, benign, 0.0)[0] == 0
    assert recall_at(malicious, benign, 0.01)[0] == pytest.approx(1 / 3)
    assert recall_at(malicious, benign, 0.02)[0] == 1


def test_calibration_error():
    sure = np.array([0.95] * 100)
    assert calibration(sure, np.array([True] * 95 + [False] * 5))[0] == pytest.approx(0, abs=1e-9)
    assert calibration(sure, np.array([True] * 50 + [False] * 50))[0] == pytest.approx(0.45)


def test_interval_over_seeds():
    assert interval([0.9]) == (0.9, None)
    mean, half = interval([0.9, 0.92, 0.94])
    assert (mean, half) == pytest.approx((0.92, 4.303 * 0.02 / 3**0.5))


def test_scaling_finds_how_overconfident_logits_are():
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, 20_000)
    truth = rng.random(20_000) < 1 / (1 + np.exp(-(true + 0.5)))
    none = np.zeros(20_000)
    temperature, bias = scale(3 * true, truth, none)
    assert temperature == pytest.approx(3, rel=0.1)
    assert bias == pytest.approx(0.5, abs=0.1)
    assert scale(true / 3, truth, none)[0] == COOLEST, "generated texts must not make a model surer than it is"
    more = rng.normal(0, 1, 20_000)
    assert scale(3 * (true - more), truth, more) == pytest.approx((3, 0.5), abs=0.3), "the screen's part is known"


def test_what_a_maximum_over_windows_adds_is_taken_off():
    rng = np.random.default_rng(0)
    windows = np.array([1] * 4000 + [8] * 4000)
    logits = np.array([rng.normal(-4, 2, count).max() for count in windows])
    taken = length(logits, windows)
    threshold = max(np.quantile(logits[windows == 1], 0.998), -1)
    corrected = logits - taken * np.log(windows)
    assert (logits[windows == 8] > threshold).mean() > 0.004
    assert (corrected[windows == 8] > threshold).mean() <= 0.002
    assert length(logits[:4000], windows[:4000]) == 0
    assert length(logits + 9 * (windows == 8), windows) == STEEPEST, "more would hide long malicious texts"


def test_the_newest_texts_with_a_verdict_are_held_back_but_not_what_is_known_already():
    names = [f"{a}{b}" for a in "abcdefghij" for b in "klmnopqrstuvwxyzabcd"]
    texts = [Text(f"run {name}", "shell", ("malicious-shell",) if n % 2 else (), "") for n, name in enumerate(names)]
    again = [Text("R'u'n ak", "shell", (), ""), Text("run ip 10.0.0.7", "shell", (), "")]
    first = Text("run ip 10.0.0.8", "shell", (), "")
    learned, held = by_time([first, *texts, *again])
    assert learned == [first, *texts[:162]] and held == texts[162:]
    assert by_time(texts[:90]) == (texts[:90], []), "too few to tell anything"
    benign = [Text(text.text, "shell", (), "") for text in texts]
    assert by_time(benign) == (benign, [])
