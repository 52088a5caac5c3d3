"""MUR and phi-decoding: their laws, by enumeration and by hand."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason import Extend, Piece, Score, State, find
from intact.reason.methods.mur import newest
from intact.reason.methods.phi_decoding import draw, joint, probable, softmax
from intact.reason.populations.resampling import multinomial
from intact.reason.testing.enumeration import law
from intact.reason.testing.toy import MarkovBackend
from support.judging import FIRST, PROBLEM, law_of_answers, played, requests

WEIGHTS = st.lists(st.sampled_from([0.0, 0.25, 1.0, 3.0]), min_size=1, max_size=5)


# MUR


def step_of(state: State, mean: float, text: str = "a ") -> State:
    """The state with a step whose tokens have this mean log-probability."""
    units = round(mean * LOGPROB_SCALE)
    return State(
        state.prompt, (*state.branch, 0), (*state.pieces, Piece(text, (1, 2), (units, units), model="")), "stop"
    )


def redrawn_by_hand(means: Sequence[float], others: float, rate: float, scale: float) -> list[int]:
    """The definition: momentum and signal, step after step; a step that is redrawn has the others' mean."""
    momentum, result = 0.0, []
    for i, mean in enumerate(means):
        if i and math.exp(mean) < scale * math.exp(momentum):
            result.append(i)
            mean = others
        momentum = rate * momentum + (1 - rate) * mean
    return result


@pytest.mark.parametrize(("rate", "scale"), [(0.9, 0.8), (0.5, 0.9), (0.0, 1.0), (0.9, 0.0)])
@pytest.mark.parametrize("means", [[-1.0, -0.1, -0.5, -2.0], [-0.1, -0.1, -0.3, -0.05], [-0.2, -3.0, -0.1, -0.4]])
def test_steps_are_written_again_where_they_are_less_certain_than_the_momentum(
    means: list[float], rate: float, scale: float
) -> None:
    first = iter(means)

    def serve(request: Any) -> Any:
        if isinstance(request, Score):
            return [0.1, 0.7, 0.7]
        if isinstance(request, list):
            return [step_of(one.state, -0.01, f"{place} ") for place, one in enumerate(request)]
        return step_of(request.state, next(first, -9.0))

    asked = requests(find("mur")(PROBLEM, n=3, steps=4, rate=rate, scale=scale), serve)
    redrawn = redrawn_by_hand(means, -0.01, rate, scale)
    assert [len(one) for one in asked if isinstance(one, list)] == [3] * len(redrawn)
    last = asked[-1]
    assert isinstance(last, Extend)
    assert [piece.text[0] for piece in last.state.pieces] == ["1" if i in redrawn else "a" for i in range(4)]


def test_mur_that_finds_nothing_uncertain_is_chain_of_thought() -> None:
    assert law_of_answers("mur", scale=0.0, steps=1) == FIRST
    assert newest(step_of(step_of(PROBLEM.start, -3.0), -0.5)) == pytest.approx(-0.5)


# Phi-decoding


@given(st.lists(st.integers(-8, 0).map(lambda n: n / 4), min_size=1, max_size=6), st.sampled_from([0.0, 0.5, 3.0]))
def test_improbable_steps_are_those_far_below_the_mean(values: list[float], sigma: float) -> None:
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    found = probable(values, sigma)
    assert found
    clear = [i for i, value in enumerate(values) if value > mean - sigma * deviation + 1e-9]
    unclear = [i for i, value in enumerate(values) if value > mean - sigma * deviation - 1e-9]
    assert found == list(range(len(values))) or set(clear) <= set(found) <= set(unclear)


@given(st.lists(st.tuples(st.integers(-9, 9), st.sampled_from("abc")), min_size=1, max_size=6))
def test_the_joint_distribution_is_the_mean_of_two(pairs: list[tuple[int, str]]) -> None:
    gains, groups = [float(gain) for gain, _ in pairs], [group for _, group in pairs]
    found = joint(gains, groups, 2.0)
    count = Counter(groups)
    first = [math.exp(gain / 2) for gain in gains]
    second = [math.exp(count[group] / len(groups)) for group in groups]
    expected = [(a / sum(first) + b / sum(second)) / 2 for a, b in zip(first, second, strict=True)]
    assert found == pytest.approx(expected)
    assert sum(softmax(gains, 0.1)) == pytest.approx(1)


@given(st.integers(0, 2**64 - 1), WEIGHTS, st.integers(1, 6))
def test_draws_are_by_weight_and_never_twice(key: int, weights: list[float], n: int) -> None:
    found = draw(key, weights, n)
    assert len(found) == len(set(found)) == min(n, len(weights))
    if any(weights):
        assert found[:1] == multinomial(key, weights, 1)
        assert all(weights[i] for i in found[: sum(map(bool, weights))]), "what weighs 0 comes last"


def test_phi_decoding_of_one_text_is_chain_of_thought() -> None:
    assert law_of_answers("phi_decoding", k=1, width=1, steps=1) == FIRST


def test_a_step_is_chosen_by_what_is_foreseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two letters the one whose next letter is likelier, of equals the first, where the largest weight is drawn."""

    def largest(key: int, weights: Sequence[float], n: int) -> list[int]:
        return sorted(range(len(weights)), key=lambda i: -weights[i])[:n]

    monkeypatch.setattr("intact.reason.methods.phi_decoding.draw", largest)
    backend = MarkovBackend()
    expected: Counter[str | None] = Counter()
    first = backend.distribution("")
    for x, p in first.items():
        for y, q in first.items():
            for r in backend.distribution(x).values():
                for s in backend.distribution(y).values():
                    chosen = x if r >= s else y
                    expected[chosen if chosen != "c" else None] += p * q * r * s  # type: ignore[assignment]
    found = law(lambda oracle: played("phi_decoding", oracle, 1, k=2, width=1, steps=1, sigma=9.0).answer)
    assert found == {name: Fraction(chance) for name, chance in expected.items()}
