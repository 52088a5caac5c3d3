"""Monte Carlo tree search over steps: UCT and PUCT."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Final, TypeAlias

from intact._base.errors import SpentError
from intact._base.exact import exp, total
from intact.reason import Answer, Extend, Part, Problem, Score, State, Steps, method
from intact.reason.aggregate.votes import pick
from intact.reason.limits import Amount, Count, Filled, ScorerName, one_of
from intact.reason.populations.tree import Child, puct, uct
from intact.reason.registry import SharedParameters

EXPLORATION: Final = math.sqrt(2)
LEAVES: Final = ("rollout", "value")

Choice = Callable[[Sequence[Child]], int]
LeafRule: TypeAlias = Annotated[str, partial(one_of, LEAVES)]
"""Rule that sets which text of a leaf is scored: a rollout to the end, or the leaf's own unfinished text."""


@dataclass(frozen=True)
class TreeSettings(SharedParameters):
    """Parameters shared by all searches in a tree of steps.

    Parameters
    ----------
    simulations : int
        Maximum number of scored leaves; with ``leaf="value"``, there are fewer if the tree is exhausted.
    width : int
        Number of steps sampled when a node is expanded.
    scorer : str
        Scorer with rewards in [0, 1].
    steps : int
        Depth beyond which no node is expanded.
    delimiter : str
        String that ends a step.
    leaf : str
        Text that is scored for a leaf: a rollout to the end (rollout), or its own text (value).
    """

    simulations: Count = 16
    width: Count = 4
    scorer: ScorerName = "likelihood"
    steps: Count = 40
    delimiter: Filled = "\n\n"
    leaf: LeafRule = "rollout"


DEFAULTS: Final = TreeSettings()


class SearchNode:
    """A partial sequence with its search statistics, and its children, which are one step longer."""

    def __init__(self, state: State, prior: float = 1.0) -> None:
        self.state, self.known = state, Child(prior=prior)
        self.children: list[SearchNode] = []
        self.judged: int | None = None  # index in `SearchTree.texts` of a finished text, which is scored once

    def child(self, choose: Choice) -> SearchNode:
        """Return the child that a rule chooses."""
        return self.children[choose([child.known for child in self.children])]


@dataclass
class SearchTree:
    """A tree of steps.

    Attributes
    ----------
    texts, rewards : list
        The scored sequences and their rewards.
    backed_up : list of int
        For each simulation, the index of the sequence whose reward it backed up.
    """

    root: SearchNode
    texts: list[State] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    backed_up: list[int] = field(default_factory=list)

    def decide(self, problem: Problem, leaf: str) -> Answer:
        """Return the answer of the sequence with the largest reward; prefer finished sequences with an answer."""
        places = range(len(self.texts))
        ended = [i for i in places if self.texts[i].ended and problem.answer(self.texts[i]) is not None]
        kept = ended if ended and leaf == "value" else places
        visits = [child.known.visits for child in self.root.children]
        return pick(problem, [self.texts[i] for i in kept], [self.rewards[i] for i in kept], visits=visits)


def _expand(node: SearchNode, width: int, delimiter: str) -> Part[list[SearchNode]]:
    """Sample next steps from the model, without duplicates; their priors are normalised per-token likelihoods."""
    drawn = yield [Extend(node.state, stop=(delimiter,))] * width
    distinct: dict[tuple[str, bool], State] = {}
    for state in drawn:
        distinct.setdefault((state.text, state.ended), state)
    written = len(node.state.pieces)
    likely = [exp(replace(state, pieces=state.pieces[written:]).mean_logprob) for state in distinct.values()]
    return [SearchNode(state, one / total(likely)) for state, one in zip(distinct.values(), likely, strict=True)]


def _judge(tree: SearchTree, node: SearchNode, scorer: str, leaf: str) -> Part[int]:
    """Score a leaf or its rollout to the end; return the index of the scored sequence in the tree's list."""
    text = node.state if node.state.ended or leaf == "value" else (yield Extend(node.state))
    (reward,) = yield Score(scorer, [text])
    tree.texts.append(text)
    tree.rewards.append(reward)
    place = len(tree.texts) - 1
    node.judged = place if node.state.ended else None
    return place


def _close(path: Sequence[SearchNode], steps: int) -> None:
    """Close the last node of a path if nothing can follow it, and then every ancestor without an open child."""
    for depth, node in reversed(list(enumerate(path))):
        if node.children:
            closed = all(child.known.closed for child in node.children)
        else:
            closed = node.state.ended or depth >= steps
        if not closed:
            break
        node.known = node.known._replace(closed=True)


def search_tree(problem: Problem, choose: Choice, settings: TreeSettings) -> Part[SearchTree]:
    """Search the tree of steps and return it.

    Raises
    ------
    SpentError
        If the budget is exhausted before any leaf is scored; after that, exhaustion only ends the search.
    """
    tree = SearchTree(SearchNode(problem.start))
    try:
        for _ in range(settings.simulations):
            path = [tree.root]
            while path[-1].children:
                path.append(path[-1].child(choose))
            node = path[-1]
            over = node.state.ended or len(path) > settings.steps
            if not over and (node is tree.root or node.known.visits):
                node.children = yield from _expand(node, settings.width, settings.delimiter)
                node = node.child(choose)
                path.append(node)
            place = node.judged
            if place is None:
                place = yield from _judge(tree, node, settings.scorer, settings.leaf)
            tree.backed_up.append(place)
            for visited in path[1:]:
                visited.known = visited.known.visit(tree.rewards[place])
            if settings.leaf == "value":
                _close(path, settings.steps)
                if tree.root.known.closed:
                    break
    except SpentError:
        if not tree.texts:
            raise
    return tree


@method("Kocsis & Szepesvári 2006; Hao et al. 2023, arXiv 2305.14992", group="search step by step", temperature=0.8)
def uct_search(problem: Problem, *, exploration: Amount = EXPLORATION, tree: TreeSettings = DEFAULTS) -> Steps:
    """Search the tree of steps: descend by UCT, score every leaf, and back up its reward.

    Parameters
    ----------
    exploration : float
        Weight w of ``sqrt(ln N / n)``.
    """
    found = yield from search_tree(problem, partial(uct, exploration=exploration), tree)
    return found.decide(problem, tree.leaf)


@method(
    "Silver et al. 2018, arXiv 1712.01815; Wang et al. 2024, arXiv 2410.09671 (OpenR)",
    group="search step by step",
    temperature=0.8,
)
def puct_search(problem: Problem, *, tree: TreeSettings = DEFAULTS) -> Steps:
    """Search the tree of steps: descend by PUCT, which tries likely steps first and then those with high rewards."""
    found = yield from search_tree(problem, puct, tree)
    return found.decide(problem, tree.leaf)
