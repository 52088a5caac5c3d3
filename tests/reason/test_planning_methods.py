"""Methods of plans, roles and several models, and choices in several orders: their laws, by enumeration."""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact.reason import Answer, CallMethod, Problem, find
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob
from intact.reason.limits import model_names
from intact.reason.methods.choice_shuffling import in_order, lettered
from intact.reason.methods.plan_search import subsets
from intact.reason.methods.solve_or_verify import split
from intact.reason.testing.enumeration import Oracle, law
from intact.tasks.choice import with_choices
from support.judging import (
    FIRST,
    PROBLEM,
    JudgingPlayer,
    law_of_answers,
    law_of_votes,
    law_with_draws,
    majority,
    played,
    solve,
)
from support.script import ScriptBackend

# PlanSearch


@given(st.lists(st.text(max_size=2), max_size=5, unique=True), st.integers(1, 6))
def test_subsets_are_all_of_at_most_a_size(items: list[str], most: int) -> None:
    found = subsets(items, most)
    assert len(found) == len(set(found))
    assert set(found) == {one for size in range(most + 1) for one in combinations(items, size)}


def test_plan_search_makes_solutions_of_combinations_of_observations() -> None:
    asked = Counter[str]()

    def judge(prompt: str) -> str:
        kind, _, known = prompt.partition(":")
        asked[kind] += 1
        return {"observe": "1. x\n2. y", "plan": known, "solve": "b" if known.count("-") == 2 else "a"}[kind]

    prompts = {"observe": "observe:{known}", "plan": "plan:{known}", "solve": "solve:{plan}"}
    values = {"observations": 2, "combine": 2, **prompts}
    answer = played("plan_search", Oracle(), judge=judge, n=9, levels=1, **values)
    assert asked == {"observe": 1, "plan": 4, "solve": 4}
    assert (answer.answer, answer.details["combinations"]) == ("b", 4)
    asked.clear()
    answer = played("plan_search", Oracle(), judge=judge, n=3, levels=2, final="majority", **values)
    assert asked == {"observe": 1 + 4, "plan": 3, "solve": 3}
    assert answer.details["combinations"] == 4
    with pytest.raises(ParameterError, match="combinations of observations"):
        played("plan_search", Oracle(), judge=judge, levels=3, observations=16, combine=16)


def test_plan_search_is_best_of_n_where_plans_change_nothing() -> None:
    """Three lists of nothing: one combination, the empty one, and so one solution."""
    assert law_with_draws("plan_search", n=1, levels=1, observations=1, combine=1) == FIRST | {}


# Mixture of agents


def test_a_mixture_of_one_layer_is_one_text_and_drawn_conclusions_are_too() -> None:
    assert law_of_answers("mixture_of_agents", layers=1) == FIRST
    conclusions = law_with_draws("mixture_of_agents", n=2, layers=2)
    silent = law_of_votes(2, majority)
    # A conclusion without an answer leaves the vote of the replies.
    assert conclusions == {
        name: FIRST.get(name, 0) * (name is not None) + FIRST[None] * silent[name] for name in silent
    }


def test_a_mixture_whose_models_agree_with_most_is_the_majority_vote() -> None:
    def judge(prompt: str) -> str:
        letters = [letter if letter != "c" else None for letter in re.findall(r"Answer \d+:\n(.)", prompt)]
        return majority(letters) or "c"

    for layers in (2, 3):
        assert law_of_answers("mixture_of_agents", judge=judge, n=3, layers=layers) == law_of_votes(3, majority)


def test_the_models_of_a_mixture_take_turns() -> None:
    models = {
        name: ScriptBackend(lambda prompt, text, place, name=name: f"{name} {len(name)}", name)  # type: ignore[misc]
        for name in ("main", "b", "cc")
    }
    driver = Driver(models, sampling={"max_tokens": 400})
    values = {"n": 3, "layers": 3, "models": "b, cc", "aggregator": "main"}
    ((_, result),) = driver.solve([MethodJob(find("mixture_of_agents"), Problem("p", "6 * 7?"), values)])
    assert {name: len(model.asked) for name, model in models.items()} == {"main": 1, "b": 4, "cc": 2}
    assert result.answer.answer == "main 4"
    assert "Answer 1:\nb 1\n\nAnswer 2:\ncc 2\n\nAnswer 3:\nb 1" in models["main"].asked[0]
    assert model_names(" , ") == [""]


def test_a_mixture_whose_budget_ends_has_the_vote_of_its_last_layer() -> None:
    answer, _ = solve("mixture_of_agents", lambda *_: "42", budget=Budget(tokens=3 * 3), n=3, layers=2)
    assert answer.answer == "42"


# Syzygy of Thoughts


def test_syzygy_is_one_text_or_a_vote_of_several() -> None:
    for n in (1, 3):
        assert law_with_draws("syzygy_of_thoughts", n=n) == law_of_votes(n, majority)
    _, backend = solve("syzygy_of_thoughts", lambda *_: "42", betti=3, solutions=7)
    assert "up to 3 conditions" in backend.asked[0]
    assert "in 7 different ways" in backend.asked[0]


# Choices in several orders


CHOICES = ["red", "green", "blue"]
ASKED = with_choices("Which?", CHOICES) + "\nAnswer."


def chosen(oracle: Oracle, n: int, skew: Fraction) -> Answer:
    """Of a model that names what stands first with a chance, else the right one: blue."""

    def judge(prompt: str) -> str:
        right = next(line[0] for line in prompt.splitlines() if line.endswith("blue"))
        return oracle.choose([("A", skew), (right, 1 - skew)])

    problem = Problem("p", ASKED, read=lambda text: text or None, data={"choices": CHOICES})
    answer: Answer = JudgingPlayer(oracle, 1, judge).play(find("choice_shuffling")(problem, n=n), problem)
    return answer


def test_shuffled_choices_share_what_a_liking_for_a_place_takes() -> None:
    """With chance a the first place is named: over all k orders each wrong choice gets a / k of the votes."""
    skew = Fraction(3, 4)
    shares: Counter[str] = Counter()
    for named, chance in law(lambda oracle: tuple(chosen(oracle, 3, skew).details["meant"])).items():
        for letter in named:
            shares[letter] += chance / 3  # type: ignore[assignment]
    assert shares == {"A": skew / 3, "B": skew / 3, "C": skew / 3 + 1 - skew}
    assert law(lambda oracle: chosen(oracle, 1, skew).answer) == {"A": skew, "C": 1 - skew}
    assert law(lambda oracle: chosen(oracle, 3, skew).answer)["C"] > 1 - skew


@given(st.permutations([0, 1, 2]))
def test_choices_are_listed_in_their_new_order_where_they_stood_last(order: list[int]) -> None:
    turned = in_order(ASKED, CHOICES, order)
    assert turned == with_choices("Which?", [CHOICES[i] for i in order]) + "\nAnswer."
    twice = in_order((("user", f"{ASKED}\n{ASKED}"),), CHOICES, order)
    assert twice == (("user", f"{ASKED}\n{turned}"),)
    assert in_order("Which?", CHOICES, order) is None
    assert lettered(CHOICES) in ASKED


def test_a_problem_without_choices_is_voted_on() -> None:
    assert law_of_answers("choice_shuffling", n=3) == law_of_votes(3, majority)


# Solve or verify


@given(st.integers(1, 3000), st.sampled_from([0.1, 0.5, 1.0, 2.0]), st.sampled_from([0.0, 0.3, 0.57, 1.0]))
def test_a_split_keeps_the_budget_and_leaves_no_room_for_a_further_check(
    budget: int, ratio: float, exponent: float
) -> None:
    found = split(budget, ratio, exponent)
    assert 1 <= found.solutions <= budget
    if found.checks:
        assert found.solutions * (1 + ratio * found.checks) <= budget * (1 + 1e-9)
        assert found.solutions * (1 + ratio * (found.checks + 1)) > budget * (1 - 1e-9)
    else:
        assert found.solutions == budget


def test_splits_of_a_law() -> None:
    assert split(64, 1.0, 0.57) == (11, 4)
    assert split(64, 1.0, 0.5) == (8, 7)
    assert split(4, 1.0, 1.0) == (4, 0)


@pytest.mark.parametrize(
    ("values", "called"),
    [({"budget": 64}, "generative_verifier"), ({"budget": 64, "crossover": 65}, "self_consistency")],
)
def test_small_budgets_vote_and_larger_ones_verify(values: dict[str, int], called: str) -> None:
    (request,) = [next(find("solve_or_verify")(PROBLEM, **values))]
    assert isinstance(request, CallMethod)
    assert request.method == called
    assert request.parameters["n"] == (11 if called == "generative_verifier" else 64)
