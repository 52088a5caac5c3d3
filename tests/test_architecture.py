"""docs/architecture.md shows the packages as they are."""

import pytest

from support.modules import load

ARCHITECTURE = load("scripts/architecture.py")


@pytest.mark.parametrize("path", ARCHITECTURE.made(), ids=lambda path: path.name)
def test_the_picture_and_the_table_are_those_of_the_code(path) -> None:
    assert path.read_text() == ARCHITECTURE.made()[path], "run scripts/architecture.py"
