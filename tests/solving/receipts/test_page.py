"""docs/spec/runs.md states the patterns and limits that are in use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from intact.engine.sampling import grammars
from intact.tasks.score import answers, latex_syntax, numbers, quantity

PATTERNS = {
    "box": answers._BOX,
    "cue": answers._CUE,
    "emphasis": answers._EMPHASIS,
    "sentence": answers._SENTENCE,
    "choice": answers._CHOICE,
    "words": answers._WORDS,
    "formula": answers._FORMULA,
    "loose": answers._LOOSE,
    "base": answers._BASED,
    "note": answers._NOTE,
    "token": latex_syntax.TOKEN,
    "aside": quantity.ASIDE,
    "clause": quantity.CLAUSE,
    "relation": quantity.RELATION,
    "filler": quantity.FILLER,
    "piece": quantity.PIECE,
}


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "spec" / "runs.md").read_text("utf-8")


@pytest.mark.parametrize("name", PATTERNS)
def test_the_page_gives_every_pattern(page: str, name: str) -> None:
    if name in ("aside", "clause", "relation", "filler", "piece", "note"):
        assert f"{name.upper()}:{PATTERNS[name].pattern}" in re.sub(r"\n    ", "", page)
    else:
        assert f"`{PATTERNS[name].pattern}`" in page


def test_the_page_builds_the_pattern_of_a_number(page: str) -> None:
    rows = re.findall(r"^\| (?:sign|money.*?|whole part.*?|digits|denominator) \| `(.+)` \|$", page, re.MULTILINE)
    (whole,) = re.findall(r"with WHOLE `(.+?)`", page)
    assert without_groups("".join(rows).replace("WHOLE", whole)) == without_groups(numbers.NUMBER.pattern)


def without_groups(pattern: str) -> str:
    """Drop the brackets that only capture, so that it does not matter what a pattern captures."""
    return re.sub(r"\(\?P<\w+>|(?<!\\)\((?!\?)|(?<!\\)\)", "", pattern)


def test_the_page_gives_the_limits_of_constraints(page: str) -> None:
    words = " ".join(page.split())
    for name, value in grammars.LIMITS.items():
        assert f"`{name}` {value:,}" in words
    assert f"`{grammars.SPACE}`" in page
