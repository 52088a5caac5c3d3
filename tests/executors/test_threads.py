"""Threads wait for each other where one would write what another still reads."""

import numpy as np
import pytest

from intact.executors.native import NativeExecutor, available_tiers
from intact.measure.conformance.synthetic import Case, _Builder, _chunk, _step
from intact.models.ops import Linear, Multiply, Norm, Target

pytestmark = pytest.mark.native
WIDTH, LAYERS = 4096, 12
STEPS = 12


def side_by_side() -> Case:
    """Layers that take a norm, or a part, of the stream before another product adds to it, and read that later."""
    b = _Builder("norm before a sum")
    b.embed(WIDTH, low=-12)
    b.linear("x", "F32", ("y", 32))
    matrices = b.matrix("up", "Q8_0", WIDTH, 32), b.matrix("down", "Q8_0", 32, WIDTH)
    gain = b.vector("gain", WIDTH, 1.0, 0.5)
    for i in range(LAYERS):
        part = Norm("x", b.buffer("normed", WIDTH), gain, 1e-5) if i % 2 else Multiply("x", b.buffer("normed", WIDTH))
        b.ops.append(part)
        b.ops.append(Linear("y", (Target("x", matrices[0], accumulate=True),)))
        b.ops.append(Linear("normed", (Target("y", matrices[1]),)))
    b.logits("y")
    return b.case([_step(_chunk(0, [token], (page,))) for page, token in enumerate(range(STEPS))])


def test_a_product_adds_to_a_row_once_nobody_reads_it() -> None:
    """Steps of one row, which a thread norms while the others, which have no row, could go on to the product."""
    case = side_by_side()

    def run(threads: int) -> list[np.ndarray]:
        executor = NativeExecutor(case.program, "int8", threads, available_tiers()[0])
        executor.reserve_pages(STEPS)
        return [executor.step(step.chunks, step.wanted).copy() for step in case.steps]

    expected = run(1)
    for threads in (2, 3, 4):
        assert all(np.array_equal(a, b) for a, b in zip(run(threads), expected, strict=True)), threads
