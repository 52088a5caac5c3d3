"""A quantiser and a transform are one new file each."""

import json
from pathlib import Path

from support.adding import follow, run_python

USE = """
import json
from pathlib import Path

import numpy as np

import intact
from intact.quantizing.quantizers import QUANTIZERS, TRANSFORMS
from support.tiny import write_tiny

folder = Path({folder!r})
source = write_tiny(folder / "source.gguf", "llama")
made = [intact.quantize(source, folder / name.partition("+")[0].partition(":")[0], name) for name in {specs!r}]
tokens = list(range(3, 30))
paths = [source, *(model.path for model in made)]
before, *after = [np.asarray(intact.load(path, profile="fp32").logits(tokens)) for path in paths]
print(json.dumps([{name!r} in QUANTIZERS, {name!r} in TRANSFORMS, *(float(np.abs(a - before).max()) for a in after)]))
"""


def test_a_quantizer_is_one_new_file(tmp_path: Path) -> None:
    root = follow("A quantiser", tmp_path / "copy")
    program = USE.format(folder=str(tmp_path), specs=["pruned:int8-32", "nearest:int8-32"], name="pruned")
    known, transform, pruned, nearest = json.loads(run_python(program, root))
    assert (known, transform) == (True, False)
    assert pruned > 5 * nearest > 0


def test_a_transform_is_one_new_file(tmp_path: Path) -> None:
    root = follow("A transform", tmp_path / "copy")
    program = USE.format(folder=str(tmp_path), specs=["halved+int8-32", "int8-32"], name="halved")
    known, transform, halved, plain = json.loads(run_python(program, root))
    assert (known, transform) == (False, True)
    assert halved == plain > 0
