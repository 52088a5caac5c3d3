"""Quantiles: to the last bit of a double, against 30 digits that mpmath found at a precision of 60."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from intact._base.errors import ParameterError
from intact.stats.quantiles import normal_quantile, student_quantile

NORMAL = {
    0.975: "1.95996398454005423552459443052",
    0.95: "1.64485362695147271486384890799",
    0.8: "0.841621233572914205178706121363",
    0.995: "2.5758293035489007609785767486",
    0.5625: "0.157310684610170695522370718076",
}
STUDENT = {
    (1, 0.975): "12.7062047361747046460216799788",
    (1, 0.995): "63.6567411628715809950024233107",
    (1, 0.6): "0.324919696232906326155871412215",
    (2, 0.975): "4.30265272974946385232094389262",
    (2, 0.995): "9.92484320091829311474238362402",
    (3, 0.975): "3.18244630528370959272322542578",
    (3, 0.6): "0.27667066233268991054476473773",
    (4, 0.975): "2.77644510519779435780310484675",
    (4, 0.995): "4.60409487134999322538546441285",
    (9, 0.975): "2.26215716279820554260776963794",
    (9, 0.6): "0.260955336473911011481187486242",
    (29, 0.975): "2.04522964213270429819377222151",
    (30, 0.975): "2.04227245630123830995804223203",
    (99, 0.975): "1.98421695158641749510462207846",
    (99, 0.995): "2.62640545728082750648053947651",
    (163, 0.975): "1.97462462096636129224889692832",
    (1318, 0.975): "1.96176551276731522791491437191",
    (1318, 0.6): "0.253398248909977672989860658432",
    (10000, 0.975): "1.96020123989062625783847968086",
}


@pytest.mark.parametrize("p", NORMAL)
def test_a_normal_quantile_is_the_nearest_double(p):
    assert normal_quantile(p) == float(NORMAL[p])
    assert normal_quantile(1 - p) == pytest.approx(-float(NORMAL[p]), rel=1e-15)


@pytest.mark.parametrize(("freedom", "p"), STUDENT)
def test_a_quantile_of_students_t_is_the_nearest_double(freedom, p):
    assert student_quantile(p, freedom) == float(STUDENT[freedom, p])


def test_quantiles_that_are_doubles_are_found_themselves():
    assert student_quantile(0.75, 1) == 1.0  # tan(pi / 4)
    assert student_quantile(0.25, 1) == -1.0
    assert student_quantile(0.9, 2) == pytest.approx(0.8 / math.sqrt(2 * 0.9 * 0.1), rel=1e-15)
    assert normal_quantile(0.5) == student_quantile(0.5, 7) == 0.0


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3000), st.floats(1e-6, 1 - 1e-6))
def test_quantiles_are_those_of_scipy_to_nine_digits(freedom, p):
    assert student_quantile(p, freedom) == pytest.approx(stats.t.ppf(p, freedom), rel=1e-9, abs=1e-9)
    assert normal_quantile(p) == pytest.approx(stats.norm.ppf(p), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.5, 2.0, 1e-26, math.nan, math.inf])
def test_what_is_no_probability_is_refused(bad):
    for call in (lambda: normal_quantile(bad), lambda: student_quantile(bad, 3)):
        with pytest.raises(ParameterError, match="a probability must"):
            call()
    with pytest.raises(ParameterError, match="degrees of freedom must be at least 1, got 0"):
        student_quantile(0.9, 0)
