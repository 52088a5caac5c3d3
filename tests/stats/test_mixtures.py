"""Posteriors over mixtures: against quadrature, and by applying measurements one after the other."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from intact._base.errors import ParameterError
from intact.stats.mixtures import NormalPart, mixture_moments, mixture_posterior

PRIOR = [NormalPart(3, -1, 0.5), NormalPart(1, 2, 0.25), NormalPart(0.5, 0.5, 2)]


@pytest.mark.parametrize(("measured", "error"), [(0.4, 0.7), (2.1, 0.1), (-3, 1.5)])
def test_a_posterior_is_that_of_quadrature(measured, error):
    def joint(x):
        return sum(w * norm.pdf(x, m, s) for w, m, s in PRIOR) * norm.pdf(measured, x, error)

    places = sorted({measured, *(part.mean for part in PRIOR)})

    def integral(of):
        return quad(of, -14, 14, points=places, limit=400, epsabs=1e-13)[0]

    found = mixture_posterior(PRIOR, measured, error)
    whole = integral(joint)
    for x in np.linspace(-4, 4, 9):
        assert sum(w * norm.pdf(x, m, s) for w, m, s in found) == pytest.approx(joint(x) / whole, rel=1e-8, abs=1e-12)
    mean = integral(lambda x: x * joint(x)) / whole
    variance = integral(lambda x: (x - mean) ** 2 * joint(x)) / whole
    assert mixture_moments(found) == pytest.approx((mean, math.sqrt(variance)), rel=1e-7)
    assert sum(part.weight for part in found) == pytest.approx(1)


def test_measurements_come_in_any_order_and_a_far_one_does_no_harm():
    one = mixture_posterior(mixture_posterior(PRIOR, 0.3, 0.5), 1.1, 0.2)
    other = mixture_posterior(mixture_posterior(PRIOR, 1.1, 0.2), 0.3, 0.5)
    for first, second in zip(one, other, strict=True):
        assert first == pytest.approx(second)
    far = mixture_posterior(PRIOR, 1e6, 0.5)
    assert [part.weight for part in far] == [0, 0, 1]  # the widest part explains it best


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], 0, 1), "at least one part"),
        (([NormalPart(1, 0, 0)], 0, 1), "for part 0"),
        (([NormalPart(0, 0, 1)], 0, 1), "for part 0"),
        (([NormalPart(1, math.nan, 1)], 0, 1), "for part 0"),
        ((PRIOR, 0, 0), "error positive, got 0 and 0"),
        ((PRIOR, math.inf, 1), "got inf and 1"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ParameterError, match=message):
        mixture_posterior(*arguments)
