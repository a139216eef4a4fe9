"""A rule written to hurt is refused by name or does no harm: neither when it is loaded nor when an event meets it.

The bounds on time are generous, and are processor time: what they keep out takes minutes, or for ever.
"""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analyzers.rules import RuleSet

LOAD_SECONDS = MATCH_SECONDS = 10
#: Values of a megabyte: one that no rule meets, those that many nearly meet, and one that its end alone decides.
VALUES = ("a" * 1_000_000, " -a" * 333_333, "word9999 " * 111_111, "x" * 999_999 + "!")


def detection(search: str, condition: str = "sel", more: str = "") -> str:
    return (
        f"title: Hurts\nlogsource: {{product: windows}}\n{more}detection:\n  sel:\n{search}\n  condition: {condition}\n"
    )


def values(key: str, *texts: object) -> str:
    return detection(f"    {key}: [" + ",".join(f"'{text}'" for text in texts) + "]")


def laughs(levels: int) -> str:
    lines = ["lol0: &l0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"lol{i}: &l{i} [" + ",".join([f"*l{i - 1}"] * 9) + "]" for i in range(1, levels)]
    return "\n".join(lines) + "\n"


def cases() -> dict[str, tuple[str, str]]:
    """Return each rule with the reason for which it is refused; empty if it must be taken."""
    return {
        "alternation of 10,000": (values("A|re", "|".join(f"w{i}" for i in range(10_000))), ""),
        "10,000 values": (values("A|contains", *(f"word{i}" for i in range(10_000))), ""),
        "10,000 values with wildcards": (values("A", *(f"*word*{i}*" for i in range(10_000))), "wildcards inside"),
        "10,000 keywords": (detection("    - " + "\n    - ".join(f"word{i}" for i in range(10_000))), ""),
        "10,000 networks": (values("A|cidr", *(f"10.{i // 256}.{i % 256}.0/24" for i in range(10_000))), ""),
        "200,000 values": (detection("    A:\n" + "    - a\n" * 110_000), "values"),
        "one value of a megabyte": (values("A", "x" * 990_000), ""),
        "base64offset of a megabyte": (values("A|base64offset|contains", "x" * 990_000), ""),
        "aliases that multiply": (detection("    A: *l8", more=laughs(9)), "aliases written out"),
        "aliases in the title": (laughs(9) + "title: *l8\nlogsource: {product: windows}\n", "aliases written out"),
        "aliases of a long text": (
            f"q: &a '{'x' * 400_000}'\n" + detection("    A: [" + "*a," * 50_000 + "]"),
            "aliases written out",
        ),
        "an alias that holds itself": (detection("    A: &a [*a]"), "holds itself"),
        "a number of many places": (detection("    A: 1" + ":1" * 450_000), "number is too long"),
        "a number of many digits": (detection("    A: 0x" + "f" * 900_000), "number is too long"),
        "a key that is a list": ("? [a]\n: b\n", "unhashable"),
        "200,000 documents": ("---\n" * 200_000, "documents"),
        "a long global document": (
            "---\n".join(["action: global\n" + values("A", *range(20_000))] + ["detection: {t: {B: 1}}\n"] * 400),
            "documents with an action",
        ),
        "brackets 100,000 deep": (detection("    A: 1", "(" * 100_000 + "sel" + ")" * 100_000), "longer than"),
        "brackets 5,000 deep": (detection("    A: 1", "(" * 5_000 + "sel" + ")" * 5_000), "nested deeper"),
        "brackets 20 deep": (detection("    A: 1", "(" * 20 + "sel" + ")" * 20), ""),
        "not 4,000 times": (detection("    A: 1", "not " * 4_000 + "sel"), "nested deeper"),
        "a condition of many terms": (detection("    A: 1", " and ".join(["(sel or not sel)"] * 500)), ""),
        "1 of many, many times": (
            detection(
                "    A: 1\n" + "\n".join(f"  s{i}: {{A: {i}}}" for i in range(9_000)), " or ".join(["1 of s*"] * 900)
            ),
            "names more than",
        ),
        "a long list, named often": (
            detection("    A: [" + ",".join(map(str, range(20_000))) + "]", " or ".join(["sel"] * 2_000)),
            "names more than",
        ),
        "windash, wide, base64offset": (
            values("A|windash|wide|base64offset|contains", *(f" -a{i} -b -c" for i in range(10_000))),
            "modifiers make more than",
        ),
        "base64offset 15 times": (values("A|" + "base64offset|" * 15 + "contains", "abc"), "modifiers make more than"),
        "wide 15 times": (values("A|" + "wide|" * 15 + "contains", "x" * 9_000), "modifiers make more than"),
        "windash 9 times": (values("A|" + "windash|" * 9 + "contains", " -a -b -c"), "windash|modifiers make more"),
        "a modifier 90,000 times": (values("A|" + "contains|" * 90_000 + "contains", "a"), "not valid YAML"),
        "a modifier 60 times": (values("A|" + "contains|" * 60 + "contains", "a"), "modifiers or"),
        "a name of a megabyte": (values("A" * 900_000, "a"), "not valid YAML"),
        "a long name written otherwise": (detection(f"    ? {'A' * 900_000}\n    : 1"), "characters"),
        "a catastrophic expression": (values("A|re", "(?=x)(a+)+$"), "quadratic"),
        "one that RE2 runs": (values("A|re", "(a+)+$"), ""),
        "repeats of repeats": (values("A|re", "x{1000}{1000}"), "invalid"),
        "repeats of groups": (values("A|re", "(x{1000}){1000}"), "quadratic|invalid|compile"),
        "repeats behind a look-ahead": (values("A|re", "(?=a)(x{60000}){60000}"), "quadratic|too large|compile"),
        "groups 15,000 deep": (values("A|re", "(" * 15_000 + "a" + ")" * 15_000), ""),
        "5,000 expressions": (values("A|re", *(f"a.*b{i}.*c" for i in range(5_000))), "regular expressions"),
        "50,000 wildcards": (values("A", "*a" * 25_000 + "*"), "wildcards"),
        "48,000 wildcards ?": (values("A", "*a?" * 16_000), "wildcards"),
        "64 wildcards ?": (values("A", "*a" + "?" * 64 + "b"), ""),
        "placeholders that multiply": (values("A|expand", "%two%" * 30), "maximum of 200"),
    }  # fmt: skip


CASES = cases()


@pytest.mark.parametrize("name", CASES)
def test_a_rule_written_to_hurt_is_refused_by_name_or_harmless(
    name: str, tmp_path: Path, make_event: Callable[..., Any]
) -> None:
    text, why = CASES[name]
    (tmp_path / "good.yml").write_text(detection("    A: good"))
    (tmp_path / "hurts.yml").write_text(text)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    rules = RuleSet.load(tmp_path, placeholders={"two": ["a", "b"]})
    assert time.process_time() - started < LOAD_SECONDS
    if why:
        (problem,) = rules.problems
        assert Path(problem.path).name == "hurts.yml"
        assert re.search(why, problem.reason), problem
        assert len(problem.reason) <= 400
    assert len(rules.rules) == (1 if why else 2), rules.problems
    for value in VALUES:
        started = time.process_time()
        rules.match_batch([make_event()], lambda _, value=value: {"A": value})  # type: ignore[misc]
        assert time.process_time() - started < MATCH_SECONDS
    assert not rules.failures
    assert rules.match_batch([make_event()], lambda _: {"A": "good"})
    # What the process has ever held at most, KiB; without the limits some of these take all there is.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000
