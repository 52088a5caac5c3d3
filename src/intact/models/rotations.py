"""Rotations before products, for matrices that expect inputs rotated by a Hadamard matrix.

A checkpoint marks such a matrix with a one-element tensor, `NAME.hadamard` for `NAME.weight`, that holds the block
size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from intact._base.errors import ModelError
from intact.models.aspects.op import Op
from intact.models.aspects.tables import Buffer
from intact.models.ops import Hadamard, Linear
from intact.numerics.fp32 import Floats
from intact.numerics.hadamard import SIZES

SUFFIX: Final = ".hadamard"
"""Suffix of the tensor with the block size, replacing the matrix's `.weight`."""


def rotation_name(weight: str) -> str:
    """Return the name of the tensor with the block size of a matrix's input rotation."""
    return weight.removesuffix(".weight") + SUFFIX


def rotation_size(values: Floats, columns: int, where: str) -> int:
    """Return the block size stored in a tensor.

    Raises
    ------
    ModelError
        If the size is not supported, or does not divide a row.
    """
    size = float(values[0])
    if size not in SIZES:
        raise ModelError(f"{where}: blocks of {size:g} inputs; expected one of {', '.join(map(str, SIZES))}")
    if columns % int(size):
        raise ModelError(f"{where}: blocks of {size:g} do not fill rows of {columns} inputs")
    return int(size)


def add_rotations(
    ops: tuple[Op, ...], buffers: Mapping[str, Buffer], sizes: Mapping[str, int]
) -> tuple[tuple[Op, ...], dict[str, Buffer]]:
    """Return operations and buffers with a rotation before each product of matrices that need one.

    Matrices of one product with the same block size share the rotation and stay one product. Programs without rotated
    matrices are returned unchanged.

    Parameters
    ----------
    sizes : mapping
        Block sizes of rotated matrices, by canonical name.
    """
    result: list[Op] = []
    widths = dict(buffers)
    for op in ops:
        if not isinstance(op, Linear) or not any(target.weight in sizes for target in op.targets):
            result.append(op)
            continue
        groups: dict[int, Linear] = {}
        for target in op.targets:
            size, source = sizes.get(target.weight, 0), op.source
            if size:
                source = f"{op.source}.h{size}"
                if size not in groups:
                    widths[source] = Buffer(buffers[op.source].width, wide=True)
                    result.append(Hadamard(op.source, source, size))
            known = groups.setdefault(size, Linear(source, ()))
            groups[size] = Linear(known.source, (*known.targets, target))
        result += groups.values()
    return tuple(result), widths
