"""Programs for the profile `llm_int8`, which stores outliers in 16 bits (docs/spec/numerics.md, section 3)."""

from __future__ import annotations

from dataclasses import replace

from intact._base.errors import ModelError
from intact.models.ops import Gather, Linear
from intact.models.ops.gather import gather_index
from intact.models.program import Program
from intact.numerics.activations import BLOCK
from intact.numerics.integers import MOST_INPUTS
from intact.numerics.outliers import outlier_blocks
from intact.numerics.profiles import ProfileParts


def with_outliers(program: Program, parts: ProfileParts) -> tuple[Program, dict[str, int]]:
    """Extend a program to multiply what 8-bit codes leave of outliers, if the profile gives outliers 16 bits.

    Returns
    -------
    Program
        The program with wider buffers of gathered inputs. `integer_weight` creates the matching matrices.
    dict
        Number of outlier blocks, by the name of each such buffer and of each matrix that multiplies it.

    Raises
    ------
    ModelError
        If a product would exceed its maximum number of columns.
    """
    if not parts.scheme.outliers:
        return program, {}
    found = {op.target: outlier_blocks(gather_index(program, op)) for op in program.ops if isinstance(op, Gather)}
    blocks, buffers = {name: count for name, count in found.items() if count}, dict(program.buffers)
    for name, count in blocks.items():
        width = buffers[name].width + BLOCK * count
        if width > MOST_INPUTS:
            raise ModelError(f"{width} columns with outliers in 16 bits: a product has at most {MOST_INPUTS}")
        buffers[name] = replace(buffers[name], width=width)
    for op in program.ops:
        if isinstance(op, Linear) and op.source in found:
            blocks |= {target.weight: found[op.source] for target in op.targets if found[op.source]}
    return replace(program, buffers=buffers), blocks
