"""PlanGEN: its law with best-of-n, and its other forms as calls of the methods that they are."""

from __future__ import annotations

from typing import Any

import pytest

from intact.reason import Answer, CallMethod, Extend, Piece, State, find
from intact.reason.budget import Budget
from intact.reason.parts.comparing import read_score
from intact.reason.testing.checks import CHECKS, Check, ToyTrial
from intact.reason.testing.enumeration import Oracle
from support.judging import PROBLEM, law_of_answers, law_of_votes, played, solve


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Score: 95", 95),
        ("**Score:** -20 of 100", -20),
        ("score = +7\nScore: 8", 8),
        ("my score: 3", None),
        ("9", None),
    ],
)
def test_a_score_is_that_of_the_last_line_of_its_form(text: str, score: int | None) -> None:
    assert read_score(text) == score


def plangen_judge(prompt: str) -> str:
    kind, _, text = prompt.partition(":")
    return {"constrain": "be b", "verify": f"Score: { {'a': 10, 'b': 95, 'c': 100}.get(text[-1:], 0) }"}[kind]


VERIFY: dict[str, Any] = {"constrain": "constrain:", "verify": "verify:{constraints} {answer}"}


def test_plangen_of_one_round_is_best_of_n_by_the_verifier() -> None:
    def best(answers: list[str | None]) -> str | None:
        return "b" if "b" in answers else "a" if "a" in answers else None

    found = law_of_answers("plangen", judge=plangen_judge, n=2, rounds=1, **VERIFY)
    silent = found.pop(None)
    expected = law_of_votes(2, best)
    assert (found, silent) == ({name: expected[name] for name in "ab"}, expected[None])


def test_plangen_improves_the_best_until_it_scores_enough() -> None:
    asked: list[str] = []

    def judge(prompt: str) -> str:
        if prompt.startswith("improve"):
            asked.append(prompt)
            return "b"
        return plangen_judge(prompt)

    values = {**VERIFY, "improve": "improve:{constraints} {answer} {feedback}"}
    answer = played("plangen", Oracle([0, 0]), judge=judge, n=2, rounds=5, **values)
    assert (answer.answer, answer.details["scores"]) == ("b", [[10, 10], [95, 95]])
    assert asked == ["improve:be b a Score: 10"] * 2
    enough = played("plangen", Oracle([1, 0]), judge=judge, n=2, rounds=5, **values)
    assert enough.details["scores"] == [[95, 10]]
    strict = played("plangen", Oracle([1, 0]), judge=judge, n=2, rounds=3, enough=100, **values)
    assert strict.details["scores"] == [[95, 10], [95, 95], [95, 95]]


def test_plangen_without_the_means_to_verify_has_the_vote() -> None:
    answer, _ = solve("plangen", lambda *_: "42", budget=Budget(tokens=4 * 3), n=3)
    assert answer.answer == "42"


# Other forms


class Rounds:
    """Serves a run whose forms give texts and whose verifier gives scores in turn, and notes what is asked.

    Attributes
    ----------
    asked : list
        The form of each round, with the question that it was given.
    """

    def __init__(self, scores: list[int], preferred: str = "") -> None:
        self.scores, self.preferred, self.asked = scores, preferred, list[tuple[str, Any]]()

    def run(self, **values: Any) -> Answer:
        steps = find("plangen")(PROBLEM, verify="verify:{answer}", select="select:", constrain="constrain:", **values)
        try:
            request: Any = next(steps)
            while True:
                several = isinstance(request, list)
                results = [self._result(one) for one in (request if several else [request])]
                request = steps.send(results if several else results[0])
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer

    def _result(self, request: Any) -> Any:
        if isinstance(request, CallMethod):
            self.asked.append((str(request.method), request.problem.data["question"]))
            return Answer("a", chosen=State(request.problem.prompt, ("p", "c0", 0), (Piece("a", model=""),), "end"))
        assert isinstance(request, Extend)
        kind, _, _ = str(request.state.prompt).partition(":")
        text = {"verify": "Score: ", "select": f"Choice: {self.preferred}", "constrain": "be a"}.get(kind, "a")
        if kind == "verify":
            text += str(self.scores.pop(0))
        elif text == "a":
            self.asked.append(("best_of_n", request.state.prompt))
        return State(request.state.prompt, (*request.state.branch, 0), (Piece(text, (1,), (0,), model=""),), "end")


@pytest.mark.parametrize("score", [-100, 0, 100])
@pytest.mark.parametrize("form", ["tree_of_thoughts", "rebase"])
def test_a_form_of_one_round_has_the_answer_of_the_method_that_it_calls(form: str, score: int) -> None:
    rounds = Rounds([score])
    answer = rounds.run(form=form, rounds=1, guide="{question}")
    assert rounds.asked == [(form, "ask")]
    assert answer.chosen == State("ask", ("p", "c0", 0), (Piece("a", model=""),), "end")
    assert (answer.answer, answer.details["forms"], answer.details["scores"]) == ("a", [form], [[score]])


def test_the_first_form_is_the_preferred_one_and_the_others_follow() -> None:
    assert Rounds([10, 20, 30], "2").run(form="select", n=1, rounds=3).details["forms"] == [
        "tree_of_thoughts", "best_of_n", "rebase"
    ]  # fmt: skip
    assert Rounds([10, 20, 30]).run(form="select", n=1, rounds=3).details["forms"] == [
        "best_of_n", "tree_of_thoughts", "rebase"
    ]  # fmt: skip


@pytest.mark.parametrize(("scores", "then"), [([-100, -100, 90], "rebase"), ([90, -100, -100], "best_of_n")])
def test_what_scored_most_is_chosen_again(scores: list[int], then: str) -> None:
    answer = Rounds([*scores, 0]).run(form="select", n=1, rounds=4)
    assert answer.details["forms"][-1] == then
    assert answer.details["scores"] == [[score] for score in [*scores, 0]]


def test_a_score_that_is_enough_ends_the_search_for_a_form() -> None:
    rounds = Rounds([94, 95])
    assert rounds.run(form="select", n=1, rounds=9).details["forms"] == ["best_of_n", "tree_of_thoughts"]
    assert rounds.scores == []


def test_called_methods_are_given_the_constraints_and_later_the_best_answer() -> None:
    rounds = Rounds([10, 20])
    values = {"guide": "guide:{constraints}", "improve": "improve:{constraints} {answer} {feedback}"}
    rounds.run(form="rebase", rounds=2, **values)
    assert rounds.asked == [("rebase", "guide:be a"), ("rebase", "improve:be a a Score: 10")]


def test_the_verifier_judges_the_steps_of_rebase() -> None:
    steps = find("plangen")(PROBLEM, form="rebase", width=7, verifier="large")
    next(steps)
    request = steps.send(State("ask", ("p", 0), (Piece("be a", model=""),), "end"))
    assert isinstance(request, CallMethod)
    assert dict(request.parameters) == {"n": 7, "scorer": "verification:large"}


@pytest.mark.parametrize("check", [pytest.param(check, id=check.name) for check in CHECKS])
@pytest.mark.parametrize("form", ["tree_of_thoughts", "rebase", "select"])
def test_a_form_passes_the_checks_that_users_can_make(form: str, check: Check) -> None:
    check.function(ToyTrial.of(find("plangen"), "plangen", {"form": form}))
