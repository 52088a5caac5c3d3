"""Round each value to the nearest level of its block."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.numerics.encode import BlockScales
from intact.numerics.grids import GRIDS
from intact.quantizing.quantizers.assemble import assemble, assemble_blocks
from intact.quantizing.quantizers.base import InputStatistics, QuantizedMatrix, Quantizer
from intact.quantizing.quantizers.block_scales import fit_block_scales
from intact.quantizing.quantizers.block_types import BLOCK_TYPES
from intact.quantizing.quantizers.codebooks import fit_codebook
from intact.quantizing.quantizers.fixed import FRACTION, FixedRows, Floats, Int, fix_rows, nearest, to_int16
from intact.quantizing.quantizers.scales import RULES
from intact.quantizing.quantizers.spec import Spec


class Steps(NamedTuple):
    """Scales and offsets of the blocks of rows, in the form that `intact.quantizing.quantizers.assemble` takes."""

    scales: tuple[Int, Int]
    offsets: tuple[Int, Int] | None
    blocks: BlockScales | None = None
    """The same values as a GGUF type stores them, if the spec names one."""

    @property
    def step(self) -> Floats:
        """(N, blocks): in units of the rows' integers."""
        return np.ldexp(self.scales[0].astype(np.float64), self.scales[1][:, None])

    @property
    def offset(self) -> Floats:
        """(N, blocks): in units of the rows' integers."""
        if self.offsets is None:
            return np.zeros(self.scales[0].shape)
        return np.ldexp(self.offsets[0].astype(np.float64), self.offsets[1][:, None])


def fit_steps(rows: FixedRows, spec: Spec, columns: int, second: Int | None = None) -> Steps:
    """Choose the scales of all blocks, and the offsets for affine grids.

    Parameters
    ----------
    second : int64 (K,), optional
        The second moments of the inputs, used as weights of the errors for GGUF types.
    """
    grid = spec.levels
    if spec.block_type is not None:
        return block_steps(fit_block_scales(spec.block_type, rows, columns, second), spec, rows.exponent)
    blocks = rows.blocks(spec.width(columns))
    if not grid.affine:
        return Steps(RULES[spec.rule](blocks, grid), None)
    low, high = blocks.x.min(axis=2).astype(np.int64), blocks.x.max(axis=2).astype(np.int64)
    scale, t = to_int16(-(-(high - low) // (grid.levels[-1] - grid.levels[0])), least=1)
    return Steps((scale, t), to_int16(low - grid.levels[0] * (scale << t[:, None])))


def fit_levels(rows: FixedRows, spec: Spec, columns: int, second: Int | None = None) -> tuple[Floats, Steps]:
    """Choose the scales of all blocks and the levels nearest to the rows, float64 (N, K padded); see `fit_steps`.

    For types with a codebook, several levels are chosen together.
    """
    kind = spec.block_type
    if kind is not None and kind.codebook:
        levels, scales = fit_codebook(kind, rows, columns, second)
        return levels, block_steps(scales, spec, rows.exponent)
    steps = fit_steps(rows, spec, columns, second)
    return nearest_levels(rows, steps, spec, columns), steps


def nearest_levels(rows: FixedRows, steps: Steps, spec: Spec, columns: int) -> Floats:
    """Return the levels nearest to the rows, float64 (N, K padded)."""
    blocks = rows.blocks(spec.width(columns))
    return nearest(blocks.x - steps.offset[..., None], steps.step, spec.levels).reshape(rows.x.shape)


def round_rows(rows: FixedRows, steps: Steps, spec: Spec, columns: int) -> QuantizedMatrix:
    """Round rows to their nearest levels, and assemble the matrix."""
    return assemble_steps(spec, columns, nearest_levels(rows, steps, spec, columns), steps, exponent=rows.exponent)


def block_steps(blocks: BlockScales, spec: Spec, exponent: Int) -> Steps:
    """Convert scales as a GGUF type stores them to steps and offsets; the conversion is exact."""
    if not blocks.halves:
        assert blocks.scale is not None
        least = blocks.scale.max(axis=1) - 14
        power = np.maximum(blocks.scale - least[:, None], 0)
        return Steps((np.int64(1) << power, least - 128 + FRACTION - exponent), None, blocks)
    form = GRIDS[spec.grid]
    d, *e = (np.ldexp(half, 24).astype(np.int64) for half in blocks.halves)
    repeat = 1 if blocks.scale is None else blocks.scale.shape[1] // d.shape[1]
    scale = np.repeat(d, repeat, axis=1) * (1 if blocks.scale is None else blocks.scale)
    t = FRACTION - 24 - exponent - (0 if spec.block_type is None else spec.block_type.form.fraction)
    if not e:
        return Steps((scale, t), None, blocks)
    added = np.repeat(e[0], repeat, axis=1) * (1 if blocks.minimum is None else -blocks.minimum)
    return Steps((scale, t), (added - form.levels[0] * scale, t), blocks)


def assemble_steps(
    spec: Spec, columns: int, levels: Floats, steps: Steps, exponent: Int, proxy: float | None = None
) -> QuantizedMatrix:
    """Assemble a matrix of levels, float64 (N, K padded), with steps from `fit_steps`."""
    if steps.blocks is not None:
        return assemble_blocks(spec, columns, levels, steps.blocks, proxy=proxy)
    return QuantizedMatrix(
        assemble(spec, columns, levels, steps.scales, exponent=exponent, offsets=steps.offsets), proxy
    )


class Nearest(Quantizer):
    """Round to nearest."""

    name = "nearest"
    summary = "each value to the nearest level of its block"
    source = "Krishnamoorthi, arXiv 1806.08342; Wu et al., arXiv 2004.09602"
    rules = (*RULES, *BLOCK_TYPES)

    def __call__(self, matrix: NDArray[np.float32], spec: Spec, inputs: InputStatistics | None) -> QuantizedMatrix:
        """Quantise a matrix; see `Quantizer`."""
        columns = matrix.shape[1]
        rows = fix_rows(matrix)
        second = None if inputs is None else inputs.second.diagonal()[:columns]
        levels, steps = fit_levels(rows, spec, columns, second)
        return assemble_steps(spec, columns, levels, steps, exponent=rows.exponent)


class Imatrix(Nearest):
    """Round to nearest, with scales fitted to errors that are weighted by the inputs' second moments."""

    name = "imatrix"
    summary = "the same in GGUF's types, errors weighted by the inputs' mean squares when scales are chosen"
    source = "llama.cpp, the importance matrix of llama-imatrix and llama-quantize"
    calibrated = True
    rules = tuple(BLOCK_TYPES)


NEAREST = Nearest()
IMATRIX = Imatrix()
