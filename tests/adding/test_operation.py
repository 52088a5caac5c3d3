"""The recipe for an operation: its table names every file that knows one, its page adds one that runs."""

import re
from pathlib import Path

import pytest

from support.adding import build_native, copy_native, edit_files, follow, need_build_tools, recipe, run_python

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


PAGE = "operation.md"
USE = """
import sys
from pathlib import Path

import numpy as np

import intact
from intact import _native
from intact.numerics.clip import clip, clip_limit
from support.tiny import write_tiny

folder = Path({folder!r})
path = write_tiny(folder / "clipped.gguf", "clipped")
tokens = list(range(3, 60))


def logits(path, **options):
    return intact.load(path, **options).logits(tokens, raw=True)


slow = logits(path, executor="reference")
for threads in (1, 2, 3):
    assert (logits(path, threads=threads)[0] == slow[0]).all(), threads
assert (logits(write_tiny(folder / "free.gguf", "llama"))[0] != slow[0]).any()  # the same weights without a limit
floats = [np.asarray(logits(path, profile="fp32", threads=threads)[0]) for threads in (1, 2)]
assert (floats[0].view(np.uint32) == floats[1].view(np.uint32)).all()

random = np.random.default_rng(1)
rows = random.integers(-(1 << 31) + 1, 1 << 31, 1001).astype(np.int32)
limit = clip_limit({limit})
assert (_native.kernels.clip("scalar", rows, limit) == clip(rows, {limit})).all()
values = random.normal(size=1001).astype(np.float32)
assert (_native.fp32.clip("scalar", values, 0.125) == np.clip(values, -0.125, 0.125)).all()
"""


def test_the_example_edits_only_files_of_the_table() -> None:
    table = {re.sub("NAME", "clip", path) for path in named_by_the_page()} | {"src/intact/models/clipped.py"}
    assert {*recipe(PAGE), *recipe(PAGE, edits=True)} <= table


@pytest.mark.slow
def test_the_example_runs_in_every_executor(tmp_path: Path) -> None:
    need_build_tools()
    root = follow(PAGE, tmp_path / "copy", files=2)
    copy_native(root)
    edit_files(PAGE, root, files=18)
    build_native(root, "scalar")
    run_python(USE.format(folder=str(tmp_path), limit="1 / 8"), root)
