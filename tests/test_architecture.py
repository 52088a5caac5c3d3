"""docs/dev/architecture.md shows the packages as they are, and its journeys pass the files that it names."""

import re
from pathlib import Path

import pytest

from support.modules import load

ROOT = Path(__file__).parent.parent
ARCHITECTURE = load("scripts/architecture.py")
JOURNEYS = load("scripts/journeys.py")


def test_the_pictures_and_tables_are_those_of_the_code() -> None:
    for path, text in ARCHITECTURE.made().items():
        assert path.read_text() == text, f"{path.name}: run scripts/architecture.py"


@pytest.fixture(scope="module")
def entered() -> dict[str, set[str]]:
    """The files that each journey enters; each but the first may pass those of the first, too."""
    found = {name: set(files) for name, files in JOURNEYS.entered_files().items()}
    return {name: files | found["generate"] for name, files in found.items()}


def _named(journey: str) -> set[str]:
    text = (ROOT / "docs" / "dev" / "architecture.md").read_text().partition(f"<!-- journey: {journey} -->")[2]
    return set(re.findall(r"`([\w/]+\.(?:py|cpp|inl))`", text.partition("<!-- journey")[0]))


@pytest.mark.parametrize("journey", list(JOURNEYS.JOURNEYS))
def test_a_journey_enters_the_files_that_the_page_names(journey: str, entered: dict[str, set[str]]) -> None:
    named = _named(journey)
    assert named
    python = {name for name in named if name.endswith(".py")}
    assert not python - entered[journey]
    assert all(list((ROOT / "native").rglob(name)) for name in named - python)
