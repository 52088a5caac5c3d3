"""Norms over groups of columns: executors agree, and each group is normed by itself."""

import numpy as np
import pytest

from intact import _native
from intact.executors.native import NativeExecutor, available_tiers
from intact.executors.reference import ReferenceExecutor
from intact.measure.conformance.synthetic import Case, cases
from intact.models.ops import Norm
from intact.numerics import fp32
from intact.numerics.dequantize import dequantize
from support.tiers import tiers_with

CASE = next(case for case in cases() if case.name == "norm of groups")


def run(executor: ReferenceExecutor | NativeExecutor, case: Case) -> np.ndarray:
    executor.reserve_pages(case.pages)
    return executor.step(case.steps[0].chunks, case.steps[0].wanted).copy()


@pytest.mark.native
@pytest.mark.parametrize("profile", ["int8", "int8_row", "mxfp8", "int8+wina50"])
@pytest.mark.parametrize(("tier", "threads"), tiers_with(1, 3))
def test_native_equals_the_reference(tier: str, threads: int, profile: str) -> None:
    expected = run(ReferenceExecutor(CASE.program, 8, profile=profile), CASE)
    assert np.array_equal(run(NativeExecutor(CASE.program, profile, threads, tier), CASE), expected)


def test_the_fp32_profile_norms_each_group() -> None:
    """The program written out in NumPy, in float32."""
    program = CASE.program

    def tensor(name: str) -> np.ndarray:
        stored = program.tensors[name]
        return dequantize(stored.kind, stored.data, stored.shape)

    def normed(x: np.ndarray, norm: Norm) -> np.ndarray:
        parts = zip(np.split(x, norm.groups, axis=1), np.split(tensor(norm.gain), norm.groups), strict=True)
        return np.concatenate([fp32.rmsnorm(part, gain, norm.eps) for part, gain in parts], axis=1)

    embed, first, linear, second, logits = program.ops
    x = fp32.embed(tensor(embed.weight), CASE.steps[0].chunks[0].tokens)
    y = fp32.linear(normed(x, first), tensor(linear.targets[0].weight))
    expected = fp32.linear(normed(y, second), tensor(logits.weight))
    executor = NativeExecutor(program, "fp32", 2)
    executor.reserve_pages(CASE.pages)
    assert np.array_equal(executor.step_float(CASE.steps[0].chunks, CASE.steps[0].wanted), expected)


@pytest.mark.native
@pytest.mark.parametrize(("groups", "heads", "centered"), [(0, 0, False), (4, 0, False), (3, 3, False), (3, 0, True)])
def test_groups_that_do_not_fill_a_row_are_refused(groups: int, heads: int, centered: bool) -> None:
    model = _native.Model("int8", available_tiers()[0], 1, 1, 1, 16, 16)
    source, target = model.add_buffer(111, True), model.add_buffer(111, False)
    gain = model.add_gain(np.ones(111, np.int32), 0, 0, np.ones(111, np.float32), 1e-5)
    op = _native.Op("norm")
    op.source, op.target, op.weight = source, target, gain
    op.groups, op.heads, op.centered = groups, heads, centered
    with pytest.raises(ValueError, match="groups of a norm are RMS norms of runs of one size of a whole row"):
        model.add_op(op)
