"""A rule's regular expression finds what it should and cannot stop the stream."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.rules.regexes import compile_pattern, necessary_literal, regex
from analyzers.rules.rule import Unsupported


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|aa)+$", "(.*)*x", "(?:a?){30}a{30}", "|".join(f"word{i}" for i in range(5_000))]
)
def test_what_hurts_other_engines_takes_linear_time(pattern: str) -> None:
    search = compile_pattern(pattern, re.NOFLAG)
    started = time.process_time()
    search("a" * 50_000 + "!")
    # A backtracking engine needs longer than the universe is old for most of these; no benchmark is meant.
    assert time.process_time() - started < 30


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?=x)(a+)+$",
        r"(?!x)(a|aa)*$",
        r"(?=(\w+\s?)*$)",
        r"(a*)*\1",
        r".*a.*b.*(?=c)",
        r"(?<!x)(?:a{1,60}){1,60}b",
    ],
)
def test_what_only_backtracking_could_do_slowly_is_refused(pattern: str) -> None:
    with pytest.raises(Unsupported, match="quadratic"):
        compile_pattern(pattern, re.NOFLAG)


@pytest.mark.parametrize(
    "pattern", [r"foo(?!bar)", r"^(?=.*a)(?=.*b)", r"(\w)\1", r"(?<=\\)cmd\.exe", r"\bnet1?\s+(?!use)\w+"]
)
def test_look_around_and_references_that_are_harmless_are_taken(pattern: str) -> None:
    assert compile_pattern(pattern, re.NOFLAG)("no such thing") in (True, False)


@pytest.mark.parametrize("pattern", ["(", "a{2,1}(?=x)", "[z-a]", "x" * 70_000, "\ud800("])
def test_what_does_not_compile_is_refused_with_a_reason(pattern: str) -> None:
    with pytest.raises(Unsupported, match="regular expression"):
        compile_pattern(pattern, re.NOFLAG)


@pytest.mark.parametrize(
    ("pattern", "literal"),
    [
        (r"Invoke-(?:Expression|Command)", "invoke-"),
        (r"[Pp]ower[Ss]hell\s+-enc", "powershell"),
        (r"(?:abc)+defg?", "abc"),
        (r"(abc)?de", ""),
        (r"abc|def", ""),
        (r"a.b.c", ""),
        (r"[[:alpha:]]longer", ""),
        (r"\x2fbin\x2fsh", "/bin/sh"),
        (r"(?!never)always", "always"),
    ],
)
def test_a_literal_that_every_match_contains(pattern: str, literal: str) -> None:
    assert necessary_literal(pattern, re.NOFLAG) == literal


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(["abcd", "EFGH", "[Ii]jk", ".", "x*", "(?:lmn|opq)", "(rst)+", "(uvw)?", r"\s", "k", "s"]),
        max_size=5,
    ),
    st.lists(
        st.sampled_from(
            ["abcd", "efgh", "EFGH", "Ijk", "ijk", "x", "lmn", "rst", "RST", "uvw", " ", "\u212a", "\u017f"]
        ),
        max_size=8,
    ),
    st.booleans(),
)
def test_the_literal_never_hides_a_match(parts: list[str], words: list[str], ignore_case: bool) -> None:
    flags = re.IGNORECASE if ignore_case else re.NOFLAG
    text = "".join(words)
    test = regex("".join(parts), flags)
    if test.ok(text) and test.necessary is not None:
        assert test.necessary.literal in text.casefold()


@pytest.mark.parametrize("flags", [re.NOFLAG, re.MULTILINE])
def test_the_end_that_endswith_means_is_before_a_last_newline_too(flags: re.RegexFlag) -> None:
    ends = compile_pattern("(?:b)(?-m:$)", flags)  # as ``re|endswith`` is compiled
    assert ends("ab") and ends("ab\n")
    assert not ends("ab\n\n") and not ends("b\na")
