"""The recommended methods: each has a gain whose interval excludes zero, as its page states it."""

import re
from pathlib import Path

import pytest

from intact.reason.recommended import RECOMMENDED
from intact.reason.registry import METHODS

PAGES = Path(__file__).parents[2] / "docs" / "methods"


def test_five_methods_are_recommended():
    assert len(RECOMMENDED) == 5
    assert RECOMMENDED.keys() <= METHODS.keys()


@pytest.mark.parametrize("name", RECOMMENDED)
def test_the_page_of_a_recommended_method_states_its_gain(name):
    gain = RECOMMENDED[name]
    assert 0 < gain.low < gain.points < gain.high
    page = " ".join((PAGES / f"{name}.md").read_text("utf-8").split())
    assert re.search(rf"{gain.points:.1f}.{{1,30}}\b{gain.low:.1f}\D+{gain.high:.1f}\b", page)
