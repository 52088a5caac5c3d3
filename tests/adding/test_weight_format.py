"""The recipe for a weight format: two files and a list, and everything that reads or computes knows it."""

import json
from pathlib import Path

import pytest

from support.adding import build_native, copy_native, edit_files, follow, need_build_tools, run_python

HEADING = "A weight format"
USE = """
import json, sys
from pathlib import Path
import numpy as np
import intact
from intact import _native
from intact.measure.conformance.synthetic import random_tensor
from intact.checkpoints.formats import open_checkpoint
from intact.numerics import weights
from intact.numerics.dequantize import dequantize
from intact.numerics.weight_formats import BLOCK_FORMATS
from support.tiny import write_tiny

path = write_tiny(Path(sys.argv[-1]) / "tiny.gguf", kinds=("NF4",), tied=False)
executors = sys.argv[1:-1]
tensor = open_checkpoint(path).tensors["blk.0.attn_q.weight"]
integers = weights.from_blocks(tensor.kind, tensor.data, tensor.shape)
floats = dequantize(tensor.kind, tensor.data, tensor.shape)
found = {
    "kind": tensor.kind,
    "codes": sorted(np.unique(integers.codes).tolist()),
    "close": bool(np.allclose(weights.values(integers), floats, rtol=1e-4, atol=1e-4 * float(np.abs(floats).max()))),
    "logits": [np.asarray(intact.load(path, executor=name).logits([5, 6, 7])).tolist() for name in executors],
}
if "native" in executors:
    native = _native.convert(tensor.kind, tensor.data, *tensor.shape)
    found["same"] = bool((native.unpack()[0] == integers.codes).all() and (native.unpack()[1] == integers.scale).all())
    shape, tiers = tensor.shape, _native.fp32.tiers()
    values = [_native.fp32.dequantize(tier, tensor.kind, tensor.data, *shape, 0, shape[0]) for tier in tiers]
    found["values"] = all(bool((x.view(np.uint32) == floats.view(np.uint32)).all()) for x in values)
print(json.dumps(found))
"""


def use(root: Path, folder: Path, *executors: str) -> dict:
    return json.loads(run_python(f"import sys; sys.argv += {[*executors, str(folder)]!r}\n{USE}", root))


def test_the_definition_alone_is_read_and_run_by_the_reference(tmp_path: Path) -> None:
    found = use(follow(HEADING, tmp_path / "copy", files=2), tmp_path, "reference")
    assert found["kind"] == "NF4"
    assert found["codes"] == list(range(16))
    assert found["close"]
    assert len(found["logits"]) == 1


@pytest.mark.slow
def test_with_the_native_side_both_profiles_equal_the_reference(tmp_path: Path) -> None:
    need_build_tools()
    root = follow(HEADING, tmp_path / "copy", files=2)
    copy_native(root)
    # The recipe's file is not in the repository, so copying native/ left it in place.
    edit_files(HEADING, root)
    build_native(root, "scalar")
    found = use(root, tmp_path, "reference", "native")
    assert found["same"]
    assert found["values"]
    assert found["logits"][0] == found["logits"][1]
