"""What a method's parameters require of its scorer is checked before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import isgeneratorfunction
from pathlib import Path
from typing import Any

import pytest

from intact._base.errors import ParameterError, SandboxError
from intact.evaluate.plan import plan
from intact.reason import CallMethod, Extend, Problem, State, Steps, find, method
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob, Services
from intact.reason.parts.choice import Arm, Policy, pilot_arm
from intact.solving.run import solve_items
from intact.tasks.choose import choose
from intact.tasks.score.available import check_method
from intact.tasks.score.scorers import SCORERS, find_scorer
from support.pins import STATES
from support.script import ScriptBackend

UNUSABLE = [
    ("weighted_best_of_n", {"scorer": "mean_logprob"}, "scores of at least 0, but those of the scorer mean_logprob"),
    ("weighted_best_of_n", {"scorer": "perplexity"}, "those of the scorer perplexity lie in .-inf, -1"),
    ("particle_filter", {"scorer": "self_certainty"}, "particle_filter needs scores in .0, 1."),
    ("entropic_particle_filter", {"scorer": "entropy"}, "in .0, 1."),
    ("smc", {"scorer": "mean_logprob"}, "in .0, 1."),
    ("particle_gibbs", {"scorer": "mean_logprob"}, "in .0, 1."),
    ("a_star", {"scorer": "perplexity"}, "in .0, 1."),
    ("ab_mcts", {"scorer": "mean_logprob", "prior": "beta"}, "ab_mcts with prior=beta needs scores in .0, 1."),
    ("beam_search", {"scorer": "mean_logprob", "final": "weighted"}, "beam_search with final=weighted needs"),
    ("rebase", {"scorer": "entropy"}, "rebase with final=weighted needs"),
    ("best_of_n", {"reduction": "min"}, "best_of_n with reduction=min scores parts of texts.*reduction=last"),
    ("best_of_n", {"reduction": "prod", "scorer": "equations:-1"}, "reduction=prod needs scores of at least 0"),
]
USABLE = [
    ("ab_mcts", {"scorer": "mean_logprob"}),
    ("beam_search", {"scorer": "mean_logprob"}),
    ("rebase", {"scorer": "entropy", "final": "best"}),
    ("best_of_n", {"reduction": "min", "scorer": "equations"}),
    ("best_of_n", {"scorer": "perplexity"}),
    ("particle_filter", {"scorer": "equations"}),
]


def solve(name: str, parameters: dict[str, Any]) -> ScriptBackend:
    backend = ScriptBackend(lambda prompt, text, place: "2 + 2 = 4")
    driver = Driver({"toy": backend}, services=Services(find_scorer), sampling={"max_tokens": 20})
    list(driver.solve([MethodJob(find(name), Problem("p", "ask"), parameters)]))
    return backend


@pytest.mark.parametrize(("name", "parameters", "why"), UNUSABLE)
def test_a_scorer_that_is_of_no_use_is_refused_before_the_first_token(
    name: str, parameters: dict[str, Any], why: str
) -> None:
    backend = ScriptBackend(lambda prompt, text, place: "2 + 2 = 4")
    driver = Driver({"toy": backend}, services=Services(find_scorer), sampling={"max_tokens": 20})
    with pytest.raises(ParameterError, match=why):
        list(driver.solve([MethodJob(find(name), Problem("p", "ask"), parameters)]))
    assert backend.asked == []
    if ":" not in parameters.get("scorer", ""):
        with pytest.raises(ParameterError, match=why):
            check_method(find(name), parameters)  # which the command line asks before it loads a model


@pytest.mark.parametrize(("name", "parameters"), USABLE)
def test_what_goes_together_is_done(name: str, parameters: dict[str, Any]) -> None:
    check_method(find(name), parameters)
    assert solve(name, parameters).asked


def test_a_called_method_is_checked_too() -> None:
    @method("none")
    def calling(problem: Problem) -> Steps:
        """Call a filter that cannot be."""
        return (yield CallMethod("particle_filter", problem, {"scorer": "mean_logprob"}))

    backend = ScriptBackend(lambda prompt, text, place: "x")
    driver = Driver({"toy": backend}, services=Services(find_scorer))
    ((_, result),) = driver.solve([MethodJob(calling, Problem("p", "ask"), {})])
    assert result.why == "failed"
    assert "particle_filter needs scores in [0, 1]" in result.error
    assert backend.asked == []


ASKING = {"reward", *(name for name in SCORERS.own if isgeneratorfunction(SCORERS[name].score))}


@pytest.mark.parametrize("name", sorted(SCORERS.own.keys() - ASKING))
def test_scores_lie_in_the_range_that_is_stated(name: str) -> None:
    scorer = find_scorer(name)
    scores: Sequence[float] = scorer.score(Problem("p", "ask"), STATES)  # type: ignore[assignment]
    assert all(scorer.least <= score <= scorer.most for score in scores)  # type: ignore[attr-defined]


def test_unknown_ranges_are_judged_when_scores_are_there() -> None:
    class Wild:
        name, digest = "wild", ""

        def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
            return [2.0 for _ in states]

    driver = Driver({"toy": ScriptBackend(lambda prompt, text, place: "x")}, services=Services(lambda _: Wild()))
    ((_, result),) = driver.solve([MethodJob(find("particle_filter"), Problem("p", "ask"), {"n": 2})])
    assert (result.why, "must lie in [0, 1]" in result.error) == ("failed", True)


def test_tests_that_no_problem_of_a_task_has_are_missed_before_the_first_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTACT_SANDBOX", "none")
    with pytest.raises(ParameterError, match="unit_tests needs tests, which no problem of this task has"):
        plan([choose("gsm_ranges:size=2")], "best_of_n", {"scorer": "unit_tests"})
    backend, task = ScriptBackend(lambda prompt, text, place: "x"), choose("gsm_ranges:size=2")
    with pytest.raises(ParameterError, match="no problem of this task has"):
        list(solve_items({"toy": backend}, find("best_of_n"), task.task, task.load(2), {"scorer": "unit_tests"}))
    assert backend.asked == []


@method("none", uses=("programs",))
def programming(problem: Problem) -> Steps:
    """Write a text, then run a program."""
    yield Extend(problem.start)
    raise AssertionError


def test_a_missing_sandbox_is_noticed_before_the_first_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By a method's own declaration, a scorer's, a task's, and those of the methods that a table may choose."""

    def none(*_: object, untrusted: bool = False) -> None:
        raise SandboxError("no protection")

    monkeypatch.setattr("intact.tools.sandbox.choose", none)
    table = tmp_path / "table.json"
    Policy(3, (0.5,), (Arm.of("best_of_n", {"scorer": "unit_tests"}), pilot_arm(3))).write(table)
    backend, arithmetic = ScriptBackend(lambda prompt, text, place: "x"), choose("gsm_ranges:size=2")
    for chosen, parameters in (
        (programming, {}),
        (find("best_of_n"), {"scorer": "unit_tests"}),
        (find("compute_optimal"), {"table": str(table)}),
    ):
        with pytest.raises(SandboxError, match="no protection"):
            list(solve_items({"toy": backend}, chosen, arithmetic.task, arithmetic.load(2), parameters))
        with pytest.raises(SandboxError, match="no protection"):
            check_method(chosen, parameters)
    with pytest.raises(SandboxError, match="no protection"):
        plan([choose("humaneval")], "chain_of_thought")
    assert backend.asked == []
