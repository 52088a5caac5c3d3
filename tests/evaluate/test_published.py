"""The published runs of study/evaluation.md come out again of their recorded texts, byte for byte."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from support.modules import load

PUBLISHED = load("benchmarks/published.py")


def section(root: Path, name: str) -> str:
    """Return the part of the page on a run."""
    page = (root / "study" / "evaluation.md").read_text("utf-8")
    (found,) = [
        part for part in re.split(r"^## ", page, flags=re.MULTILINE) if f"intact report {name}.jsonl --title" in part
    ]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED.RUNS)
def test_a_published_run_comes_out_again_of_its_texts(root, name, tmp_path, model_path, data_dir, monkeypatch):
    monkeypatch.setenv("INTACT_DATA", str(data_dir))
    result = PUBLISHED.remake(name, model_path("qwen-coder-0.5b"), tmp_path)
    assert hashlib.sha256(result.read_bytes()).hexdigest() in section(root, name)
    for file in [*tmp_path.glob(f"{name}.md"), *tmp_path.glob(f"{name}-*.svg")]:
        assert file.suffix == ".svg" or file.read_bytes() == (root / "study" / file.name).read_bytes()
