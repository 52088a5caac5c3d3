"""Allocation: exact against enumeration, ties as stated, and the proxy against floats."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact.numerics.weights import values
from intact.quantizing.allocate import allocate
from intact.quantizing.mixing import assign, check_budget, whole_costs
from intact.quantizing.quantizers import QUANTIZERS, InputStatistics, SpecMixture, parse_spec, parse_target
from intact.quantizing.quantizers.proxy import proxy

CANDIDATES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=4)


def enumerate_all(costs: list[list[int]], sizes: list[list[int]], budget: int) -> tuple[int, ...] | None:
    """Return the best of all choices by the stated order: cost, size, then the last matrix's candidate and so on."""
    best = None
    for choice in product(*(range(len(row)) for row in costs)):
        size = sum(row[i] for row, i in zip(sizes, choice, strict=True))
        cost = sum(row[i] for row, i in zip(costs, choice, strict=True))
        if size <= budget:
            key = (cost, size, choice[::-1])
            best = key if best is None else min(best, key)
    return None if best is None else best[2][::-1]


@given(matrices=st.lists(CANDIDATES, min_size=1, max_size=5), budget=st.integers(0, 40))
def test_the_choice_is_that_of_enumeration(matrices: list[list[tuple[int, int]]], budget: int) -> None:
    costs, sizes = ([[pair[i] for pair in row] for row in matrices] for i in (0, 1))
    expected = enumerate_all(costs, sizes, budget)
    if expected is None:
        with pytest.raises(ParameterError, match="the smallest candidates need"):
            allocate(costs, sizes, budget)
    else:
        assert allocate(costs, sizes, budget) == expected


def test_of_equal_costs_the_fewest_bits_are_taken() -> None:
    assert allocate([[5, 5, 5]], [[9, 4, 6]], 10) == (1,)
    assert allocate([[3, 2], [3, 2]], [[1, 2], [1, 2]], 3) == (1, 0)  # equal in both: the last takes the earlier


def test_it_is_optimal_at_the_size_of_a_model() -> None:
    """The relaxed problem bounds the cost from below; 200 matrices leave less than one matrix's step between."""
    draw = np.random.default_rng(4)
    costs = [[int(a * 4.0**-b) for b in (2, 3, 4, 6, 8)] for a in draw.integers(1 << 30, 1 << 40, 200)]
    weights = draw.integers(1, 9, 200) * 110592
    sizes = [[int(n * b) for b in (5, 8, 9, 14, 17)] for n in weights]
    budget = int(9.5 * weights.sum())
    chosen = allocate(costs, sizes, budget)
    size = sum(row[i] for row, i in zip(sizes, chosen, strict=True))
    cost = sum(row[i] for row, i in zip(costs, chosen, strict=True))
    assert size <= budget
    bounds = []
    for price in np.geomspace(1e-3, 1e9, 400):
        least = sum(
            min(c + price * s for c, s in zip(cs, ss, strict=True)) for cs, ss in zip(costs, sizes, strict=True)
        )
        bounds.append(least - price * budget)
    assert max(bounds) <= cost <= 1.02 * max(bounds)


def inputs_of(columns: int, rows: int = 300) -> InputStatistics:
    draw = np.random.default_rng(columns)
    x = draw.standard_normal((rows, columns)) @ draw.standard_normal((columns, columns))
    x[:, 1] *= 300
    fixed = np.round(x * 1024).astype(np.int64)
    return InputStatistics(rows, -10, fixed.T @ fixed, np.abs(fixed).max(0), np.abs(fixed).sum(0))


@pytest.mark.parametrize("spec", ["int2", "int4-32", "nvfp4", "int8"])
def test_the_proxy_is_the_mean_squared_error_of_the_products(spec: str) -> None:
    matrix = (np.random.default_rng(8).standard_normal((40, 96)) * 0.02).astype(np.float32)
    matrix[5] = 0
    inputs = inputs_of(96)
    weight = QUANTIZERS["nearest"](matrix, parse_spec(spec), None).weight
    error = matrix - values(weight)
    expected = np.trace(error @ inputs.second.astype(float) @ error.T) * 2.0 ** (2 * inputs.exponent) / inputs.rows
    assert proxy(matrix, weight, inputs) == pytest.approx(expected, rel=2e-3)


def test_the_proxy_does_not_depend_on_the_order_of_sums() -> None:
    """Its sums are exact: inputs in another order give the same number to the bit, which sums of floats do not."""
    matrix = np.random.default_rng(9).standard_normal((16, 1024)).astype(np.float32)
    inputs, order = inputs_of(1024, rows=64), np.random.default_rng(1).permutation(1024)
    weight = QUANTIZERS["nearest"](matrix, parse_spec("int3-row"), None).weight
    turned = inputs._replace(second=inputs.second[np.ix_(order, order)])
    moved = weight._replace(codes=weight.codes[:, order])
    assert proxy(matrix, weight, inputs) == proxy(matrix[:, order], moved, turned)


def test_costs_are_whole_and_in_proportion() -> None:
    assert whole_costs([[1.0, 0.5], [0.25, 0.0]]) == [[1 << 39, 1 << 38], [1 << 37, 0]]
    assert whole_costs([[0.0]]) == [[0]]


def test_a_mixture_is_read_and_written() -> None:
    mixture = parse_target("mix:4.50(int3-16|gptq:nf4|mxint8)")
    assert isinstance(mixture, SpecMixture)
    assert str(mixture) == (
        f"mix:4.5@divergence(nearest:int3-16@search|{parse_spec('gptq:nf4')}|nearest:int8s-32@power)"
    )
    assert parse_target(str(mixture)) == mixture
    assert parse_target("gptq:int3-16") == parse_spec("gptq:int3-16")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mix:4", "not a mixture"),
        ("mix:(int4|int8)", "not a mixture"),
        ("mix:4(int4)", "at least two specs"),
        ("mix:4(int4|int4-32)", "all different"),
        ("mix:4(int4|int9)", "no grid named 'int9'"),
    ],
)
def test_a_mixture_that_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        parse_target(text)


def test_a_budget_counts_bits_in_memory() -> None:
    mixture = parse_target("mix:6.5(int4|int8)")
    assert isinstance(mixture, SpecMixture)
    shapes = [(64, 32), (64, 32)]
    assert assign(mixture, shapes, [[3.0, 0.1], [9.0, 0.2]]) == (0, 1)  # 4.5 and 8.5: one of each
    short = parse_target("mix:4.4(int4|int8)")
    assert isinstance(short, SpecMixture)
    with pytest.raises(ParameterError, match=r"need 4\.500 bits"):
        check_budget(short, shapes)
