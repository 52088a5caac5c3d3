"""Columns of wide rows times a number: executors agree, and bad operations are refused."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from intact import _native
from intact._base.errors import ModelError
from intact.executors.native import NativeExecutor, available_tiers
from intact.executors.reference import ReferenceExecutor
from intact.measure.conformance.synthetic import Case, cases
from intact.models.ops import Multiply
from intact.numerics.dequantize import dequantize
from support.tiers import tiers_with

CASE = next(case for case in cases() if case.name == "multiplied rows")


def run(executor: ReferenceExecutor | NativeExecutor, case: Case) -> np.ndarray:
    executor.reserve_pages(case.pages)
    return executor.step(case.steps[0].chunks, case.steps[0].wanted).copy()


@pytest.mark.native
@pytest.mark.parametrize("profile", ["int8", "int8_row", "mxfp8"])
@pytest.mark.parametrize(("tier", "threads"), tiers_with(1, 3))
def test_native_equals_the_reference(tier: str, threads: int, profile: str) -> None:
    expected = run(ReferenceExecutor(CASE.program, 8, profile=profile), CASE)
    assert np.array_equal(run(NativeExecutor(CASE.program, profile, threads, tier), CASE), expected)


@pytest.mark.native
def test_the_fp32_profile_multiplies_floats() -> None:
    """Its results are near those of a program whose embedding has the number in it."""
    program = CASE.program
    first, second, *_ = (op for op in program.ops if isinstance(op, Multiply))
    scalar = program.tensors[first.weight]
    number = Fraction(float(dequantize(scalar.kind, scalar.data, scalar.shape)[0]))
    folded = replace(program, ops=(replace(program.ops[0], scale=number), *program.ops[2:]))
    assert second.source == "x"

    def floats(program) -> np.ndarray:
        executor = NativeExecutor(program, "fp32", 2)
        executor.reserve_pages(CASE.pages)
        return executor.step_float(CASE.steps[0].chunks, CASE.steps[0].wanted).copy()

    found, expected = floats(program), floats(folded)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    assert not np.array_equal(floats(replace(program, ops=(program.ops[0], *program.ops[2:]))), found)


@pytest.mark.native
@pytest.mark.parametrize("make", [ReferenceExecutor, lambda program, bits: NativeExecutor(program, "int8", 1)])
def test_numbers_that_do_not_fit_are_refused(make) -> None:
    ops = tuple(replace(op, factor=Fraction(900)) if isinstance(op, Multiply) else op for op in CASE.program.ops)
    with pytest.raises(ModelError, match="multiplied by numbers between -64 and 64"):
        run(make(replace(CASE.program, ops=ops), 8), CASE)


@pytest.mark.native
@pytest.mark.parametrize(
    ("widths", "wide", "first", "multiplier", "message"),
    [
        ((8, 8), False, 0, 1, "columns of a wide row"),
        ((8, 9), True, 0, 1, "columns of a wide row"),
        ((8, 4), True, 5, 1, "columns of a wide row"),
        ((8, 4), True, -1, 1, "columns of a wide row"),
        ((8, 8), True, 0, 1 << 30, "numbers between -64 and 64"),
    ],
)
def test_bad_operations_are_refused(widths, wide, first, multiplier, message) -> None:
    model = _native.Model("int8", available_tiers()[0], 1, 1, 1, 16, 16)
    op = _native.Op("multiply")
    op.source, op.target = model.add_buffer(widths[0], wide), model.add_buffer(widths[1], False)
    op.first, op.multiplier = first, multiplier
    with pytest.raises(ValueError, match=message):
        model.add_op(op)
