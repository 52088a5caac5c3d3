"""Mutated GGUF files: no crash, no memory, no wrong tensors."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest

from checkpoints.formats.fuzz_gguf import MEMORY, mutate, seed_pieces
from intact._base.errors import FormatError
from intact.checkpoints.formats.gguf import read_gguf

COUNT = int(os.environ.get("INTACT_FUZZ_COUNT", "3000"))


def test_mutated_headers_never_crash_nor_take_memory(tmp_path: Path) -> None:
    search = [str(Path(__file__).parents[2]), *sys.path]
    run = subprocess.run(
        [sys.executable, "-m", "checkpoints.formats.fuzz_gguf", str(COUNT), os.environ.get("INTACT_FUZZ_SEED", "1")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(search)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    assert result["cases"] == COUNT
    assert 0.03 * COUNT < result["accepted"] < 0.5 * COUNT, "the mutations should neither all fail nor all be harmless"
    assert result["memory"] < MEMORY


@pytest.mark.filterwarnings("ignore:.*overflow.*:RuntimeWarning")
def test_what_is_accepted_is_what_the_gguf_package_reads(tmp_path: Path) -> None:
    draw = random.Random(7)
    seed = seed_pieces(3)
    compared = 0
    for case in range(1000):
        path = tmp_path / f"{case}.gguf"
        path.write_bytes(mutate(seed, draw))
        try:
            ours = read_gguf(path)
        except FormatError:
            continue
        theirs = gguf.GGUFReader(path)
        assert list(ours.tensors) == [tensor.name for tensor in theirs.tensors]
        for tensor in theirs.tensors:
            mine = ours.tensors[tensor.name]
            assert (mine.kind, mine.shape[::-1]) == (tensor.tensor_type.name, tuple(tensor.shape.tolist()))
            assert np.array_equal(mine.data, np.ascontiguousarray(tensor.data).view(np.uint8).ravel())
        compared += 1
    assert compared > 30
