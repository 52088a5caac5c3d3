"""The number of integer multiply-adds of a program, computed from its tensor shapes."""

from __future__ import annotations

from collections import Counter

import numpy as np

from intact.models import Program
from intact.models.ops import Attend, Experts, Linear


class ProgramCost:
    """The number of integer multiply-adds of a program, computed from its tensor shapes."""

    def __init__(self, program: Program) -> None:
        shapes = {name: tensor.shape for name, tensor in program.tensors.items()}
        linear = [target.weight for op in program.ops if isinstance(op, Linear) for target in op.targets]
        self._matrices = sum([int(np.prod(shapes[name])) for name in linear])
        for op in program.ops:
            if isinstance(op, Experts):
                one = op.experts[0]
                self._matrices += op.used * sum(int(np.prod(shapes[name])) for name in {one.gate, one.up, one.down})
        self._head = int(np.prod(shapes[program.head_weight]))
        self._attention = Counter[int]()  # products per position and visible slot, by window
        for op in program.ops:
            if isinstance(op, Attend):
                self._attention[op.window] += 2 * op.heads * op.width

    def of(self, start: int, count: int) -> int:
        """Return the multiply-adds of matrices and head at every position, and of attention over visible positions."""
        end = start + count
        total = count * (self._matrices + self._head)
        for window, products in self._attention.items():
            total += products * (_visible(end, window) - _visible(start, window))
        return total


def _visible(end: int, window: int) -> int:
    """Return the total number of positions visible to those before `end`, counting themselves."""
    if not window or end <= window:
        return end * (end + 1) // 2
    return window * (window + 1) // 2 + (end - window) * window
