"""The largest inputs of products on a text: by them profiles of static activations scale rows.

A checkpoint says them by tensors of one number beside its matrices, `NAME.largest_input` for `NAME.weight`.
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
"""Of the tensor that says a matrix's largest input, in place of the matrix's `.weight`."""


def limit_name(weight: str) -> str:
    """Return the name of the tensor that says a matrix's largest input."""
    return weight.removesuffix(".weight") + SUFFIX


def read_limit(values: Floats, where: str) -> float:
    """Return the largest input that a tensor says.

    Raises
    ------
    ModelError
        If it is no size that inputs can have.
    """
    largest = float(values[0])
    if not 0 <= largest < MOST_INPUT:
        raise ModelError(f"{where}: the largest input is {largest:g}; expected a number from 0 to 2^31")
    return largest


def add_limits(ops: tuple[Op, ...], limits: Mapping[str, float]) -> tuple[Op, ...]:
    """Return operations whose products name the tensor of their largest input, where matrices have one.

    Parameters
    ----------
    limits : mapping
        The largest input of each matrix that has one, by the matrix's canonical name.

    Raises
    ------
    ModelError
        If some matrices that read the same input have one, and others not.
    """
    result: list[Op] = []
    for op in ops:
        names = [target.weight for target in op.targets] if isinstance(op, Linear) else []
        known = [name for name in names if name in limits]
        if known and isinstance(op, Linear):
            if len(known) < len(names):
                lacking = next(name for name in names if name not in limits)
                what = f"{limit_name(known[0])} is of a matrix with the same input"
                raise ModelError(f"tensor {limit_name(lacking)} is missing: {what}")
            op = replace(op, largest=limit_name(max(known, key=lambda name: limits[name])))
        result.append(op)
    return tuple(result)
