"""L-BFGS-B in plain floats, against SciPy's."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from intact.reason.aggregate.lbfgsb import minimise


def rosenbrock(x):
    a, b, c = x
    value = 100 * (b - a * a) ** 2 + (1 - a) ** 2 + 100 * (c - b * b) ** 2 + (1 - b) ** 2
    return value, [
        -400 * a * (b - a * a) - 2 * (1 - a),
        200 * (b - a * a) - 400 * b * (c - b * b) - 2 * (1 - b),
        200 * (c - b * b),
    ]


@pytest.mark.parametrize("seed", range(12))
def test_it_takes_the_steps_of_scipys(seed):
    rng = np.random.default_rng(seed)
    start, (least, most) = rng.uniform(-2, 2, 3).tolist(), rng.uniform((-1, 0), (1.5, 1.5)).tolist()
    low, high = [-1.5, -math.inf, least], [most, 2.0, math.inf]
    calls = []

    def counted(x):
        assert all(a <= one <= b for a, one, b in zip(low, x, high, strict=True))
        calls.append(x)
        return rosenbrock(x)

    found = minimise(counted, start, low, high)
    theirs = minimize(
        lambda x: (rosenbrock(x)[0], np.array(rosenbrock(x)[1])),
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(low, high, strict=True)),
    )
    assert found.converged
    assert theirs.success
    assert found.value == pytest.approx(theirs.fun, abs=1e-9)
    assert found.x == pytest.approx(theirs.x, abs=1e-6)
    assert abs(len(calls) - theirs.nfev) <= 2


def test_a_start_outside_of_the_bounds_is_moved_into_them():
    found = minimise(lambda x: (x[0] * x[0], [2 * x[0]]), [5.0], [1.0], [2.0])
    assert found == ([1.0], 1.0, True)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (math.nan, [1.0]),
        lambda x: (x[0], [-1.0]),  # the gradient is of another function: no step goes down
        lambda x: (math.exp(1000 * x[0]), [1.0]),  # leaves the range of a double
    ],
)
def test_what_does_not_converge_is_said(function):
    assert not minimise(function, [1.0], [-math.inf], [math.inf]).converged
