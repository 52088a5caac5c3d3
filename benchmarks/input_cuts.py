"""Count the bytes per token if the last projections of attention and MLP were split by inputs, for tensor_parallel.py.

Tensor parallelism splits every matrix by outputs, so a projection's inputs are gathered before it and its outputs after
it. Split by inputs, ranks would keep their columns. They would exchange the largest |x| of the row, for the scale of
its codes, and, if the weights have minima, the largest block sum; then each output's sums as 64 bits before the last
shift (two if there are minima), and the result comes back like any row (docs/spec/numerics.md, sections 3 and 4).
"""

from __future__ import annotations

from typing import NamedTuple

from intact.library.parallel.channel import HEADER
from intact.library.parallel.cut import cut_program
from intact.measure.planning.work import NUMBER
from intact.models.ops import AllGather, Linear
from intact.models.program import Program
from intact.numerics.weight_formats import BLOCK_FORMATS

SUM = 8
"""Size in bytes of a sum before the last shift, and of a maximum."""


class Traffic(NamedTuple):
    """The number of exchanges per token, and the bytes that rank 0 sends and receives in them."""

    exchanges: int
    bytes: int

    def plus(self, sizes: list[tuple[int, int]], others: int) -> Traffic:
        """Return this traffic plus more exchanges, with the given bytes from and to each other rank."""
        moved = sum(there + back + 2 * HEADER.size for there, back in sizes)
        return Traffic(self.exchanges + len(sizes), self.bytes + others * moved)


def count_traffic(program: Program, degree: int, *, by_inputs: bool) -> Traffic:
    """Count the traffic of exchanges for a generated token at a degree, excluding the step's plan and its logits.

    Parameters
    ----------
    by_inputs : bool
        If true, count as if projections whose inputs are gathered only for them were split by inputs. If false, count
        for the program as it is split.
    """
    part = cut_program(program, (1,) * degree, 0)
    found, others, at = Traffic(0, 0), degree - 1, 0
    while at < len(part.ops):
        op, following = part.ops[at], part.ops[at + 1 : at + 3]
        if by_inputs and isinstance(op, AllGather) and (kind := _projection(part, op, *following)):
            minima = (form := BLOCK_FORMATS.get(kind)) is not None and form.minimum_at is not None
            behind = following[1]
            assert isinstance(behind, AllGather)
            outputs = sum(behind.widths)
            found = found.plus([(SUM, SUM)] * (1 + minima), others)
            found = found.plus([(SUM * outputs * (1 + minima), NUMBER * outputs)], others)
            at += 3
            continue
        if isinstance(op, AllGather):
            whole, own = sum(op.widths), op.widths[1:]
            sent = sum(NUMBER * width + HEADER.size for width in own if width)
            lacking = sum(NUMBER * (whole - width) + HEADER.size for width in own)
            found = Traffic(found.exchanges + 1, found.bytes + sent + lacking)
        at += 1
    return found


def _projection(part: Program, before: AllGather, op: object, behind: object) -> str:
    """Return the format of a matrix whose inputs are gathered before and outputs after it; "" if there is none."""
    if not isinstance(op, Linear) or not isinstance(behind, AllGather) or len(op.targets) > 1:
        return ""
    (target,) = op.targets
    return part.tensors[target.weight].kind if (op.source, target.buffer) == (before.target, behind.source) else ""
