"""Largest inputs of products, measured on calibration text; profiles with static activations scale rows by them.

A checkpoint stores them as one-element tensors alongside its matrices, `NAME.largest_input` for `NAME.weight`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from intact._base.errors import ModelError
from intact.models.aspects.op import Op
from intact.models.ops import Linear
from intact.numerics.activations import MOST_INPUT
from intact.numerics.fp32 import Floats

SUFFIX: Final = ".largest_input"
"""Suffix of the tensor with a matrix's largest input, replacing the matrix's `.weight`."""


def limit_name(weight: str) -> str:
    """Return the name of the tensor with a matrix's largest input."""
    return weight.removesuffix(".weight") + SUFFIX


def read_limit(values: Floats, where: str) -> float:
    """Return the largest input stored in a tensor.

    Raises
    ------
    ModelError
        If the value is out of range.
    """
    largest = float(values[0])
    if not 0 <= largest < MOST_INPUT:
        raise ModelError(f"{where}: the largest input is {largest:g}; expected a number from 0 to 2^31")
    return largest


def add_limits(ops: tuple[Op, ...], limits: Mapping[str, float]) -> tuple[Op, ...]:
    """Return operations in which products of matrices with a largest input name the tensor that holds it.

    Parameters
    ----------
    limits : mapping
        Largest inputs, by the matrices' canonical names; matrices without one are allowed.

    Raises
    ------
    ModelError
        If only some of the matrices that read the same input have a limit.
    """
    result: list[Op] = []
    for op in ops:
        names = [target.weight for target in op.targets] if isinstance(op, Linear) else []
        known = [name for name in names if name in limits]
        if known and isinstance(op, Linear):
            if len(known) < len(names):
                lacking = next(name for name in names if name not in limits)
                what = f"{limit_name(known[0])} exists for a matrix with the same input"
                raise ModelError(f"tensor {limit_name(lacking)} is missing: {what}")
            op = replace(op, largest=limit_name(max(known, key=lambda name: limits[name])))
        result.append(op)
    return tuple(result)
