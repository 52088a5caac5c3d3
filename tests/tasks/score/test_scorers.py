"""Scorers by name: what they compute, what they cost, and what they do with texts that have nothing for them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from intact._base.errors import ParameterError, ScorerError, SpentError
from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason import Answer, CallMethod, Extend, Piece, Problem, Score, State, Steps, find, method
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob, Services
from intact.reason.problem import Top
from intact.reason.testing.toy import WEIGHTS, MarkovBackend
from intact.stats.rules import corrected
from intact.tasks.score.prompts import ask_about, share
from intact.tasks.score.scorers import SCORERS, find_scorer
from intact.tasks.score.scorers.colep import RULES
from intact.tools.sandbox import protection
from support.programs import solve


def logprob(chance: float) -> int:
    return round(math.log(chance) * LOGPROB_SCALE)


def written(chances: list[float], top: list[list[tuple[str, float]]] | None = None, text: str = "abc") -> State:
    tops: tuple[Top, ...] = tuple(tuple((word, logprob(p)) for word, p in place) for place in top or [])
    piece = Piece(text, tuple(range(len(chances))), tuple(map(logprob, chances)), tops, "")
    return State("ask", ("p",), (piece,), "end")


PROBLEM = Problem("p", "ask")
NOTHING = State("ask", ("p",))


def scores(name: str, *states: State, problem: Problem = PROBLEM) -> list[float]:
    found = find_scorer(name).score(problem, states)
    assert isinstance(found, list)
    return found


def test_scorers_are_found_by_name():
    assert {"likelihood", "p_true", "mean_logprob", "perplexity", "entropy", "self_certainty", "equations"} <= set(
        SCORERS.own
    )
    assert {"unit_tests", "verification", "colep", "pair_prediction"} <= set(SCORERS.own)
    with pytest.raises(ParameterError, match="no scorer named 'x'"):
        find_scorer("x")


@pytest.mark.parametrize("name", ["mean_logprob", "perplexity", "entropy", "likelihood"])
def test_surer_texts_score_higher_and_empty_ones_lowest(name):
    sure, unsure, nothing = scores(name, written([0.9, 0.8]), written([0.5, 0.1]), NOTHING)
    assert sure > unsure > nothing
    assert all(map(math.isfinite, (sure, unsure, nothing)))


BY_LOGPROBS = ["mean_logprob", "perplexity", "entropy", "likelihood"]


@pytest.mark.parametrize("name", BY_LOGPROBS)
def test_log_probabilities_that_are_missing_are_an_error_and_no_score(name):
    known = written([0.5, 0.1])
    (piece,) = known.pieces
    mute, partly = (replace(known, pieces=(replace(piece, logprobs=told),)) for told in ((), piece.logprobs[:1]))
    for states in ([mute], [known, mute], [partly, known]):
        with pytest.raises(ParameterError, match="does not report log-probabilities"):
            scores(name, *states)
    broken = replace(mute, why="error")
    assert scores(name, known, broken) == scores(name, known, NOTHING)


@pytest.mark.parametrize("name", [*BY_LOGPROBS, "self_certainty"])
def test_steps_have_no_score_by_tokens_that_they_do_not_have(name):
    steps = written([0.5, 0.1], [[("a", 0.5)], [("b", 0.1)]], "a.b").prefixes(".")
    assert scores(name, *steps[1:])
    with pytest.raises(ParameterError, match="score whole texts"):
        scores(name, *steps)


def test_values_are_those_of_the_definitions():
    state = written([0.5, 0.125])
    assert scores("mean_logprob", state) == [pytest.approx(-2 * math.log(2))]
    assert scores("perplexity", state) == [pytest.approx(-4)]
    assert scores("entropy", state) == scores("mean_logprob", state)
    assert scores("likelihood", state) == [pytest.approx(0.25)]
    assert scores("mean_logprob", NOTHING) == [-1000]


def test_entropy_is_exact_where_all_tokens_are_known_and_a_lower_bound_elsewhere():
    whole = [[("a", 0.5), ("b", 0.25), ("c", 0.25)], [("a", 0.75), ("b", 0.125), ("c", 0.125)]]
    exact = -sum(p * math.log(p) for place in whole for _, p in place) / 2
    assert scores("entropy", written([0.5, 0.125], whole)) == [pytest.approx(-exact)]
    cut = [place[:1] for place in whole]
    assert -exact < scores("entropy", written([0.5, 0.125], cut))[0] < 0


def test_self_certainty_is_the_divergence_from_the_uniform_distribution():
    whole = [[("a", 0.5), ("b", 0.25), ("c", 0.25)]]
    expected = sum(-math.log(3 * p) / 3 for _, p in whole[0])
    assert scores("self_certainty:3", written([0.5], whole)) == [pytest.approx(expected, abs=1e-6)]
    assert scores("self_certainty:3", written([0.5], [[("a", 1 / 3), ("b", 1 / 3), ("c", 1 / 3)]])) == [
        pytest.approx(0, abs=1e-6)
    ]
    with pytest.raises(ParameterError, match="top_logprobs"):
        scores("self_certainty", written([0.5]))
    with pytest.raises(ParameterError, match="vocabulary size"):
        find_scorer("self_certainty:many")


def test_equations_score_the_share_that_holds():
    right, half, none = (written([0.5], text=text) for text in ("1 + 1 = 2", "1 + 1 = 2\n2 + 2 = 5", "well"))
    assert scores("equations", right, half, none) == [1.0, 0.5, 0.5]
    assert scores("equations:0", none) == [0.0]
    with pytest.raises(ParameterError, match="argument of equations must be"):
        find_scorer("equations:x")


def test_words_are_alike_in_any_case_and_shares_are_of_what_is_known():
    said = written([0.5], [[("Yes", 0.3), (" yes", 0.1), ("NO", 0.1), ("x", 0.5)]])
    assert share(said, "yes", "no") == pytest.approx(0.8)
    assert share(said, "true", "false") == 0.5


def test_what_was_never_said_has_no_share():
    with pytest.raises(ParameterError, match="does not report log-probabilities"):
        share(written([0.5]), "yes", "no")
    with pytest.raises(SpentError, match="no room in the context"):
        share(replace(NOTHING, why="context"), "yes", "no")


def test_a_question_about_a_text_holds_both():
    chat = Problem("p", (("system", "be brief"), ("user", "2+2?")))
    system, (role, content) = ask_about(chat, written([0.5]), "Right?").prompt
    assert system == ("system", "be brief")
    assert role == "user"
    assert "2+2?" in content
    assert "abc" in content
    assert "be brief" not in content
    bare = ask_about(PROBLEM, written([0.5], text="{task}"), "Right?").prompt
    assert bare == "Question: ask\n\nProposed answer: {task}\n\nRight?\nReply:"


@method("none")
def judged(problem: Problem, *, scorer: str, n: int = 3) -> Steps:
    """Write, and judge."""
    states = yield [Extend(problem.start)] * n
    values = yield Score(scorer, states)
    return Answer("done", {}, None, states[0], {"scores": values})


def test_a_check_in_words_is_charged_to_the_token():
    weights = {**WEIGHTS, "?": {"a": 3, "b": 1}}  # the question about the verdict ends in this letter
    backend = MarkovBackend(weights)
    (result,) = solve(backend, [MethodJob(judged, PROBLEM, {"scorer": "verification"})], services=Services(find_scorer))
    assert result.why == "done", result.error
    assert result.cost.tokens == backend.made
    assert result.answer.details["scores"] == [0.5] * 3  # neither word is known here
    (spent,) = solve(
        MarkovBackend(weights),
        [MethodJob(judged, PROBLEM, {"scorer": "verification"})],
        services=Services(find_scorer),
        budget=Budget(tokens=30),
    )
    assert spent.cost.tokens <= 30


class Approving(MarkovBackend):
    """Finds three quarters of everything right."""

    def top(self, text: str, count: int) -> Top:
        return tuple((word, logprob(p)) for word, p in [("True", 0.3), ("Yes", 0.3), ("False", 0.1), ("No", 0.1)])


AGREEING = float(corrected([0.75] * 4, RULES)[0])


@pytest.mark.parametrize(
    ("scorer", "score"),
    [("p_true", 0.75), ("restart", 0.25), ("verification", 0.75), ("colep", AGREEING), ("pair_prediction", 1)],
)
def test_a_text_that_the_budget_leaves_unjudged_has_no_score(scorer, score):
    """With any budget there are the scores of the full run, or none: never a guess for what was not asked."""
    task = MethodJob(judged, PROBLEM, {"scorer": scorer})
    (whole,) = solve(Approving(), [task], services=Services(find_scorer))
    assert whole.answer.details["scores"] == pytest.approx([score] * 3)
    seen = set()
    for tokens in range(1, whole.cost.tokens + 1):
        (result,) = solve(Approving(), [task], services=Services(find_scorer), budget=Budget(tokens=tokens))
        assert result.cost.tokens <= tokens
        seen.add(result.why)
        if result.answer.details:
            assert result.answer.details == whole.answer.details
    assert seen == {"spent", "done"}


def test_a_judge_that_cannot_be_asked_is_an_error():
    models = {"toy": MarkovBackend(), "judge": MarkovBackend(fail="")}
    driver = Driver(models, services=Services(find_scorer), sampling={"max_tokens": 4})
    ((_, result),) = driver.solve([MethodJob(judged, PROBLEM, {"scorer": "p_true:judge"})])
    assert result.why == "failed"
    assert "the scorer p_true could not make a request:  cannot be continued" in result.error


CODE = {
    "good": "def f(x):\n    return x + 1",
    "bad": "def f(x):\n    return x",
    "none": None,
    "ends": "import sys\nsys.exit(0)",
}


@pytest.mark.skipif(protection().kind == "none", reason="nothing here keeps programs in")
def test_programs_score_the_share_of_public_tests_they_pass():
    tests = ["assert f(1) == 2", "assert f(0) == 0 + 1", "assert f(3) >= 3", "assert g(1)"]
    texts = iter(CODE.values())
    problem = Problem("p", "ask", lambda text: next(texts), {"tests": tests})
    tried = {"scorer": "unit_tests", "n": len(CODE)}
    (result,) = solve(
        MarkovBackend(),
        [MethodJob(judged, problem, tried)],
        services=Services(find_scorer),
    )
    assert result.answer.details["scores"] == [0.75, 0.25, 0.0, 0.0]
    assert result.cost.runs == 3


def test_a_problem_without_public_tests_is_named():
    (result,) = solve(
        MarkovBackend(), [MethodJob(judged, PROBLEM, {"scorer": "unit_tests"})], services=Services(find_scorer)
    )
    assert result.why == "failed"
    assert "p has no public tests" in result.error


def test_texts_without_any_program_cost_nothing():
    problem = Problem("p", "ask", lambda text: None, {"tests": ["assert True"]})
    (result,) = solve(
        MarkovBackend(), [MethodJob(judged, problem, {"scorer": "unit_tests"})], services=Services(find_scorer)
    )
    assert result.answer.details["scores"] == [0.0] * 3
    assert result.cost.runs == 0


@method("none")
def calling(problem: Problem, *, scorer: str = "entropy") -> Steps:
    """Call a method that has texts judged."""
    return (yield CallMethod("best_of_n", problem, {"n": 4, "scorer": scorer}))


def judged_texts(nodes):
    """Yield each text that was judged, with its end token, and its score."""
    texts = {node["branch"]: node for node in nodes if node["kind"] == "extend"}

    def whole(branch):
        node = texts.get(branch)
        return "" if node is None else whole(node["parent"]) + node["text"] + ("$" if node["why"] == "end" else "")

    for node in nodes:
        if node["kind"] == "call":
            yield from judged_texts(node["nodes"])
        for branch, score in node.get("scores", ()):
            yield whole(branch), score


CHAIN = MarkovBackend()
CERTAINTY = {
    "entropy": lambda law: sum(p * math.log(p) for p in law),
    "self_certainty": lambda law: -sum(math.log(len(law) * p) for p in law) / len(law),
}


class Endpoint(MarkovBackend):
    """A model that knows the likeliest letters alone."""

    spreads = False


BOUND = CERTAINTY | {
    # from the uniform law over ten tokens: what cannot come has the least mass that counts, spread evenly
    "self_certainty:10": lambda law: (
        -sum(math.log(10 * p) for p in law) / 10 - (10 - len(law)) / 10 * math.log(10 / ((10 - len(law)) * 2**24))
    ),
}
del BOUND["self_certainty"]


@pytest.mark.parametrize(
    ("model", "name"), [(MarkovBackend, name) for name in CERTAINTY] + [(Endpoint, name) for name in BOUND]
)
@pytest.mark.parametrize(
    ("chosen", "parameters"),
    [(find("best_of_n"), {"n": 4}), (find("beam_search"), {"n": 4, "width": 2, "delimiter": "."}), (calling, {})],
)
def test_scorers_of_certainty_have_the_reports_that_they_need(chosen, parameters, model, name):
    """Entropy and divergence are those of the toy's chain; of an endpoint, those that its likeliest letters allow."""
    sampling = {"max_tokens": 9, "temperature": 1.0}
    job = MethodJob(chosen, PROBLEM, parameters | {"scorer": name})
    (result,) = solve(model(), [job], services=Services(find_scorer), sampling=sampling)
    assert (result.why, result.error) == ("done", "")
    found = list(judged_texts(result.trace["nodes"]))
    assert found
    for text, score in found:
        laws = [list(map(float, CHAIN.distribution(text[:i]).values())) for i in range(len(text))]
        law = (CERTAINTY if model is MarkovBackend else BOUND)[name]
        assert score == pytest.approx(sum(map(law, laws)) / len(laws), abs=1e-5 if model is Endpoint else 2e-7)


def test_scorer_errors_are_raised_where_the_method_waits():
    (result,) = solve(
        MarkovBackend(), [MethodJob(judged, PROBLEM, {"scorer": "self_certainty"})], services=Services(find_scorer)
    )
    assert result.why == "failed"
    assert ScorerError.__name__ in result.error


def test_a_reward_needs_the_name_of_its_model():
    with pytest.raises(ParameterError, match="reward needs a model: reward:FOLDER, or reward:NAME with a Hub name"):
        find_scorer("reward")
