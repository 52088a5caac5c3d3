"""AB-MCTS-A: search that chooses between a new answer (wider) and refining an earlier one (deeper)."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from intact._base.errors import SpentError
from intact.reason import Extend, Problem, Score, State, Steps, method
from intact.reason.aggregate.votes import pick
from intact.reason.limits import Count, Need, Needs, ScorerName, one_of
from intact.reason.parts.prompting import as_reply, make_prompt
from intact.reason.populations.thompson import PRIORS, wider_or_deeper

REFINE = """\
{question}

Here is an earlier answer, which was given {score} of 1 points:

{answer}

Find what could be wrong with it, and write a better answer in full."""


class _Node:
    """An answer with its score and refinements, and the scores of all its descendants."""

    def __init__(self, state: State, score: float) -> None:
        self.state, self.score = state, score
        self.children: list[_Node] = []
        self.below: list[float] = []


@method("Inoue et al. 2025, arXiv 2503.04412", version=2, group="revision", temperature=0.8)
def ab_mcts(
    problem: Problem,
    *,
    n: Count = 16,
    scorer: ScorerName = "likelihood",
    prior: Annotated[str, partial(one_of, PRIORS), Needs(beta=Need(0, 1))] = "normal",
    refine: str = REFINE,
) -> Steps:
    """Write n answers; Thompson sampling decides whether each starts afresh or refines an earlier one.

    Parameters
    ----------
    n : int
        Number of answers.
    prior : str
        Prior over rewards: normal or beta.
    refine : str
        Prompt template for refining an answer, with {question}, {answer} and {score}.
    """
    root = _Node(problem.start, 0.0)
    nodes: list[_Node] = []
    try:
        for turn in range(n):
            path = [root]
            while True:
                arms = [(child.score, child.below) for child in path[-1].children]
                chosen = wider_or_deeper(arms, PRIORS[prior], problem.key("thompson", turn, len(path)))
                if chosen is None:
                    break
                path.append(path[-1].children[chosen])
            parent = path[-1]
            prompt = make_prompt(problem, refine, answer=parent.state.text, score=f"{parent.score:.2f}")
            written = yield Extend(problem.start if parent is root else parent.state.ask(prompt))
            answer = as_reply(problem, written)
            (score,) = yield Score(scorer, [answer])
            parent.children.append(_Node(answer, score))
            nodes.append(parent.children[-1])
            for node in path:
                node.below.append(score)
    except SpentError:
        if not nodes:
            raise
    return pick(problem, [node.state for node in nodes], [node.score for node in nodes], wide=len(root.children))
