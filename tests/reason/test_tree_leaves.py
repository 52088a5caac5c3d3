"""Tree searches that judge their leaves unfinished (`leaf=value`), and what Q values they come to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import pytest

from intact._base.errors import ParameterError
from intact.reason import Problem, Result, State, find
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob, Services
from intact.reason.methods.tree_search import SearchNode, SearchTree, TreeSettings, search_tree
from intact.reason.populations.tree import puct, uct
from intact.reason.testing.checks import CHECKS, Check, LetterScorer, ToyTrial
from intact.reason.testing.enumeration import Oracle, Player, outcomes
from intact.reason.testing.toy import END, MarkovBackend

PROBLEM = Problem("p", "", read=lambda text: text or None)
METHODS = ["uct_search", "puct_search"]
RULES = [pytest.param(partial(uct, exploration=0.5), id="uct"), pytest.param(puct, id="puct")]


class ByText:
    """Rewards by text, with the branches that were judged."""

    name, digest = "by_text", ""

    def __init__(self, reward: Callable[[str], float]) -> None:
        self.reward, self.judged = reward, list[State]()

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        self.judged += states
        return [float(self.reward(state.text)) for state in states]


def endings(letters: str) -> MarkovBackend:
    """A model of two levels: the step "a.", then one of some letters, each as likely, which ends the text."""
    last = {letter: {END: 1} for letter in letters}
    return MarkovBackend({"": {"a": 1}, "a": {".": 1}, ".": dict.fromkeys(letters, 1), **last})


def play(model: MarkovBackend, oracle: Oracle, scorer: Any, choose: Any, **parameters: Any) -> SearchTree:
    player = Player(model, oracle, 4, scorer)
    tree = player.play(search_tree(PROBLEM, choose, TreeSettings(delimiter=".", **parameters)), PROBLEM)
    assert isinstance(tree, SearchTree)
    return tree


def below(node: SearchNode) -> Iterator[SearchNode]:
    yield node
    for child in node.children:
        yield from below(child)


@pytest.mark.parametrize("choose", RULES)
def test_q_of_a_tree_that_was_searched_to_its_end_is_the_mean_over_the_nodes_below(choose: Any) -> None:
    """Over every draw: two first steps or one, each with two endings or one."""
    model = MarkovBackend(
        {"": {"a": 1, "b": 3}, "a": {".": 1}, "b": {".": 1}, ".": {"c": 1, "d": 2}, "c": {END: 1}, "d": {END: 1}}
    )
    rewards = {"a.": 0.25, "b.": 0.75, "a.c": 1.0, "a.d": 0.0, "b.c": 0.5, "b.d": 0.125}

    def run(oracle: Oracle) -> SearchTree:
        scorer = ByText(rewards.__getitem__)
        tree = play(model, oracle, scorer, choose, simulations=50, width=2, leaf="value")
        assert len(scorer.judged) == len({state.branch for state in scorer.judged}) == len(tree.backed_up)
        return tree

    whole, sizes = Fraction(0), set[int]()
    for tree, chance in outcomes(run):
        whole += chance
        nodes = [node for child in tree.root.children for node in below(child)]
        sizes.add(len(nodes))
        assert len(tree.backed_up) == len(nodes)
        assert tree.root.known.closed
        for node in nodes:
            values = [rewards[one.state.text] for one in below(node)]
            assert node.known.visits == len(values)
            assert node.known.mean == sum(values) / len(values)
    assert whole == 1
    assert sizes == {2, 3, 4, 5, 6}


@pytest.mark.parametrize("letters", ["b", "bc", "bcd", "bcde"])
@pytest.mark.parametrize("guess", [None, 0.0])
def test_q_of_a_step_converges_to_the_mean_of_its_endings(letters: str, guess: float | None) -> None:
    """Where all m endings are found its distance is that of the leaf's own value, divided by m + 1."""
    rewards = {f"a.{letter}": 2.0**-place for place, letter in enumerate(letters)}
    mean = Fraction(sum(map(Fraction, rewards.values())), len(letters))
    value = mean if guess is None else Fraction(guess)
    model, scorer = endings(letters), ByText(lambda text: rewards.get(text, float(value)))

    def run(oracle: Oracle) -> SearchNode:
        tree = play(model, oracle, scorer, puct, simulations=50, width=len(letters), leaf="value")
        return tree.root.children[0]

    complete = [first for first, _ in outcomes(run) if len(first.children) == len(letters)]
    assert complete
    expected = float(mean + (value - mean) / (len(letters) + 1))
    assert all(first.known.mean == pytest.approx(expected, abs=1e-15) for first in complete)


def test_q_by_rollouts_has_the_enumerated_mean_and_its_variance_falls_with_the_visits() -> None:
    model = MarkovBackend({"": {"a": 1}, "a": {".": 1}, ".": {"b": 1, "c": 3}, "b": {END: 1}, "c": {END: 1}})
    rewards = {"a.b": 1.0, "a.c": 0.25}
    mean = Fraction(1, 4) + Fraction(3, 4) * Fraction(1, 4)
    variance = Fraction(1, 4) * (1 - mean) ** 2 + Fraction(3, 4) * (Fraction(1, 4) - mean) ** 2
    for n in (1, 2, 4):
        scorer, found, spread = ByText(rewards.__getitem__), Fraction(0), Fraction(0)
        search = partial(play, model, scorer=scorer, choose=puct, simulations=n, width=1, steps=1)
        for tree, chance in outcomes(search):
            (first,) = tree.root.children
            q = Fraction(first.known.value) / first.known.visits
            found, spread = found + chance * q, spread + chance * (q - mean) ** 2
        assert (found, spread) == (mean, variance / n)


def solve(name: str, scorer: Any, problem: Problem = PROBLEM, **parameters: Any) -> Result:
    driver = Driver(
        {"toy": MarkovBackend()}, services=Services(lambda _: scorer), sampling={"max_tokens": 9, "temperature": 1.0}
    )
    ((_, result),) = driver.solve([MethodJob(find(name), problem, {"delimiter": ".", "width": 3, **parameters})])
    return result


@pytest.mark.parametrize("name", METHODS)
def test_values_at_leaves_write_no_further_than_a_step_and_judge_each_leaf_once(name: str) -> None:
    for seed in range(4):
        scorer = ByText(lambda text: (1 + text.count("c")) / 20)
        result = solve(name, scorer, Problem(f"p{seed}", "", read=lambda text: text), simulations=25, leaf="value")
        assert result.why == "done", result.error
        written = [node for node in result.trace["nodes"] if node["kind"] == "extend"]
        assert all("." not in node["text"][:-1] for node in written)
        children = [[one for one in written if one["parent"] == parent] for parent in {n["parent"] for n in written}]
        assert all(len(steps) == 3 for steps in children), "steps are drawn where a node is expanded, and nothing else"
        branches = [state.branch for state in scorer.judged]
        assert len(set(branches)) == len(branches) == result.cost.scores <= 25
        assert any(not state.ended for state in scorer.judged)
        assert result.answer.chosen is not None
        assert result.answer.chosen.ended


@pytest.mark.parametrize("name", METHODS)
def test_the_answer_is_of_an_ended_text_if_one_has_any(name: str) -> None:
    class Unfinished(ByText):
        """Likes what is unfinished best."""

        def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
            super().score(problem, states)
            return [0.1 if state.ended else 0.9 for state in states]

    scorer = Unfinished(len)
    result = solve(name, scorer, simulations=12, leaf="value")
    assert any(not state.ended for state in scorer.judged)
    assert result.answer.answer in [state.text for state in scorer.judged if state.ended and state.text]
    assert set(result.answer.details["rewards"]) == {0.1}
    tree = play(endings("b"), Oracle(), ByText(len), puct, simulations=9, leaf="value", steps=1)
    assert tree.decide(PROBLEM, "value").answer == "a.", "nothing has ended"


@pytest.mark.parametrize("name", METHODS)
def test_below_the_depth_nothing_is_visited_twice_and_a_search_without_open_leaves_ends(name: str) -> None:
    scorer = ByText(lambda text: 0.5)
    result = solve(name, scorer, simulations=100_000, leaf="value", steps=2)
    assert result.why == "done"
    assert len(scorer.judged) <= 3 + 9
    assert max(state.text.count(".") for state in scorer.judged) == 2
    assert sum(result.answer.details["visits"]) == len(scorer.judged)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("check", [pytest.param(check, id=check.name) for check in CHECKS])
def test_a_search_by_values_passes_the_checks_that_users_can_make(name: str, check: Check) -> None:
    check.function(ToyTrial.of(find(name), name, {"leaf": "value"}))


@pytest.mark.parametrize("name", METHODS)
def test_rollouts_are_what_is_done_by_default(name: str) -> None:
    plain = solve(name, LetterScorer(), simulations=9)
    same = solve(name, LetterScorer(), simulations=9, leaf="rollout")
    assert plain.trace["nodes"] == same.trace["nodes"]
    assert plain.answer == same.answer
    with pytest.raises(ParameterError, match="leaf must be one of rollout, value, got 'both'"):
        solve(name, LetterScorer(), leaf="both")
