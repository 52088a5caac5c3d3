"""The integer multiply-adds that a program takes, by the shapes of its matrices."""

from __future__ import annotations

from collections import Counter

import numpy as np

from intact.models import Program
from intact.models.ops import Attend, Experts, Linear


class ProgramCost:
    """The integer multiply-adds of a program, by its shapes."""

    def __init__(self, program: Program) -> None:
        shapes = {name: tensor.shape for name, tensor in program.tensors.items()}
        linear = [target.weight for op in program.ops if isinstance(op, Linear) for target in op.targets]
        self._matrices = sum([int(np.prod(shapes[name])) for name in linear])
        for op in program.ops:
            if isinstance(op, Experts):
                one = op.experts[0]
                self._matrices += op.used * sum(int(np.prod(shapes[name])) for name in {one.gate, one.up, one.down})
        self._head = int(np.prod(shapes[program.head_weight]))
        self._attention = Counter[int]()  # products a position and visible slot, by the window
        for op in program.ops:
            if isinstance(op, Attend):
                self._attention[op.window] += 2 * op.heads * op.width

    def of(self, start: int, count: int) -> int:
        """Products with matrices for every position, with the head for each too, and attention over what is visible."""
        end = start + count
        total = count * (self._matrices + self._head)
        for window, products in self._attention.items():
            total += products * (_visible(end, window) - _visible(start, window))
        return total


def _visible(end: int, window: int) -> int:
    """Return the number of positions that those before `end` see, themselves included, all together."""
    if not window or end <= window:
        return end * (end + 1) // 2
    return window * (window + 1) // 2 + (end - window) * window
