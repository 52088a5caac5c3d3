"""Drawing tokens on every tier equals the reference bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from intact._native import kernels
from intact.numerics import sampling
from intact.numerics.fixed import LIMIT, rshift
from intact.numerics.functions import LOG2E, exp2_neg
from intact.numerics.sampling import DECIMALS, Draw, Edits, Sampling, make_sampling
from support.examples import examples

pytestmark = pytest.mark.native

TIERS = kernels.tiers()
EXPONENTIALS = exp2_neg(np.arange(31 << 16))
TEMPERATURES = st.sampled_from([0.000001, 0.001, 0.3, 0.7, 1.0, 1.5, 30.0, 1000.0])
SHARES = st.sampled_from([0, 1, 50_000, 500_000, 900_000, 999_999, DECIMALS]) | st.integers(0, DECIMALS)


def random_logits(rng: np.random.Generator, count: int) -> NDArray[np.int32]:
    """Logits with few or many ties, narrow or as far apart as they can be."""
    match rng.integers(0, 5):
        case 0:
            return rng.integers(-3, 4, count).astype(np.int32) << int(rng.choice([0, 12, 16, 20]))
        case 1:
            return rng.choice(np.array([-LIMIT, 0, LIMIT], np.int32), count)
        case 2:
            return np.full(count, rng.integers(-LIMIT, LIMIT), np.int32)
        case _:
            return np.rint(np.clip(rng.normal(0, 2.0 ** rng.uniform(10, 31), count), -LIMIT, LIMIT)).astype(np.int32)


@pytest.mark.parametrize("tier", TIERS)
@given(st.integers(1, 700), TEMPERATURES, st.integers(0, 2**32))
@examples(80)
def test_weights_equal_the_reference(tier: str, count: int, temperature: float, seed: int) -> None:
    logits = random_logits(np.random.default_rng(seed), count)
    plain = make_sampling(temperature)
    got, mass = kernels.weights(tier, logits, plain.slope)
    np.testing.assert_array_equal(got, sampling.weights(logits, plain))
    assert mass == int(got.astype(np.int64).sum())


@pytest.mark.parametrize("tier", TIERS)
@given(
    st.integers(1, 700), TEMPERATURES, st.integers(0, 80) | st.sampled_from([0, 699, 700, 100_000]), SHARES, SHARES,
    st.integers(0, 2**32),
)  # fmt: skip
@examples(150)
def test_draws_equal_the_reference(
    tier: str, count: int, temperature: float, top_k: int, top_p: int, min_p: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    logits = random_logits(rng, count)
    chosen = make_sampling(temperature)._replace(top_k=top_k, top_p=top_p, min_p=int(rng.choice([0, min_p])))
    key = int(rng.integers(0, 1 << 63)) * 2 + seed % 2
    for position in (0, 1, 2, 3, int(rng.integers(0, 1 << 62)), (1 << 32) - 1, 1 << 32):
        assert kernels.draw(tier, logits, Draw(0, chosen, key, position)) == sampling.draw(
            logits, chosen, key, position
        )
    assert kernels.draw(tier, logits, Draw(0, Sampling(), key, 0)) == int(np.argmax(logits))


def random_edits(rng: np.random.Generator, count: int) -> Edits:
    """Some tokens of each kind, perhaps none and perhaps all, with numbers from nothing to the largest."""

    def some() -> NDArray[np.int32]:
        size = int(rng.choice([0, 1, min(3, count), count // 2, count]))
        return rng.permutation(count)[:size].astype(np.int32)

    biased, drawn, forbidden = some(), some(), some()
    return Edits(
        biased, rng.choice(np.array([-6553600, -1, 0, 3, 70000, LIMIT], np.int32), len(biased)),
        int(rng.choice([1, 500_000, DECIMALS, 1_300_000, 10**9])), some(),
        int(rng.integers(-2 * DECIMALS, 2 * DECIMALS + 1)), int(rng.choice([0, 1, -2 * DECIMALS, 2 * DECIMALS])),
        drawn, rng.choice(np.array([1, 2, 100, 524288], np.int32), len(drawn)),
        forbidden[: max(1, count - 3)] if rng.integers(0, 3) else forbidden,
    )  # fmt: skip


def random_mask(rng: np.random.Generator, count: int) -> NDArray[np.uint32]:
    """Few, half, most tokens; bits beyond the last are noise."""
    size = (count + 31) // 32 + int(rng.integers(0, 3))
    words = rng.integers(0, 1 << 32, (3, size), dtype=np.uint32)
    match rng.integers(0, 4):
        case 0:
            return words[0]
        case 1:
            return words[0] | words[1] | words[2]
        case 2:
            return words[0] & words[1] & words[2]
    one = np.zeros(size, np.uint32)
    token = int(rng.integers(0, count))
    one[token // 32] = 1 << token % 32
    return one


@pytest.mark.parametrize("tier", TIERS)
@given(
    st.integers(1, 700) | st.integers(1000, 5000), st.sampled_from([0.0, 0.001, 0.7, 1.0, 30.0]),
    st.sampled_from([0, 0, 1, 20, 699]), SHARES, SHARES, SHARES, st.integers(0, 2**32),
)  # fmt: skip
@examples(200)
def test_edited_draws_equal_the_reference(
    tier: str, count: int, temperature: float, top_k: int, top_p: int, min_p: int, typical: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    logits = random_logits(rng, count)
    chosen = Sampling(make_sampling(temperature).slope, top_k, *(int(rng.choice([x, y])) for x, y in (
        (top_p, DECIMALS), (min_p, 0), (typical, DECIMALS)
    )))  # fmt: skip
    before = logits.copy()
    for position in range(4):
        edits = random_edits(rng, count) if rng.integers(0, 3) else None
        mask = random_mask(rng, count) if rng.integers(0, 3) else None
        drawn = Draw(0, chosen, seed, position, edits, mask)
        assert kernels.draw(tier, logits, drawn) == sampling.draw(logits, *drawn[1:])
        np.testing.assert_array_equal(logits, before)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("penalty", [500_000, 1_500_000, 2_000_000, 1_300_000])
def test_edited_logits_equal_the_reference_to_the_unit(tier: str, penalty: int) -> None:
    """Greedily, an edited logit beside the one expected: it loses by a unit less, and wins by a unit more."""
    for z in [*range(-9, 10), 12345, -54321]:
        for first in (0, 1):
            edited, count = np.array([1 - first], np.int32), np.array([3], np.int32)
            edits = Edits(repetition=penalty, repeated=edited, frequency=penalty + z, drawn=edited, counts=count)
            logits = np.array([z, z], np.int32)
            logits[first] = sampling.edit(logits, edits)[1 - first]
            assert kernels.draw(tier, logits, Draw(0, Sampling(), 0, 0, edits)) == 0


@pytest.mark.parametrize("tier", TIERS)
def test_a_draw_at_the_edge_of_a_run_falls_behind_it(tier: str) -> None:
    """The uniform number times the mass is exactly the mass of the first run."""
    found = 0
    for position in range(60_000):
        uniform = sampling.uniform64(1, position)
        if uniform >> 50:
            continue
        edge = (uniform << 30) // ((1 << 64) - uniform)
        for mass in (edge, edge + 1):
            t = np.flatnonzero(mass == EXPONENTIALS)
            if len(t) and uniform * (mass + (1 << 30)) >> 64 == mass:
                logits = np.full(1024, -(1 << 30), np.int32)
                logits[0], logits[700] = -t[0], 0
                drawn = Draw(0, Sampling(1 << 30), 1, position)
                assert kernels.draw(tier, logits, drawn) == sampling.draw(logits, *drawn[1:]) == 700
                found += 1
    assert found


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(
    ("edits", "mask"),
    [
        (Edits(forbidden=np.arange(70, dtype=np.int32)), None),
        (None, np.array([0, 0, ~np.uint32(63)], np.uint32)),
        (Edits(forbidden=np.array([33], np.int32)), np.array([0, 2, 0], np.uint32)),
    ],
)
def test_nothing_is_drawn_where_no_token_is_left(
    tier: str, edits: Edits | None, mask: NDArray[np.uint32] | None
) -> None:
    logits = np.arange(70, dtype=np.int32)
    for heat in (0.0, 1.0):
        drawn = Draw(0, make_sampling(heat), 1, 2, edits, mask)
        assert kernels.draw(tier, logits, drawn) == sampling.draw(logits, *drawn[1:]) == -1


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": np.zeros(2, np.uint32)}, "a bit for each token"),
        ({"edits": Edits(forbidden=np.array([70], np.int32))}, "outside the vocabulary"),
        ({"edits": Edits(biased=np.array([-1], np.int32), bias=np.array([1], np.int32))}, "outside the vocabulary"),
        ({"edits": Edits(drawn=np.array([1], np.int32))}, "needs a number"),
        ({"edits": Edits(repetition=0)}, "repetition"),
        ({"sampling": Sampling(1)}, "no such sampling"),
        ({"sampling": Sampling(LOG2E, -1)}, "no such sampling"),
        ({"sampling": Sampling(LOG2E, 0, DECIMALS + 1)}, "no such sampling"),
    ],
)
def test_draws_that_make_no_sense_are_refused(tier: str, change: dict[str, Any], message: str) -> None:
    drawn = Draw(0, Sampling(), 1, 2)._replace(**change)
    with pytest.raises(ValueError, match=message):
        kernels.draw(tier, np.zeros(70, np.int32), drawn)


@pytest.mark.parametrize("tier", TIERS)
@given(st.integers(1, 700) | st.integers(1000, 5000), st.integers(0, 2**32))
@examples(100)
def test_the_top_equals_the_reference(tier: str, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = random_logits(rng, count)
    for k in {1, min(8, count), count, int(rng.integers(1, count + 1))}:
        np.testing.assert_array_equal(kernels.top(tier, logits, k), sampling.top(logits, k))


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(
    "kept", [{"top_k": 1}, {"top_p": 0}, {"min_p": DECIMALS}, {"top_k": 1, "top_p": 1, "min_p": DECIMALS}]
)
def test_the_narrowest_filters_leave_the_largest(tier: str, kept: dict[str, int]) -> None:
    logits = np.array([5, 9, -4, 9, 9, 2], np.int32) << 16
    tied = "top_k" not in kept and "top_p" not in kept
    for position in range(20):
        token = kernels.draw(tier, logits, Draw(0, make_sampling(1.0)._replace(**kept), 77, position))
        assert token in (1, 3, 4) if tied else token == 1


@pytest.mark.parametrize("tier", TIERS)
@given(st.integers(1, 700), st.integers(0, 2**32))
@examples(100)
def test_log_probabilities_equal_the_reference(tier: str, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = random_logits(rng, count)
    for token in {0, count - 1, int(rng.integers(0, count)), int(np.argmax(logits))}:
        assert kernels.log_probability(tier, logits, token) == sampling.log_probability(logits, token)


@pytest.mark.parametrize("tier", TIERS)
def test_weights_equal_the_reference_at_every_gap(tier: str, request: pytest.FixtureRequest) -> None:
    """With a slope of 1 in base 2 the exponential is asked for every argument up to 32."""
    step = 997 if request.config.getoption("--hypothesis-profile") == "few" else 1
    gaps = np.arange(0, 33 << 16, step, dtype=np.int32)
    got, _ = kernels.weights(tier, -gaps, 1 << 30)
    np.testing.assert_array_equal(got, exp2_neg(gaps))
    assert got[0] == 1 << 30
    assert (rshift(got.astype(np.int64), 0)[gaps >= 31 << 16] == 0).all()


def run_sums(weights: NDArray[np.int64]) -> list[int]:
    return [int(weights[i : i + 512].sum()) for i in range(0, len(weights), 512)]


@pytest.mark.parametrize("tier", TIERS)
@given(st.integers(1, 3000), TEMPERATURES, st.integers(0, 2**32))
@examples(80)
def test_masses_are_sums_of_weights(tier: str, count: int, temperature: float, seed: int) -> None:
    logits = random_logits(np.random.default_rng(seed), count)
    slope = make_sampling(temperature).slope
    sums, mass = kernels.masses(tier, logits, slope)
    assert sums.tolist() == run_sums(sampling.weights(logits, Sampling(slope)))
    assert mass == sums.sum()


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("slope", [1 << 30, 1 << 35, (1 << 33) - 1])
def test_masses_at_every_exponent(tier: str, slope: int, request: pytest.FixtureRequest) -> None:
    """One token to a run, at every argument of the exponential up to 33 that gaps can give."""
    step = 99_991 if request.config.getoption("--hypothesis-profile") == "few" else 1009
    gaps = np.arange(0, (33 << 46) // slope, max(1, (step << 30) // slope)).astype(np.int32)
    logits = np.full((len(gaps), 512), -(1 << 30), np.int32)
    logits[np.arange(len(gaps)), np.arange(len(gaps)) % 512] = -gaps
    sums, _ = kernels.masses(tier, logits.ravel(), slope)
    np.testing.assert_array_equal(sums, exp2_neg(rshift(gaps.astype(np.int64) * slope, 30)))


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("size", [49_152, 151_936])
def test_draws_from_large_vocabularies_equal_the_reference(tier: str, size: int) -> None:
    """Rows from steep to flat, so that a few tokens or nearly all are left to choose from."""
    rng = np.random.default_rng(size)
    normal = rng.normal(0, 2 << 16, size)
    rows = [normal, normal * 4, normal / 64, np.round(normal / 65536) * 65536, np.zeros(size)]
    settings = [
        make_sampling(1.0),
        make_sampling(0.7, top_p=0.95),
        make_sampling(1.3, top_k=40),
        make_sampling(1.0, typical=0.9),
        make_sampling(5.0, top_k=30_000, top_p=0.99),
        make_sampling(0.8, min_p=0.001, top_p=0.999),
        make_sampling(0.0),
    ]
    bits = rng.integers(0, 1 << 32, (size + 31) // 32, dtype=np.uint32)
    for i, row in enumerate(rows):
        logits = row.astype(np.int32)
        np.testing.assert_array_equal(kernels.top(tier, logits, 50), sampling.top(logits, 50))
        for chosen in settings:
            drawn = Draw(0, chosen, i, 3, mask=bits if i % 2 else None)
            assert kernels.draw(tier, logits, drawn) == sampling.draw(logits, *drawn[1:])


@pytest.mark.parametrize("tier", TIERS)
def test_log_probabilities_where_a_unit_of_log2_e_shows(tier: str) -> None:
    """Gaps whose product with log2(e) lies so near a tie that one unit of 2^-30 moves it across."""
    gap = np.arange(1, 300_000)
    near = [rshift(gap * (LOG2E + d), 30) != rshift(gap * LOG2E, 30) for d in (-1, 1)]
    gaps = gap[near[0] | near[1]]
    assert min(part.sum() for part in near) > 20
    for g in gaps:
        logits = np.array([5, 5 - g, 5 - g], np.int32)
        assert kernels.log_probability(tier, logits, 1) == sampling.log_probability(logits, 1)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("top_p", [DECIMALS, 999_999])
def test_draws_among_tokens_of_the_least_weight(tier: str, top_p: int) -> None:
    """Every integer is the edge of a token there, of the needed mass too, and a millionth of the mass leaves 1 over."""
    logits = np.full(258_176, -1_385_500, np.int32)
    logits[0] = 0
    chosen = make_sampling(1.0)._replace(top_p=top_p)
    weight, mass = kernels.weights(tier, logits, chosen.slope)
    assert weight[1] == 1
    assert mass * 999_999 % DECIMALS == 1
    for position in (1467, 1790, 9836, 13036):  # where the uniform number is that close to 1
        assert sampling.uniform64(1, position) * mass >> 64 > 1 << 30
        token = sampling.draw(logits, chosen, 1, position)
        assert token > 0
        assert kernels.draw(tier, logits, Draw(0, chosen, 1, position)) == token
