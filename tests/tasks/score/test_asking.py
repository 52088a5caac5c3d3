"""Scorers that ask a model several things about a text: by back ends whose replies depend on the question."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import Any

import pytest

from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason import Answer, Extend, Problem, Score, Steps, method
from intact.reason.backends.base import Generation
from intact.reason.budget import Budget
from intact.reason.driving.services import MethodJob, Services
from intact.reason.problem import Piece, State, Top
from intact.reason.testing.toy import END, LetterLaw, MarkovBackend
from intact.tasks.score.scorers import find_scorer
from intact.tasks.score.scorers.colep import RULES, WEIGHT
from support.pairs import WORLD, alone, informed
from support.programs import solve


class Replying(MarkovBackend):
    """Knows the question: the next letter, and what else is likely, may depend on it."""

    question = ""

    def _move(self, generation: Generation) -> None:
        self.question = str(generation.state.prompt)
        super()._move(generation)


@method("none")
def judged(problem: Problem, *, scorer: str, texts: tuple[str, ...] = ("ab", "b")) -> Steps:
    """Judge given texts."""
    states = [problem.start.append(text) for text in texts]
    values = yield Score(scorer, states)
    return Answer("done", {}, None, states[0], {"scores": values})


def scores(backend: MarkovBackend, scorer: str, *texts: str, problem: Problem | None = None, **options: Any) -> Any:
    job = MethodJob(judged, problem or Problem("p", "ask"), {"scorer": scorer, "texts": texts})
    (result,) = solve(backend, [job], services=Services(find_scorer), **options)
    return result


class Questioned(Replying):
    """Says True to the four questions with given chances, by what they ask."""

    def __init__(self, right: float, wrong: float, sound: float, slipped: float) -> None:
        super().__init__()
        self.chances = {"answer correct": right, "answer wrong": wrong, "every calc": sound, "a mistake": slipped}

    def top(self, text: str, count: int) -> Top:
        (chance,) = [chance for words, chance in self.chances.items() if words in self.question]
        return tuple(
            (word, round(math.log(p) * LOGPROB_SCALE)) for word, p in (("True", chance), ("False", 1 - chance)) if p
        )


def enumerated(right: float, wrong: float, sound: float, slipped: float) -> float:
    """The corrected chance that the answer is right, written out."""
    total = {False: 0.0, True: 0.0}
    for r, w, s, m in product((False, True), repeat=4):
        pairs = ((right, r), (wrong, w), (sound, s), (slipped, m))
        own = math.prod(p if held else 1 - p for p, held in pairs)
        broken = (r == w) + (s == m) + (s and not r) + (w and not m)
        total[r] += own * math.exp(-WEIGHT * broken)
    return total[True] / (total[True] + total[False])


@pytest.mark.parametrize(
    "chances", [(0.6, 0.5, 0.7, 0.2), (0.9, 0.9, 0.5, 0.5), (0.3, 0.1, 0.9, 0.05), (0.5, 1, 0.5, 0.25), (1, 1, 1, 1)]
)
def test_colep_is_the_marginal_of_all_worlds(chances: tuple[float, ...]) -> None:
    backend = Questioned(*chances)
    result = scores(backend, "colep", "ab", "b")
    assert result.answer.details["scores"] == pytest.approx([enumerated(*chances)] * 2, abs=1e-6)
    assert result.cost.tokens == backend.made == 8  # a token for each question and text
    assert len(RULES) == 4


def test_colep_gains_from_what_agrees_and_loses_by_what_does_not() -> None:
    chances = {"right": 0.6, "wrong": 0.5, "sound": 0.5, "slipped": 0.5}

    def of(**other: float) -> float:
        (score,) = scores(Questioned(**chances | other), "colep", "ab").answer.details["scores"]
        return float(score)

    assert of(wrong=0.9) < of() < of(wrong=0.1)
    assert of(sound=0.1) < of() < of(sound=0.9)
    assert of(slipped=0.9) < of() < of(slipped=0.1)
    assert of(right=0.1) < of() < of(right=0.9)


ONLY_END = LetterLaw.of({END: 1})


class Cheating(Replying):
    """The calibrated predictor of pairs of the finite world; its answers have one letter."""

    def law(self, text: str) -> LetterLaw:
        if text:
            return ONLY_END
        group = next(group for group in WORLD if self.question.startswith(group))
        _, said, rest = self.question.partition("Somebody else answered: ")
        return LetterLaw.of(informed(group, rest[0]) if said else alone(group))


@pytest.mark.parametrize("group", WORLD)
def test_pair_prediction_is_the_confidence_of_a_calibrated_predictor(group: str) -> None:
    """An answer that cannot be written whole, and a text without one, have 0."""
    laws, expected = WORLD[group], list[float]()
    for answer in alone(group):
        first = sum(law.get(answer, Fraction(0)) for law in laws) / len(laws)
        second = sum(law.get(answer, Fraction(0)) ** 2 for law in laws) / len(laws)
        expected.append(float(first * first / second))  # C = p1 / (E[p^2] / p1)
    result = scores(Cheating(), "pair_prediction", *alone(group), "ax", "", problem=Problem(group, group))
    assert result.answer.details["scores"] == pytest.approx([*expected, 0, 0], abs=1e-6)


def test_pair_prediction_asks_about_an_answer_once_and_not_about_none() -> None:
    problem = Problem("unsure", "unsure", lambda text: text[:1] or None)
    backend = Cheating()
    result = scores(backend, "pair_prediction", "ab", "a", "b", "ax", "", problem=problem)
    first, *others = result.answer.details["scores"]
    assert others == [first, others[1], first, 0]
    assert result.cost.tokens == backend.made == 2 * 2 * 2  # two answers, twice, with their end tokens
    silent = scores(Cheating(), "pair_prediction", "", "", problem=problem)
    assert silent.answer.details["scores"] == [0, 0]
    assert silent.cost.tokens == 0


class Contrary(Replying):
    """Finds an answer less likely when somebody else gave it."""

    def law(self, text: str) -> LetterLaw:
        return ONLY_END if text else LetterLaw.of({"a": 1, "b": 7 if "Somebody" in self.question else 1})


def test_a_model_that_contradicts_counts_as_sure() -> None:
    found = scores(Contrary(), "pair_prediction", "a", "b").answer.details["scores"]
    assert found == pytest.approx([1, 0.5 / 0.875], abs=1e-6)


def test_chances_of_long_answers_do_not_vanish() -> None:
    """Twice as likely once given, though either chance is below the least double."""

    class Long(Replying):
        def law(self, text: str) -> LetterLaw:
            informed = not text and "Somebody" in self.question
            return LetterLaw.of({"a": 1, "b": 1} if informed else {"a": 1, "b": 1, END: 2})

    (score,) = scores(Long(context=3000), "pair_prediction", "ab" * 400).answer.details["scores"]
    assert score == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda state: replace(state, why="error", error="no regex"),
            "cannot be forced to write a given text: no regex",
        ),
        (lambda state: replace(state, why="context"), "no room in the context"),
        (
            lambda state: replace(state, pieces=(replace(state.pieces[0], logprobs=()),)),
            "does not report log-probabilities",
        ),
        (lambda state: replace(state, why="budget"), "the budget is too small"),
    ],
)
def test_chances_that_are_not_known_are_errors(spoil: Callable[[State], State], message: str) -> None:
    problem = Problem("p", "ask")
    scoring: Any = find_scorer("pair_prediction").score(problem, [problem.start.append("a")])
    asked: list[Extend] = next(scoring)
    replies = [replace(one.state, pieces=(Piece("a", (1, 2), (-5, -5), model=""),), why="end") for one in asked]
    with pytest.raises(Exception, match=message):
        scoring.send([replies[0], spoil(replies[1])])


def test_a_budget_that_does_not_pay_leaves_no_score() -> None:
    whole = scores(Cheating(), "pair_prediction", "a", "b", problem=Problem("unsure", "unsure"))
    for tokens in range(whole.cost.tokens):
        problem = Problem("unsure", "unsure")
        found = scores(Cheating(), "pair_prediction", "a", "b", problem=problem, budget=Budget(tokens=tokens))
        assert found.why == "spent"
        assert not found.answer.details
