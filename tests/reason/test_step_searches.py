"""Searches over steps: what they go on from, against hand computations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from intact._base.errors import ParameterError
from intact.reason import Answer, Problem, State, find
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob, Services
from intact.reason.populations import transformers
from intact.reason.populations.annealing import entropic_temperature
from intact.reason.testing.enumeration import Oracle, Player
from intact.reason.testing.toy import MarkovBackend
from intact.reason.weights import logit, relative
from support.script import ScriptBackend

PROBLEM = Problem("p", "ask", read=lambda text: text or None)
A, B, C = 0, 1, 2
"""Options for a first letter."""
AFTER = {"a": "$.ab", "b": "$.ac", "c": "$.b", ".": "$abc"}
"""The letters that may follow, in the order of options; $ is the end."""


class Table:
    """Rewards by text, and by the last letter where a text is not named."""

    name, digest = "table", ""

    def __init__(self, **rewards: float) -> None:
        self.rewards = rewards

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        texts = [state.text.replace(".", "_") for state in states]
        return [self.rewards.get(text, self.rewards.get(text[-1:], 0.5)) for text in texts]


def play(method: str, path: Sequence[int], scorer: Table, **parameters: Any) -> tuple[Answer, list[list[str]]]:
    """The answer, and the texts that were extended at each step, a letter each."""
    player = Player(MarkovBackend(), Oracle(path), 1, scorer)
    return player.play(find(method)(PROBLEM, **parameters), PROBLEM), player.rounds


def test_options_are_in_the_order_that_paths_mean() -> None:
    for letter, options in AFTER.items():
        assert "".join(MarkovBackend().distribution(letter)) == options


GOOD = Table(a=0.9, b=0.5, c=0.1)


def test_beam_search_writes_all_of_n_from_the_first_step_and_keeps_the_best() -> None:
    # a b c b; the best two are a and the first b; then "aa", "b" ends, "ab", "bc": three places are left.
    path = [A, B, C, B, 2, 0, 3, 3, 1, 1, 1]
    answer, rounds = play("beam_search", path, GOOD, n=4, width=2, steps=3)
    assert rounds[0] == [""] * 4
    assert rounds[1] == ["a", "b", "a", "b"]
    assert rounds[2] == ["aa", "ab", "aa"], "of aa .9, ab .5, bc .1 the best ceil(3 / 2) share three places"
    assert answer.answer == "b", "what has ended is preferred to what has not"
    assert answer.details["rewards"] == [0.5]


def test_beams_of_one_text_are_kept_once_if_asked_to() -> None:
    for unique, expected in ((False, ["a", "a"] * 2), (True, ["a", "b"] * 2)):
        _, rounds = play("beam_search", [A, A, B, C], GOOD, n=4, width=2, steps=2, unique=unique)
        assert rounds[1] == expected


def test_trees_of_dvts_never_meet() -> None:
    # Trees of (c, b) and (b, b): each goes on from its best, the first of equals.
    path = [C, B, B, B, 0, 3, 1, 2, 0, 0]
    answer, rounds = play("dvts", path, GOOD, n=4, width=2, steps=3, final="majority")
    assert rounds[1] == ["b", "b", "b", "b"]
    # The first tree: "b" ended (.5), "bc" (.1); the second: "b." (.5), "ba" (.9).
    assert rounds[2] == ["ba", "ba"]
    assert set(answer.votes) == {"b", "ba"}
    with pytest.raises(ParameterError, match="multiple of the width"):
        play("dvts", [], GOOD, n=4, width=3)


def test_rebase_shares_by_hand() -> None:
    """e^4.5 twice, e^2.5 three times, e^.5: ceil(6 x 90 / 218) = 3, ceil(3 x 90 / 128) = 3, nothing for the rest."""
    first = [A, A, B, B, B, C]
    _, rounds = play("rebase", [*first, 2, 2, 2, 0, 0, 2], GOOD, n=6, steps=3, balance=0.2)
    assert rounds[1] == ["a"] * 6
    # Two ended and four of reward .9 are left for four places.
    assert rounds[2] == ["aa"] * 4
    _, rounds = play("rebase", first, GOOD, n=6, steps=2, balance=1.0)
    # 2.46 twice, 1.65 three times, 1.11: 6 x .224 -> 2, 4 x .289 -> 2, 2 x .272 -> 1, 1 x .374 -> 1.
    assert rounds[1] == ["a", "a", "a", "a", "b", "b"]


def test_rebase_weighs_what_has_ended() -> None:
    """Nearly even shares of five: 5 / 5 -> 2 to the best, then 3 / 4, 2 / 3, 1 / 2 -> 1 each, and none for the last."""
    table, path = Table(a=0.9, b=0.7), [A, B, B, B, B, 0, 0, 0, 0, 0]
    answer, rounds = play("rebase", path, table, n=5, steps=5, balance=100.0)
    assert rounds == [[""] * 5, ["a", "a", "b", "b", "b"]]
    assert answer.votes == pytest.approx({"b": 2.1, "a": 1.8})
    assert answer.answer == "b"
    answer, _ = play("rebase", path, table, n=5, steps=5, balance=100.0, final="best")
    assert answer.answer == "a"


SEARCHED = Table(a=0.6, b=0.5, aa=0.3, ab=0.62, aba=0.1, abb=0.1, ab_=0.45, abc=0.55, ba=0.7, b_=0.45)


def test_a_star_by_hand_with_costs_of_increase() -> None:
    """k = 2; f of a = .4, of b = .5.

    a: aa has h .7, g .3, f 1; ab has h .38, g 0, f .38.
    ab: ab. has h .55, g .17, f .72; ab ends with h .38, g 0, f .38: the goal.
    """
    answer, rounds = play("a_star", [A, B, 2, 3, 0, 1], SEARCHED, k=2)
    assert rounds == [["", ""], ["a", "a"], ["ab", "ab"]]
    assert answer.answer == "ab"
    assert answer.details == {"expanded": 3, "reward": pytest.approx(0.62), "complete": True}


def test_the_cost_of_a_step_decides_where_a_star_goes_back() -> None:
    """After a: aa has h .7; b.'s h is .55. With g they are 1.0 and .6 against b's .5; without, .7 and .55."""
    table = Table(a=0.6, b=0.5, aa=0.45, a_=0.45, ba=0.42, b_=0.42)
    # increase: a (.4), then aa and a. have h .55, g .15, f .7, so b (.5) is next; its children h .58, g .08, f .66.
    _, rounds = play("a_star", [A, B, 2, 1, 2, 1], table, k=2, expansions=4)
    assert [texts[0] for texts in rounds] == ["", "a", "b", "ba"]
    # none: a (.4), b (.5), then aa (.55) before ba (.58).
    _, rounds = play("a_star", [A, B, 2, 1, 2, 1], table, k=2, expansions=4, cost="none")
    assert [texts[0] for texts in rounds] == ["", "a", "b", "aa"]


def test_a_star_out_of_expansions_takes_a_finished_text_if_there_is_one() -> None:
    table = Table(a=0.9, b=0.2, c=0.1)
    answer, _ = play("a_star", [A, B, 0, 3], table, k=2, expansions=1)
    assert (answer.answer, answer.details["complete"]) == ("a", False)
    table = Table(a=0.3, b=0.2, ab=0.9)
    answer, _ = play("a_star", [A, B, 0, 3], table, k=2, expansions=2)
    assert (answer.answer, answer.details["complete"]) == ("a", True), "though ab is the better text"
    with pytest.raises(ParameterError, match="increase, none"):
        play("a_star", [], table, cost="all")
    with pytest.raises(ParameterError, match="A\\* needs rewards"):
        play("a_star", [], Table(a=3.0), k=2)


def test_entropic_weights_are_flattened_early(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[float]] = []

    def resample(scheme: str, key: int, weights: Sequence[float], n: int) -> list[int]:
        assert scheme == "systematic"
        seen.append(list(weights))
        return list(range(n))

    monkeypatch.setattr(transformers, "ancestors", resample)
    table = Table(a=0.999, b=0.01, c=0.02)
    path = [A, B, B, C, 3, 2, 2, 2, 0, 0, 0, 0]
    answer, _ = play("entropic_particle_filter", path, table, n=4, steps=8)
    logs = [logit(r) for r in (0.999, 0.01, 0.01, 0.02)]
    heat = entropic_temperature(logs, 1 / 8)
    assert heat > 3
    assert answer.details["temperatures"][0] == heat
    assert seen[0] == relative(logs, heat)
    assert seen[0][3] > 100 * relative(logs)[3]
    assert answer.details["temperatures"][-1] == 1.0


@pytest.mark.parametrize("method", ["beam_search", "dvts", "rebase", "entropic_particle_filter"])
def test_an_unknown_way_to_finish_is_named(method: str) -> None:
    with pytest.raises(ParameterError, match="best, weighted, majority, got 'all'"):
        play(method, [], GOOD, n=4, steps=1, final="all")


class Witness:
    """Half a point for each text, and a memory of all."""

    name, digest = "witness", ""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        self.texts += [state.text for state in states]
        return [0.5] * len(states)


def likeliest(text: str) -> str:
    """The step that greedy writing adds."""
    step = ""
    while not step.endswith("."):
        (letter,) = MarkovBackend().distribution(text + step, 0)
        if letter == "$":
            break
        step += letter
    return step


@pytest.mark.parametrize("name", ["beam_search", "dvts", "entropic_particle_filter"])
@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_steps_are_judged_by_what_is_likeliest_to_follow(name: str, lookahead: int) -> None:
    backend, witness = MarkovBackend(), Witness()
    parameters = {"n": 6, "steps": 1, "delimiter": ".", "lookahead": lookahead, "scorer": "witness"}
    parameters |= {} if name == "entropic_particle_filter" else {"width": 1}
    driver = Driver(
        {"toy": backend}, services=Services(lambda _: witness), sampling={"max_tokens": 50, "temperature": 1.0}
    )
    ((_, result),) = driver.solve([MethodJob(find(name), PROBLEM, parameters)])
    assert result.why == "done", result.error
    nodes = [node for node in result.trace["nodes"] if node["kind"] == "extend"]
    steps = [node for node in nodes if node["parent"] == "p"]
    assert {node["why"] for node in steps} == {"stop", "end"}
    expected = []
    for node in steps:
        text = node["text"]
        for _ in range(lookahead if node["why"] == "stop" else 0):
            text += likeliest(text)
        expected.append(text)
    assert witness.texts == expected
    assert result.cost.tokens == backend.made
    chosen = result.answer.chosen
    assert chosen is not None
    assert chosen.text in [node["text"] for node in steps], "what was looked at is thrown away"
    with pytest.raises(ParameterError, match="lookahead"):
        next(find(name)(PROBLEM, **parameters | {"lookahead": -1}))


class Likes:
    """Gives next to nothing for A, and most for B."""

    name, digest = "likes", ""

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        return [0.01 if "A" in state.text else 0.99 if "B" in state.text else 0.98 for state in states]


@pytest.mark.parametrize("name", ["particle_filter", "entropic_particle_filter", "smc", "particle_gibbs"])
@pytest.mark.parametrize("cap", [18, 21, 24, 27])
def test_out_of_budget_texts_that_resampling_dropped_have_no_vote(name: str, cap: int) -> None:
    """Of eight texts two go on for ever, five end with A and one with B, by 18 tokens; then A is hardly ever kept."""

    def reply(prompt: str, text: str, place: int) -> str:
        return "x\n\nx" if text or place in (0, 4) else "B" if place == 1 else "A"

    problem = Problem("p", "A or B?", lambda text: text if text in ("A", "B") else None, seed=3)
    driver = Driver(
        {"toy": ScriptBackend(reply)},
        services=Services(lambda _: Likes()),
        sampling={"max_tokens": 3},
        budget=Budget(tokens=cap),
    )
    ((_, result),) = driver.solve([MethodJob(find(name), problem, {"n": 8, "steps": 10})])
    assert (result.why, result.answer.answer) == ("spent", "B")
    assert result.answer.votes.get("A", 0) < 0.1
