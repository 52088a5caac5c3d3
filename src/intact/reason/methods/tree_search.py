"""Monte Carlo tree search over steps: UCT and PUCT."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from intact.errors import SpentError
from intact.exact import exp, total
from intact.reason import Extend, Part, Problem, Score, State, Steps, method
from intact.reason.aggregate.votes import pick
from intact.reason.limits import Amount, Count, Filled, ScorerName
from intact.reason.populations.tree import Child, puct, uct

EXPLORATION: Final = math.sqrt(2)

Choice = Callable[[Sequence[Child]], int]


class _Node:
    """A text on its way, what the search knows of it, and the texts one step further."""

    def __init__(self, state: State, prior: float = 1.0) -> None:
        self.state, self.known = state, Child(prior=prior)
        self.children: list[_Node] = []
        self.reward: float | None = None  # of a text that has ended: judged once

    def child(self, choose: Choice) -> _Node:
        return self.children[choose([child.known for child in self.children])]


def _expand(node: _Node, width: int, delimiter: str) -> Part[list[_Node]]:
    """Steps that the model would take next, alike ones once; priors are their likelihoods per token, summing to 1."""
    drawn = yield [Extend(node.state, stop=(delimiter,))] * width
    distinct: dict[tuple[str, bool], State] = {}
    for state in drawn:
        distinct.setdefault((state.text, state.ended), state)
    written = len(node.state.pieces)
    likely = [exp(replace(state, pieces=state.pieces[written:]).mean_logprob) for state in distinct.values()]
    return [_Node(state, one / total(likely)) for state, one in zip(distinct.values(), likely, strict=True)]


def _search(
    problem: Problem, choose: Choice, simulations: int, width: int, scorer: str, steps: int, delimiter: str
) -> Steps:
    root = _Node(problem.start)
    texts: list[State] = []
    rewards: list[float] = []
    try:
        for _ in range(simulations):
            path = [root]
            while path[-1].children:
                path.append(path[-1].child(choose))
            leaf = path[-1]
            over = leaf.state.ended or len(path) > steps
            if not over and (leaf is root or leaf.known.visits):
                leaf.children = yield from _expand(leaf, width, delimiter)
                leaf = leaf.child(choose)
                path.append(leaf)
            reward = leaf.reward
            if reward is None:
                text = leaf.state if leaf.state.ended else (yield Extend(leaf.state))
                (reward,) = yield Score(scorer, [text])
                texts.append(text)
                rewards.append(reward)
                leaf.reward = reward if leaf.state.ended else None
            for node in path[1:]:
                node.known = node.known.visit(reward)
    except SpentError:
        if not texts:
            raise
    return pick(problem, texts, rewards, visits=[child.known.visits for child in root.children])


@method("Kocsis & Szepesvári 2006; Hao et al. 2023, arXiv 2305.14992", group="search step by step", temperature=0.8)
def uct_search(
    problem: Problem,
    *,
    simulations: Count = 16,
    width: Count = 4,
    scorer: ScorerName = "likelihood",
    exploration: Amount = EXPLORATION,
    steps: Count = 40,
    delimiter: Filled = "\n\n",
) -> Steps:
    """Search the tree of steps, going down by UCT, writing to the end from every leaf, and backing its reward up.

    Parameters
    ----------
    simulations : int
        Texts that are written to the end.
    width : int
        Steps that are drawn where a node is expanded.
    scorer : str
        The scorer of whole texts; its rewards are in [0, 1].
    exploration : float
        The weight w of ``sqrt(ln N / n)``.
    steps : int
        The depth below which nothing is expanded.
    delimiter : str
        What ends a step.
    """
    choose = partial(uct, exploration=exploration)
    return (yield from _search(problem, choose, simulations, width, scorer, steps, delimiter))


@method(
    "Silver et al. 2018, arXiv 1712.01815; Wang et al. 2024, arXiv 2410.09671 (OpenR)",
    group="search step by step",
    temperature=0.8,
)
def puct_search(
    problem: Problem,
    *,
    simulations: Count = 16,
    width: Count = 4,
    scorer: ScorerName = "likelihood",
    steps: Count = 40,
    delimiter: Filled = "\n\n",
) -> Steps:
    """Search the tree of steps, going down by PUCT: likely steps first, then those whose texts are rewarded.

    Parameters
    ----------
    simulations : int
        Texts that are written to the end.
    width : int
        Steps that are drawn where a node is expanded.
    scorer : str
        The scorer of whole texts; its rewards are in [0, 1].
    steps : int
        The depth below which nothing is expanded.
    delimiter : str
        What ends a step.
    """
    return (yield from _search(problem, puct, simulations, width, scorer, steps, delimiter))
