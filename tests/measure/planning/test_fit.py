"""Rates that made the times are found again; none is negative; what stays fixed stays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact.measure.planning.fit import Observation, fit_rates
from intact.measure.planning.machines import Rates
from intact.measure.planning.work import Segment

TRUE = Rates(1e-11, 5e-11, 3e-6, 3e-5, 1e-9, 5e-5, 2e-5, 4e-10, 4e-4)


def observations(seed, rates=TRUE, noise=0.0, count=24):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        work = Segment(*(int(x) for x in rng.integers(1, (10**9, 10**8, 500))))
        most = (400, 10**6, 200, 200, 10**6, 2)
        one = Observation(work, 0.0, *(int(x) for x in rng.integers(0, most)))
        found.append(one._replace(seconds=one.predict(rates) * (1 + noise * rng.standard_normal())))
    return found


@given(st.integers(0, 10**6))
def test_exact_times_give_the_rates_back(seed):
    assert fit_rates(observations(seed)) == pytest.approx(TRUE, rel=1e-4)


def test_a_rate_that_costs_nothing_is_found_to_be_nothing():
    rates = TRUE._replace(operation=0.0, step=0.0)
    found = fit_rates(observations(3, rates, noise=0.01))
    assert min(found) >= 0
    assert found.macs == pytest.approx(rates.macs, rel=0.1)


def test_fixed_rates_stay():
    fixed = {"message": TRUE.message, "copy": 2 * TRUE.copy}
    found = fit_rates(observations(5), fixed)
    assert (found.message, found.copy) == (TRUE.message, 2 * TRUE.copy)
    assert found.macs == pytest.approx(TRUE.macs, rel=0.2)


def test_a_message_that_is_known_tells_it_from_an_exchange():
    """A cut in two has two messages an exchange, so that the fit alone cannot."""
    pairs = [
        Observation(Segment(0, 0, 0), 0.0, 2 * count, 2 * size, *side, size)
        for count, size in ((50, 10**5), (100, 10**6), (120, 10**4))
        for side in ((count, 0), (0, count))
    ]
    seen = [one._replace(seconds=one.predict(TRUE)) for one in pairs]
    found = fit_rates(seen, {"message": TRUE.message, "copy": TRUE.copy})
    assert found == pytest.approx(TRUE._replace(macs=0.0, bytes=0.0, operation=0.0, step=0.0), rel=1e-6, abs=1e-18)


def test_times_of_nothing_are_refused():
    with pytest.raises(ParameterError, match="measure more"):
        fit_rates([Observation(Segment(1, 1, 1), 0.0)])
