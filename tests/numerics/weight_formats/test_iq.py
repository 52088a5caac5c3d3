"""The IQ types: codebooks as in the `gguf` package, and the same in Python and C++."""

import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest

from intact._base.errors import ParameterError
from intact.numerics.dequantize import dequantize
from intact.numerics.weight_formats import BLOCK_FORMATS
from intact.numerics.weight_formats.iq_grids import GRIDS, look_up
from intact.numerics.weights import from_blocks

KINDS = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S")


@pytest.mark.parametrize("kind", GRIDS)
def test_the_codebook_is_that_of_the_gguf_package(kind: str) -> None:
    theirs = getattr(gguf.quants, kind)
    theirs.init_grid()
    fields = look_up(kind, np.arange(len(GRIDS[kind])), 4 if kind.startswith("IQ3") else 2)
    levels = np.array(theirs.grid_map, np.float32)[fields]
    np.testing.assert_array_equal(levels.reshape(theirs.grid.shape), theirs.grid)


def test_the_native_codebooks_are_those_of_python() -> None:
    script = Path(__file__).parents[3] / "scripts" / "iq_grids.py"
    assert subprocess.run([sys.executable, script, "--check"], check=False).returncode == 0


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_bit_by_bit_those_of_the_gguf_package(kind: str) -> None:
    form = BLOCK_FORMATS[kind]
    data = np.random.default_rng(3).integers(0, 256, (2000, form.size), np.uint8)
    (half,) = form.halves
    half.write(data, half.read(data) & np.uint16(0xBBFF))  # no infinite scale
    theirs = gguf.dequantize(data, gguf.GGMLQuantizationType[kind])
    ours = dequantize(kind, data.reshape(-1), theirs.shape)
    np.testing.assert_array_equal(ours.view(np.uint32), theirs.view(np.uint32))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_parts_of_blocks_are_refused(kind: str) -> None:
    size = BLOCK_FORMATS[kind].size
    with pytest.raises(ParameterError, match=f"96 columns of {kind}: a row should be a multiple of 256"):
        from_blocks(kind, np.zeros(size, np.uint8), (1, 96))
    with pytest.raises(
        ParameterError, match=f"{size - 1} bytes for a {kind} matrix of shape .1, 256.: it should have {size}"
    ):
        from_blocks(kind, np.zeros(size - 1, np.uint8), (1, 256))
