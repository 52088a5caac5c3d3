"""Rows of the lab: intervals, paired differences, the Pareto front, names."""

import math
import statistics

import numpy as np
import pytest

from intact._base.errors import ParameterError
from intact.quantizing.lab.rows import LabRow, order, short_name, standings
from intact.quantizing.quantizers import parse_spec, parse_target

T_4 = 2.7764451051977987
"""Student's quantile at 0.975 for 4 degrees of freedom."""


def row(spec: str, bits: float, kl: list[float]) -> LabRow:
    return LabRow(str(parse_spec(spec)), bits, 10, 20, tuple(kl), tuple(x + 2 for x in kl), 0.5, 8, "0" * 64)


def test_intervals_are_students_over_windows() -> None:
    values = [0.1, 0.4, 0.2, 0.3, 0.35]
    found = row("int4", 4.5, values)
    half = T_4 * statistics.stdev(values) / math.sqrt(5)
    assert (found.kl, found.divergence.high - found.kl) == pytest.approx((statistics.mean(values), half))
    assert found.perplexity == pytest.approx(math.exp(statistics.mean(found.loss_windows)))


def test_differences_are_paired_and_a_tie_covers_zero() -> None:
    noise = np.random.default_rng(0).random(5)
    one, worse = row("int4", 4.5, list(noise)), noise + np.array([0.1, 0.11, 0.09, 0.1, 0.1])
    other = row("int3-16", 4.0, worse.tolist())
    found = order(other, one)
    assert (found.first, found.second, found.tie) == (one.spec, other.spec, False)
    assert found.difference == pytest.approx(0.1)
    assert str(found).startswith("int4-32 before int3-16 by 0.1 [0.09")
    third = row("nf4-32", 4.5, (noise + np.array([0.1, -0.1, 0.1, -0.1, 0.01])).tolist())
    assert order(one, third).tie
    assert str(order(one, third)).startswith("tie: ")
    with pytest.raises(ParameterError, match="on 5 windows, but nearest:int4-32@search on 4"):
        order(row("nf4", 4.5, [0.9] * 5), row("int4", 4.5, [1.0] * 4))


def test_the_front_is_that_of_enumeration_and_neighbours_tie_with_it() -> None:
    draw = np.random.default_rng(1)
    specs = [f"int{b}-{n}" for b in (4, 5, 8) for n in (32, 64, 96, 128, 160, 192, "row")]
    rows = [row(spec, float(draw.integers(4, 9)), list(draw.random(4) + draw.random())) for spec in specs]
    found = standings(rows)
    for one in rows:
        better = [o for o in rows if (o.bits_per_weight <= one.bits_per_weight and o.kl < one.kl)
                  or (o.bits_per_weight < one.bits_per_weight and o.kl <= one.kl)]  # fmt: skip
        assert (found[one.spec] == "front") == (not better)
    near = [row("int4", 4.0, [0.1, 0.2]), row("int5", 5.0, [0.2, 0.11]), row("int8", 8.0, [0.2, 0.3])]
    assert list(standings(near).values()) == ["front", "neighbour", "dominated"]


@pytest.mark.parametrize(
    "spec",
    [
        "int4-32",
        "gptq:int3-16",
        "mxfp4",
        "nf4-32",
        "mix:4.5@divergence(gptq:int3-16|int4-32)",
        "awq+int4-32",
        "rotate+permute+nvint4",
        "permute+mix:4@output(int3-16|nf4)",
    ],
)
def test_short_names_mean_the_same_spec(spec: str) -> None:
    assert short_name(str(parse_target(spec))) == spec
