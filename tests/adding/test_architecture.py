"""The recipe of docs/dev/adding.md for an architecture: one new file, then a checkpoint of it runs."""

from intact.models import ARCHITECTURES
from support.adding import follow, recipe, run_python, write_distribution

PROGRAM = """
import sys
from pathlib import Path

import intact
from intact.models import ARCHITECTURES
from support.tiny import write_tiny

folder, origin = Path({folder!r}), {origin!r}
assert ARCHITECTURES.origin("parallel") == origin, ARCHITECTURES.origin("parallel")
path = write_tiny(folder / "tiny.gguf", "parallel")
fast, slow = intact.load(path, threads=1), intact.load(path, executor="reference")
tokens = list(range(3, 20))
assert (fast.logits(tokens, raw=True)[0] == slow.logits(tokens, raw=True)[0]).all()
assert fast.program.architecture == "parallel"
assert fast.generate("Once", max_tokens=4)
print(intact.__file__)
"""


def test_one_new_file_is_an_architecture(tmp_path):
    root = follow("An architecture", tmp_path / "copy")
    printed = run_python(PROGRAM.format(folder=str(tmp_path), origin="intact"), root)
    assert printed.startswith(str(root))


def test_an_entry_point_is_an_architecture(tmp_path):
    [text] = recipe("An architecture").values()
    entries, modules = {"parallel": "of_parallel:Parallel"}, {"of_parallel": text}
    packages = write_distribution(tmp_path / "packages", "parallel-models", "intact.architectures", entries, modules)
    run_python(PROGRAM.format(folder=str(tmp_path), origin="parallel-models 1.0"), packages)


def test_the_recipe_s_architecture_is_not_there_yet():
    assert "parallel" not in ARCHITECTURES
