"""AB-MCTS-M: AB-MCTS with a mixed-effects model of rewards and one or several generating models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Final

from intact._base.errors import SpentError
from intact.reason import Extend, Problem, Score, State, Steps, method
from intact.reason.aggregate.votes import pick
from intact.reason.limits import Count, ModelNames, ScorerName, model_names
from intact.reason.methods.ab_mcts import REFINE
from intact.reason.parts.prompting import as_reply, make_prompt
from intact.reason.populations.mixed import fit
from intact.reason.populations.variates import RandomStream

LEAST: Final = 4
"""Minimum number of answers in a subtree before it can count as settled."""
SAME: Final = Fraction(3, 4)
"""Minimum share of equal scores (rounded to a hundredth) for a subtree to count as settled."""


class JudgedAnswer:
    """An answer with its score, the model that wrote it, and its refinements."""

    def __init__(self, state: State, score: float = 0.0, model: str = "") -> None:
        self.state, self.score, self.model = state, score, model
        self.children: list[JudgedAnswer] = []

    def scores(self) -> Iterator[float]:
        """Yield the node's own score, then the scores of its descendants."""
        yield self.score
        for child in self.children:
            yield from child.scores()


def settled(scores: Sequence[float]) -> bool:
    """Return true if nearly all scores in a subtree are the same, in which case the search can skip it."""
    (_, most), *_ = Counter(round(score * 100) for score in scores).most_common(1)
    return len(scores) >= LEAST and Fraction(most, len(scores)) >= SAME


def choose_child(children: Sequence[Sequence[float]], key: int) -> int | None:
    """Choose a new child (None) or an existing child to descend into, drawing once for each from the mixed model.

    The rewards of a child and its descendants form a group; a new child is a new group. If the best draw belongs to a
    settled child, choose the best child that is not settled, or a new child if all are.

    Parameters
    ----------
    children : sequence of sequence of float
        The score of each child, followed by the scores of its descendants.
    """
    posterior, stream = fit(children), RandomStream(key)
    draws = [posterior.draw(child, stream) for child in range(len(children))]
    new = posterior.draw(None, stream)
    order = sorted(range(len(children)), key=lambda child: -draws[child])
    if not order or new > draws[order[0]]:
        return None
    return next((child for child in order if not settled(children[child])), None)


def choose_model(rewards: Sequence[Sequence[float]], key: int) -> int:
    """Choose the model that writes, drawing once for each from the mixed model; one without answers is a new group.

    Parameters
    ----------
    rewards : sequence of sequence of float
        The scores of each model's answers.
    """
    stream = RandomStream(key)
    if not any(rewards):
        return int(stream.uniform() * len(rewards))
    places = [model for model, scores in enumerate(rewards) if scores]
    posterior = fit([rewards[model] for model in places])
    draws = [posterior.draw(places.index(i) if i in places else None, stream) for i in range(len(rewards))]
    return max(range(len(draws)), key=draws.__getitem__)


@method("Inoue et al. 2025, arXiv 2503.04412", group="revision", temperature=0.8)
def ab_mcts_m(
    problem: Problem,
    *,
    n: Count = 16,
    scorer: ScorerName = "likelihood",
    models: ModelNames = "",
    refine: str = REFINE,
) -> Steps:
    """Write n answers; a mixed model of rewards decides which model writes each, and whether it refines another.

    Parameters
    ----------
    n : int
        Number of answers.
    models : str
        Names of the models that may write, separated by commas; by default the main model.
    refine : str
        Prompt template for refining an answer, with {question}, {answer} and {score}.
    """
    names = list(dict.fromkeys(model_names(models)))
    root, nodes = JudgedAnswer(problem.start), list[JudgedAnswer]()
    try:
        for turn in range(n):
            parent, depth = root, 0
            while parent.children:
                scores = [list(child.scores()) for child in parent.children]
                chosen = choose_child(scores, problem.key("child", turn, depth))
                if chosen is None:
                    break
                parent, depth = parent.children[chosen], depth + 1
            written_by = [[node.score for node in nodes if node.model == name] for name in names]
            name = names[choose_model(written_by, problem.key("model", turn))] if len(names) > 1 else names[0]
            prompt = make_prompt(problem, refine, answer=parent.state.text, score=f"{parent.score:.2f}")
            start = problem.start if parent is root else parent.state.ask(prompt)
            answer = as_reply(problem, (yield Extend(start, model=name)))
            (score,) = yield Score(scorer, [answer])
            parent.children.append(JudgedAnswer(answer, score, name))
            nodes.append(parent.children[-1])
    except SpentError:
        if not nodes:
            raise
    written = [node.model for node in nodes]
    states, rewards = [node.state for node in nodes], [node.score for node in nodes]
    return pick(problem, states, rewards, wide=len(root.children), models=written)
