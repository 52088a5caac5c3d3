"""The plan of a program: its dispatches in order, as pure data, without weights and without a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from intact.models.aspects.shader import RowOffset

Numbers: TypeAlias = Mapping[str, Any]
"""Parameters of a dispatch by the fields of its shader's `Parameters`: integers, and lists and mappings of them."""


@dataclass(frozen=True)
class Dispatch:
    """One call of a shader.

    Attributes
    ----------
    shader : str
        Name of the shader, a file in `shaders/`.
    numbers : mapping
        Its parameters.
    across : int
        Number of workgroups in x; there is one in y for each row, or for each tile of rows if `tiled`.
    wanted : bool
        If true, the rows are those whose logits are wanted.
    tiled : bool
        If true, a workgroup computes several rows (the constant T).
    constants : tuple of (str, int or bool)
        Constants of the shader: the format of weights.
    buffers : tuple of str
        The buffers at bindings 4 and above, by name.
    first_op, op : int
        Numbers of the first and of the last operation of the program that the dispatch computes.
    """

    shader: str
    numbers: Numbers
    across: int = 1
    wanted: bool = False
    tiled: bool = False
    constants: tuple[tuple[str, int | bool], ...] = ()
    buffers: tuple[str, ...] = ()
    first_op: int = 0
    op: int = 0


class HeadCodes(NamedTuple):
    """The head's input in a row: offset of its codes, and number of blocks of 32."""

    offset: int
    blocks: int


@dataclass(frozen=True)
class DispatchPlan:
    """All dispatches of a step, and the sizes that they rely on.

    Attributes
    ----------
    row_words : int
        Words of a row over all buffers.
    buffers : mapping
        The part of a row that belongs to each buffer.
    vectors : uint32
        Gains, biases, tables and indices, to which parameters refer by offset.
    moves : tuple of Dispatch
        The dispatches that move slots of the cache, one for each attention operation.
    layers : int
        Number of cache buffers, one for each attention operation.
    heads : int
        Maximum number of query heads of an attention operation.
    head : HeadCodes or None
        The head's input; None if the program has no head.
    """

    dispatches: tuple[Dispatch, ...]
    moves: tuple[Dispatch, ...]
    row_words: int
    buffers: Mapping[str, RowOffset]
    vectors: NDArray[np.uint32]
    layers: int
    heads: int
    head: HeadCodes | None
