"""The recipe for an operation names every file that knows an operation of the same kind."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUFFIXES = {".py", ".cpp", ".h", ".inl"}


def named_by_the_page() -> set[str]:
    section = (ROOT / "docs/adding.md").read_text().partition("\n## An operation\n")[2].partition("\n## ")[0]
    return {path for path in re.findall(r"`([\w./]+)`", section) if "/" in path}


@pytest.mark.parametrize("name", ["Gate", "Rope"])
def test_every_file_that_knows_an_operation_is_named(name: str) -> None:
    words = re.compile(rf"\b(?:{name}|k{name}|{name.upper()})\b")
    files = [path for folder in ("src/intact", "native") for path in (ROOT / folder).rglob("*")]
    knowing = {str(f.relative_to(ROOT)) for f in files if f.suffix in SUFFIXES and words.search(f.read_text())}
    assert len(knowing) >= 8
    assert knowing <= named_by_the_page()


def test_every_file_that_knows_a_kernel_of_an_operation_is_named() -> None:
    files = [path for path in (ROOT / "native").rglob("*") if path.suffix in SUFFIXES]
    knowing = {str(f.relative_to(ROOT)) for f in files if re.search(r"\bgate\b", re.sub("//.*", "", f.read_text()))}
    assert knowing <= named_by_the_page()


def test_the_files_exist() -> None:
    assert not [path for path in named_by_the_page() if "NAME" not in path and not (ROOT / path).exists()]
