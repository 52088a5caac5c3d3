"""The recipe for an operation: nobody else knows operations by name, and its page adds one that runs."""

import re
import shutil
from pathlib import Path

import pytest

import intact.models.ops
from support.adding import build_native, copy_native, edit_files, follow, need_build_tools, recipe, run_python

ROOT = Path(__file__).parents[2]
NAMES = "|".join(intact.models.ops.__all__)


def test_no_file_outside_of_ops_has_a_case_for_an_operation() -> None:
    arms = re.compile(rf"^\s*case (?:{NAMES})\(", re.MULTILINE)
    knowing = [path for path in (ROOT / "src/intact").rglob("*.py") if arms.search(path.read_text())]
    assert not knowing


def test_no_file_of_the_core_outside_of_ops_names_an_operation() -> None:
    kinds = [path.stem for path in (ROOT / "native/ops").glob("*.cpp")]
    assert len(kinds) >= 21
    named = re.compile(rf"\"(?:{'|'.join(kinds)})\"|\bOp::k[A-Z]")
    assert not [path.name for path in (ROOT / "native/runtime").iterdir() if named.search(path.read_text())]


def test_the_files_of_the_page_exist() -> None:
    section = (ROOT / "docs/dev/adding.md").read_text().partition("\n## An operation\n")[2].partition("\n## ")[0]
    paths = {path for path in re.findall(r"`([\w./]+)`", section) if re.search(r"/.*\.\w+$", path)}
    assert len(paths) >= 10
    assert not [path for path in paths if "NAME" not in path and not (ROOT / path).exists()]


PAGE = "operation.md"
USE = """
import sys
from pathlib import Path

import numpy as np

import intact
from intact import _native
from intact.measure.conformance import make_executor
from intact.measure.conformance.synthetic import _clips
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

(case,) = _clips()
found = []
for name in ("reference", "native"):
    executor = make_executor(name, *(["scalar"] if name == "native" else []))(case.program, case.bits)
    executor.reserve_pages(case.pages)
    found += [executor.step(step.chunks, step.wanted) for step in case.steps]
assert (found[0] == found[1]).all()
assert (case.program.ops[-2].limit_q16, len(np.unique(found[0]))) > (0, 2)
"""


def test_the_example_is_a_file_of_python_and_one_of_c_and_its_definition() -> None:
    used = "src/intact/models/clipped.py"
    assert {*recipe(PAGE)} == {"src/intact/models/ops/clip.py", "native/ops/clip.cpp", used}
    assert {*recipe(PAGE, edits=True)} == {"docs/spec/numerics.md", "src/intact/measure/conformance/synthetic.py"}


@pytest.mark.slow
def test_the_example_runs_in_every_executor(tmp_path: Path) -> None:
    need_build_tools()
    root = follow(PAGE, tmp_path / "copy", files=3)
    copy_native(root)
    (root / "docs" / "spec").mkdir(parents=True)
    shutil.copy(ROOT / "docs/spec/numerics.md", root / "docs" / "spec")
    edit_files(PAGE, root, files=2)
    build_native(root, "scalar")
    run_python(USE.format(folder=str(tmp_path)), root)
