"""Searches with simulation and back-up: UCT, PUCT, AB-MCTS; and early rejection."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest

from intact._base.errors import ParameterError
from intact.reason import Problem, Result, State, find
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob, Services
from intact.reason.populations.thompson import Normal
from intact.reason.populations.variates import RandomStream
from intact.reason.testing.enumeration import Oracle, Player, law
from intact.reason.testing.toy import MarkovBackend
from support.script import ScriptBackend

PROBLEM = Problem("p", "ask")


class Table:
    """Rewards by text."""

    name, digest = "table", ""

    def __init__(self, rewards: Any) -> None:
        self.rewards, self.judged = rewards, []

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        assert all(state.prompt == problem.prompt for state in states)
        self.judged += [state.text for state in states]
        return [float(self.rewards(state.text)) for state in states]


def solve(backend: MarkovBackend, name: str, scorer: Table, budget: Budget | None = None, **parameters: Any) -> Result:
    driver = Driver({"toy": backend}, services=Services(lambda _: scorer), budget=budget, sampling={"max_tokens": 40})
    ((_, result),) = driver.solve([MethodJob(find(name), PROBLEM, parameters)])
    assert result.cost.tokens == backend.made
    return result


def forest(prompt: str, text: str, number: int) -> str:
    """At the root a. and b.; below them a. and b. after the rollout that was their child 0; then the end."""
    return {"": "ab"[number % 2], "a.": "ba"[number % 2], "b.": "ba"[number % 2]}.get(text, "") + ".z" * (len(text) < 4)


def test_uct_by_hand() -> None:
    """Two children, a. of reward 1/2 and b. of 1/4, below each two steps more; rewards are by first steps alone."""
    table = Table(lambda text: {"a": 0.5, "b": 0.25}[text[0]])
    result = solve(
        ScriptBackend(forest), "uct_search", table, simulations=6, width=2, exploration=0.5, steps=2, delimiter="."
    )
    # unvisited children first: a., b.; then with w = 1/2
    #          N = 2: a .5 + .5 sqrt(ln 2 / 1) = .916 > b .666            -> a, expanded: a.a.
    #          N = 3: a .5 + .5 sqrt(ln 3 / 2) = .871 > b .25 + .524 = .774 -> a: a.b., not yet visited
    #          N = 4: a .5 + .5 sqrt(ln 4 / 3) = .840 > b .25 + .589 = .839 -> a: a.a. (equal bounds, the first)
    #          N = 5: a .5 + .5 sqrt(ln 5 / 4) = .817 < b .25 + .634 = .884 -> b, expanded: b.a.
    rollouts = [n["parent"] for n in result.trace["nodes"] if n["kind"] == "extend" and n["why"] == "end"]
    names = branch_texts(result)
    assert [names[parent] for parent in rollouts] == ["a.", "b.", "a.a.", "a.b.", "a.a.", "b.a."]
    assert result.answer.details["visits"] == [4, 2]
    assert result.answer.answer == "a.b.z"
    assert result.cost.scores == len(table.judged) == 6


def branch_texts(result: Result) -> dict[str, str]:
    texts = {PROBLEM.id: ""}
    for node in result.trace["nodes"]:
        if node["kind"] == "extend":
            texts[node["branch"]] = texts[node["parent"]] + node["text"]
    return texts


def test_a_reward_is_not_a_matter_of_length_and_every_simulation_counts_once() -> None:
    long = Table(lambda text: 0.25)
    found = solve(MarkovBackend(), "uct_search", long, simulations=30, width=3, delimiter=".", steps=4)
    assert sum(found.answer.details["visits"]) == 30
    assert set(found.answer.details["rewards"]) == {0.25}
    assert len(long.judged) == len(found.answer.details["rewards"]) <= 30  # an ended text is judged once


@pytest.mark.parametrize("name", ["uct_search", "puct_search"])
@pytest.mark.parametrize("seed", range(3))
def test_choices_follow_the_formula_all_along(name: str, seed: int) -> None:
    """The trace again, by other means: statistics kept by text, bounds in plain floats."""
    table = Table(lambda text: (hash_of(text) % 97) / 97)
    problem = Problem(f"p{seed}", "ask")
    driver = Driver(
        {"toy": MarkovBackend()}, services=Services(lambda _: table), sampling={"max_tokens": 9, "temperature": 1.0}
    )
    ((_, result),) = driver.solve(
        [MethodJob(find(name), problem, {"simulations": 40, "width": 3, "delimiter": ".", "steps": 3})]
    )
    nodes = iter([node for node in result.trace["nodes"] if node["kind"] == "extend"])
    scores = iter([score for node in result.trace["nodes"] if node["kind"] == "score" for _, score in node["scores"]])
    text, ended, children, visits, value, prior = {problem.id: ""}, {}, {}, Counter(), Counter(), {}
    kept: dict[str, float] = {}

    def choose(parent: str) -> str:
        n = sum(visits[c] for c in children[parent])

        def bound(c: str) -> float:
            mean = value[c] / visits[c] if visits[c] else 0.0
            if name == "puct_search":
                c_n = math.log((n + 19653) / 19652) + 1.25
                return mean + c_n * prior[c] * math.sqrt(max(n, 1)) / (1 + visits[c])
            return mean + math.sqrt(2 * math.log(n) / visits[c]) if visits[c] else math.inf

        best = max(map(bound, children[parent]))
        return next(c for c in children[parent] if bound(c) >= best - 1e-12)

    for _ in range(40):
        path = [problem.id]
        while path[-1] in children:
            path.append(choose(path[-1]))
        leaf = path[-1]
        if not ended.get(leaf) and len(path) <= 3 and (len(path) == 1 or visits[leaf]):
            fresh: dict[tuple[str, bool], str] = {}
            for _ in range(3):
                node = next(nodes)
                assert node["parent"] == leaf
                key = text[leaf] + node["text"], node["why"] == "end"
                if key not in fresh:
                    fresh[key] = node["branch"]
                    text[node["branch"]], ended[node["branch"]] = key
                    prior[node["branch"]] = math.exp(node["logprob"] / node["tokens"])
            mass = sum(prior[c] for c in fresh.values())
            prior |= {c: prior[c] / mass for c in fresh.values()}
            children[leaf] = list(fresh.values())
            path.append(choose(leaf))
            leaf = path[-1]
        if leaf not in kept:
            if not ended.get(leaf):
                node = next(nodes)
                assert node["parent"] == leaf
            reward = next(scores)
            if ended.get(leaf):
                kept[leaf] = reward
        for place in path[1:]:
            visits[place] += 1
            value[place] += kept.get(leaf, reward)
    assert next(nodes, None) is None
    assert next(scores, None) is None
    assert result.answer.details["visits"] == [visits[c] for c in children[problem.id]]


def hash_of(text: str) -> int:
    return sum((i + 1) * ord(letter) for i, letter in enumerate(text))


def test_puct_prefers_likely_steps_at_first() -> None:
    """Steps of two letters: a is likelier than c; nobody rewards anything."""
    problem = Problem("p", "ask")
    driver = Driver(
        {"toy": MarkovBackend()}, services=Services(lambda _: Table(lambda text: 0.0)), sampling={"max_tokens": 1}
    )
    ((_, result),) = driver.solve(
        [MethodJob(find("puct_search"), problem, {"simulations": 80, "width": 24, "delimiter": ".", "steps": 1})]
    )
    first = {n["text"]: n["logprob"] for n in result.trace["nodes"] if n["kind"] == "extend" and n["parent"] == "p"}
    visits = dict(zip(first, result.answer.details["visits"], strict=True))
    assert visits["a"] > visits["b"] > visits["c"] > 0
    assert visits["a"] == pytest.approx(80 * 4 / 8, abs=2)  # without rewards, visits follow the priors


def test_a_search_whose_budget_is_spent_gives_the_best_it_has() -> None:
    for name in ("uct_search", "puct_search", "ab_mcts"):
        table = Table(lambda text: 1 / (1 + len(text)))
        budget = Budget(scores=3)
        result = solve(MarkovBackend(), name, table, budget)
        assert result.why == "spent"
        assert result.cost.scores == 3
        rewards = result.answer.details["rewards"]
        assert result.answer.chosen is not None
        assert 1 / (1 + len(result.answer.chosen.text)) == max(rewards)


def test_ab_mcts_shows_the_answer_that_it_refines_and_its_score() -> None:
    """A new answer is worth 0.1; each refinement a tenth more than its parent, so deep is where the search goes."""

    def reply(prompt: str, text: str, number: int) -> str:
        return "x" if prompt == "ask" else "x" + prompt.split("\n\n")[2]

    table = Table(lambda text: len(text) / 10)
    backend = ScriptBackend(reply)
    result = solve(backend, "ab_mcts", table, n=9, refine="{question}\n\n{score}\n\n{answer}\n\n{other}")
    assert len(table.judged) == 9
    assert result.answer.details["rewards"] == [len(text) / 10 for text in table.judged]
    for prompt, text in zip(backend.asked, table.judged, strict=True):
        if prompt != "ask":
            earlier = text[1:]
            assert prompt == f"ask\n\n{len(earlier) / 10:.2f}\n\n{earlier}\n\n{{other}}"
            assert earlier in table.judged
    assert result.answer.answer == max(table.judged, key=len)
    assert max(map(len, table.judged)) > 2


def test_ab_mcts_by_hand() -> None:
    """The third answer: two arms at the root, drawn from normal posteriors whose parameters are worked out here.

    If the second was new, new has seen two scores and deeper none; if it refined the first, new and deeper one each.
    """
    for seed in range(12):
        problem = Problem("p", "ask", seed=seed)
        scores = iter([0.5, 0.9, 0.2])
        backend = ScriptBackend(lambda prompt, text, number: "x")
        driver = Driver({"toy": backend}, services=Services(lambda _, s=scores: Table(lambda text: next(s))))
        ((_, result),) = driver.solve([MethodJob(find("ab_mcts"), problem, {"n": 3})])
        parents = [n["parent"] for n in result.trace["nodes"] if n["kind"] == "extend"]
        assert parents[0] == "p"
        # one score of 0.5: m = .25, kappa = nu = 2, tau2 = (.1 + .5 * .25) / 2 = .1125
        one, none = Normal(0.25, 2.0, 2.0, 0.1125), Normal(0.0, 1.0, 1.0, 0.1)
        stream = RandomStream(problem.key("thompson", 1, 1))
        assert (parents[1] == "p") == (one.draw(stream) >= none.draw(stream))
        stream = RandomStream(problem.key("thompson", 2, 1))
        if parents[1] == "p":
            # .5 and .9: y = .7, m = 1.4 / 3, kappa = nu = 3, tau2 = (.1 + .08 + 2 * .49 / 3) / 3
            new, deeper = Normal(1.4 / 3, 3.0, 3.0, (0.18 + 0.98 / 3) / 3), none
        else:
            # deeper has seen .9: m = .45, tau2 = (.1 + .5 * .81) / 2
            new, deeper = one, Normal(0.45, 2.0, 2.0, 0.2525)
        assert (parents[2] == "p") == (new.draw(stream) >= deeper.draw(stream))


def test_early_rejection_by_enumeration() -> None:
    """Two texts of which one letter is written, the better of which goes on; each in two ways.

    Steps end with a point or after three letters, and one step is all there is.
    """

    def reward(text: str) -> Fraction:
        return Fraction(1 + sum("abc.".index(letter) for letter in text), 4 + 4 * len(text))

    def run(oracle: Oracle) -> str:
        player = Player(MarkovBackend(), oracle, 2, Table(reward))
        steps = find("early_rejection")(PROBLEM, n=2, width=2, tokens=1, steps=1, delimiter=".")
        return player.play(steps, PROBLEM).answer

    model = MarkovBackend()
    first = {letter: chance for letter, chance, _ in model.texts(1, ".")}
    expected: Counter[str] = Counter()
    for one, p in first.items():
        for two, q in first.items():
            kept = one if reward(one) >= reward(two) else two
            for rest, chance, _ in model.texts(2, ".", kept):
                expected[kept + rest] += p * q * chance
    assert law(run) == dict(expected)


def test_early_rejection_writes_no_more_of_what_it_rejects_and_ended_beams_keep_their_places() -> None:
    def reply(prompt: str, text: str, number: int) -> str:
        begun = text.rpartition(".")[2]
        step = "z" * 12 if text.count(".") == 2 else ["good, xxxx.", "bad, yyyyy."][number % 2 if not begun else 0]
        return step[len(begun) :]

    table = Table(lambda text: text.count("good") / 10)
    backend = ScriptBackend(reply)
    result = solve(backend, "early_rejection", table, n=4, width=2, tokens=4, delimiter=".", steps=9)
    rejected = [n for n in result.trace["nodes"] if n["kind"] == "extend" and n["text"].startswith("bad")]
    assert rejected
    assert {n["tokens"] for n in rejected} == {4}
    begun = [n for n in result.trace["nodes"] if n["kind"] == "extend" and n["tokens"] == 4]
    assert len(begun) == 4 + 4 + 4
    assert result.answer.answer == "good, xxxx.good, xxxx.zzzzzzzzzzzz"
    assert len(result.answer.details["rewards"]) == 2


def test_early_rejection_without_scores_for_the_end_goes_by_what_its_beginnings_were_worth() -> None:
    """Of two places; the second beginning is the better, and no score is left for the whole texts."""

    def reply(prompt: str, text: str, number: int) -> str:
        return ["fair", "good", "bad", "bad"][number]

    table = Table(lambda text: {"fair": 0.5, "good": 0.9, "bad": 0.1}[text])
    for scores in (4, 5, 6):
        backend = ScriptBackend(reply)
        driver = Driver(
            {"toy": backend},
            services=Services(lambda name: table),
            sampling={"max_tokens": 20},
            budget=Budget(scores=scores),
        )
        ((_, result),) = driver.solve([MethodJob(find("early_rejection"), Problem("p", "q"), {"n": 4, "width": 2})])
        assert (result.why, result.answer.answer) == ("done" if scores == 6 else "spent", "good"), result.error
        assert result.answer.details["rewards"] == [0.9, 0.5]


def test_an_ended_text_is_not_continued_and_leaves_fewer_places_to_the_others() -> None:
    """Of two places one is taken by the text that ends at once; the other is all that goes on, in two ways."""

    def reply(prompt: str, text: str, number: int) -> str:
        return ["good", "fair.", "bad.", "bad."][number] if not text else ["fair.", "bad."][number % 2]

    table = Table(lambda text: 0.9 * text.startswith("good") + 0.3 * (text.count("fair") / (1 + text.count("."))))
    result = solve(ScriptBackend(reply), "early_rejection", table, n=4, width=2, tokens=5, delimiter=".", steps=3)
    texts = [n["text"] for n in result.trace["nodes"] if n["kind"] == "extend"]
    assert texts == ["good", "fair.", "bad.", "bad.", *["fair.", "bad."] * 2]
    assert result.answer.answer == "good"
    assert result.answer.chosen is not None
    assert len(result.answer.details["rewards"]) == 2


def test_an_uneven_width_is_refused() -> None:
    with pytest.raises(ParameterError, match="multiple of the width, got n = 5 and width = 2"):
        solve(MarkovBackend(), "early_rejection", Table(len), n=5, width=2)
