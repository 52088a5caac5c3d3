"""Mixes of rows against plain definitions in Python's integers, and against the real formulas in float64."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact.engine.mixes import MIXES, ChosenMix, chosen_mix, mix_of, read_mix
from intact.numerics import mix
from intact.numerics.functions import LN2, LOG2E, exp2_neg, log2_each, log2_fixed
from intact.numerics.mix import LEFT_OUT, Place
from intact.numerics.sampling import DECIMALS, draw, is_uncertain, log_probability, make_sampling, weights

LIMIT = (1 << 31) - 1
LOGIT = st.integers(-4, 4).map(lambda x: x << 15) | st.integers(-(20 << 16), 20 << 16) | st.integers(-LIMIT, LIMIT)


@st.composite
def rows(draw, count):
    size = draw(st.integers(1, 24))
    made = [draw(st.lists(LOGIT, min_size=size, max_size=size)) for _ in range(count)]
    may = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    return made, may if any(may) else [True] * size


def place(may, drawn=0):
    return Place(np.array(may), drawn)


def arrays(made):
    return [np.array(row, np.int64) for row in made]


def clip(x):
    return max(-LIMIT, min(LIMIT, x))


def times(x, factor):
    """Half rounds up."""
    return math.floor(Fraction(x * factor, DECIMALS) + Fraction(1, 2))


def weight(gap):
    return int(exp2_neg(np.array((min(gap, 1 << 30) * LOG2E + (1 << 29)) >> 30)))


def plausible(row, may, share):
    most = max(z for z, allowed in zip(row, may, strict=True) if allowed)
    return [Fraction(weight(max(most - z, 0)), 1 << 30) >= Fraction(share, DECIMALS) for z in row]


@given(rows(2), st.integers(0, 10**8))
def test_guidance_is_its_formula(given_rows, scale):
    (c, u), may = given_rows
    expected = [clip(b + times(a - b, scale)) for a, b in zip(c, u, strict=True)]
    assert mix.guidance(*arrays((c, u)), place(may), scale=scale).tolist() == expected


@given(rows(3), st.integers(0, 10**8))
def test_proxy_tuning_is_its_formula(given_rows, scale):
    (b, t, u), may = given_rows
    expected = [clip(x + times(y - z, scale)) for x, y, z in zip(b, t, u, strict=True)]
    assert mix.proxy(*arrays((b, t, u)), place(may), scale=scale).tolist() == expected


@given(rows(2), st.integers(0, 10**8), st.integers(0, DECIMALS))
def test_contrastive_decoding_is_its_formula(given_rows, beta, alpha):
    (e, a), may = given_rows
    expected = [
        clip(x + times(x - y, beta)) if kept else LEFT_OUT
        for x, y, kept in zip(e, a, plausible(e, may, alpha), strict=True)
    ]
    assert mix.contrastive(*arrays((e, a)), place(may), beta=beta, alpha=alpha).tolist() == expected


@given(rows(2), st.integers(0, 4000), st.integers(0, DECIMALS), st.integers(0, 10**8), st.integers(0, DECIMALS))
def test_m3id_is_its_formula(given_rows, drawn, decay, cap, alpha):
    (c, u), may = given_rows
    exponent = math.floor(Fraction(decay * drawn * LOG2E, DECIMALS << 14) + Fraction(1, 2))
    g = int(exp2_neg(np.array(min(exponent, 40 << 16))))
    most = (cap << 16) // DECIMALS
    k = min(most, (((1 << 30) - g) << 16) // g) if g else most
    expected = [
        clip(x + (((x - y) * k + (1 << 15)) >> 16)) if kept else LEFT_OUT
        for x, y, kept in zip(c, u, plausible(c, may, alpha), strict=True)
    ]
    options = {"decay": decay, "cap": cap, "alpha": alpha}
    assert mix.m3id(*arrays((c, u)), place(may, drawn), certain=10**9, **options).tolist() == expected
    assert mix.m3id(*arrays((c, u)), place(may, drawn), certain=0, **options).tolist() == c


@given(
    rows(2),
    st.sampled_from([50_000, 300_000, DECIMALS]) | st.integers(0, DECIMALS),
    st.integers(0, 2 * DECIMALS) | st.integers(0, 10**9),
    st.integers(1, 2 * DECIMALS) | st.integers(1, 10**8),
    st.integers(0, 2 * DECIMALS) | st.integers(0, 10**8),
)
def test_uscd_is_its_formula(given_rows, deviation, floor, factor, contrast):
    (c, u), may = given_rows
    p, q = ([weight(max(row) - z) for z in row] for row in (c, u))
    size, mass = len(p), sum(p)
    variance = Fraction(sum(x * x for x in p), mass**2 * size) - Fraction(1, size**2)
    shares = [((x << 32) // mass, (y << 32) // sum(q)) for x, y in zip(p, q, strict=True)]
    score = [x * factor - y * contrast for x, y in shares]
    kept = [Fraction(x, mass) >= Fraction(floor, size * DECIMALS) and s > 0 for x, s in zip(p, score, strict=True)]
    expected = c
    if variance <= Fraction(deviation, DECIMALS) ** 2 and any(k and m for k, m in zip(kept, may, strict=True)):
        logs = [((log2_fixed(max(s, 1)) + 128) >> 8) * LN2 for s in score]
        expected = [(log + (1 << 33)) >> 34 if k else LEFT_OUT for log, k in zip(logs, kept, strict=True)]
    options = {"deviation": deviation, "floor": floor, "weight": factor, "contrast": contrast}
    assert mix.uscd(*arrays((c, u)), place(may), **options).tolist() == expected


def test_real_formulas_are_approached():
    generator = np.random.default_rng(0)
    c, u = (generator.normal(0, 3, 400) for _ in range(2))
    rows = [np.round(row * 65536).astype(np.int64) for row in (c, u)]
    everything = place([True] * 400, 30)

    def distribution(row):
        return np.exp(row - row.max()) / np.exp(row - row.max()).sum()

    def found(name, **values):
        return distribution(
            chosen_mix({"name": name, **values}).row([r.astype(np.int32) for r in rows], everything) / 65536
        )

    def near(a, b):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-7)

    p, q = distribution(c), distribution(u)
    near(found("guidance", scale=1.5), distribution(u + 1.5 * (c - u)))
    plausible = p >= 0.1 * p.max()
    near(found("contrastive", beta=0.5), distribution(np.where(plausible, 1.5 * c - 0.5 * u, -1e9)))
    g = math.exp(-0.02 * 30)
    near(found("m3id"), distribution(np.where(plausible, c + (c - u) * (1 - g) / g, -1e9)))
    kept = (p >= 0.666667 / 400) & (p - 0.7 * q > 0)
    near(found("uscd", deviation=1), distribution(np.where(kept, np.log(np.maximum(p - 0.7 * q, 1e-300)), -1e9)))
    assert p.std() > 0.005
    near(found("uscd", deviation=0.005), p)


@given(st.lists(LOGIT, min_size=2, max_size=20), st.integers(1, 1000))
def test_what_is_left_out_is_never_drawn(row, temperature):
    logits = np.array([LEFT_OUT, *(max(z, LEFT_OUT + (60 << 16)) for z in row)])
    sampling = make_sampling(float(temperature))
    if int(logits.max()) - LEFT_OUT >= (1 << 31):  # at the greatest temperature a gap of 2^15 is needed
        assert weights(logits, sampling)[0] == 0
    assert weights(logits, make_sampling(1.0))[0] == 0
    assert draw(logits, make_sampling(0.0), 0, 0) > 0


@given(st.lists(st.integers(1, (1 << 63) - 1) | st.integers(0, 62).map(lambda x: 1 << x), min_size=1, max_size=20))
def test_logarithms_of_many_are_those_of_each(values):
    assert log2_each(np.array(values)).tolist() == [log2_fixed(value) for value in values]


@given(st.lists(LOGIT, min_size=1, max_size=20), st.integers(0, DECIMALS))
def test_uncertainty_is_an_exact_comparison(row, bound):
    mass = sum(weight(max(row) - z) for z in row)
    assert is_uncertain(np.array(row), bound) == (Fraction(1 << 30, mass) < Fraction(bound, DECIMALS))
    logprob = log_probability(np.array(row), int(np.argmax(row)))
    for close in (bound, (1 << 30) * DECIMALS // mass, (1 << 30) * DECIMALS // mass + 1):
        assert is_uncertain(np.array(row), close, logprob) == is_uncertain(np.array(row), close)
    likeliest = math.exp(log_probability(np.array(row), int(np.argmax(row))) / 2**24)
    if abs(likeliest - bound / DECIMALS) > 1e-6:
        assert is_uncertain(np.array(row), bound) == (likeliest < bound / DECIMALS)


def test_every_mix_has_a_version_a_source_and_parameters_that_are_checked():
    for name, one in MIXES.items():
        usual = chosen_mix(name)
        assert isinstance(usual, ChosenMix)
        assert usual == mix_of(one, usual.values) == chosen_mix({"name": name})
        assert one.version >= 1
        assert one.source
        assert {definition.kind for definition in one.parameters.values()} == {"decimal"}
        assert all(definition.effect for definition in one.parameters.values())
        for key in one.parameters:
            with pytest.raises(ParameterError, match=f"{name}'s {key} must"):
                chosen_mix({"name": name, key: -1})
            with pytest.raises(ParameterError, match="takes the parameters"):
                mix_of(one, {k: v for k, v in usual.values.items() if k != key})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("guidence", "no mix named 'guidence': did you mean guidance"),
        ({"scale": 2}, "mix must be a name"),
        (3, "mix must be a name"),
        ({"name": "guidance", "beta": 2}, "the mix guidance has no parameter 'beta'"),
        ({"name": "guidance", "scale": "2"}, "guidance's scale must be a number"),
        ({"name": "guidance", "scale": 0.1234567}, "at most 6 decimals"),
    ],
)
def test_what_is_no_mix_is_refused(wrong, message):
    with pytest.raises(ParameterError, match=message):
        chosen_mix(wrong)


def test_a_mix_can_be_written_in_one_word():
    assert read_mix("m3id") == {"name": "m3id"}
    assert read_mix("contrastive:beta=0.25,alpha=0.2") == {"name": "contrastive", "beta": 0.25, "alpha": 0.2}
    with pytest.raises(ParameterError, match="such as guidance:scale"):
        read_mix("guidance:scale")
