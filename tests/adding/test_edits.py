"""The lines around the edits of recipes are in the files; the slow tests make the edits and build the result."""

from pathlib import Path

import pytest

from adding.test_operation import PAGE
from adding.test_tier import HEADING as TIER
from adding.test_weight_format import HEADING as WEIGHT_FORMAT
from support.adding import edit_text, recipe

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("heading", [PAGE, TIER, WEIGHT_FORMAT])
def test_the_edits_of_a_recipe_find_their_places(heading: str) -> None:
    edited = recipe(heading, edits=True)
    assert edited
    for name, edits in edited.items():
        content = (ROOT / name).read_text()
        assert edit_text(name, content, edits) != content
