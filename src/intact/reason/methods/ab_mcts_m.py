"""AB-MCTS-M: go wider or deeper by a mixed model of rewards, with one model that writes or several."""

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
"""Answers of a child and below it, from which on it may be left alone."""
SAME: Final = Fraction(3, 4)
"""The share of these with one score, to a hundredth, from which on it is."""


class JudgedAnswer:
    """An answer with its score, who wrote it, and those that refine it."""

    def __init__(self, state: State, score: float = 0.0, model: str = "") -> None:
        self.state, self.score, self.model = state, score, model
        self.children: list[JudgedAnswer] = []

    def scores(self) -> Iterator[float]:
        """Yield its own score, then those of all below it."""
        yield self.score
        for child in self.children:
            yield from child.scores()


def settled(scores: Sequence[float]) -> bool:
    """Return whether nearly all scores of a child and below it are the same, so that it is left alone."""
    (_, most), *_ = Counter(round(score * 100) for score in scores).most_common(1)
    return len(scores) >= LEAST and Fraction(most, len(scores)) >= SAME


def choose_child(children: Sequence[Sequence[float]], key: int) -> int | None:
    """Choose a new child (None), or which one to go down to, by one draw for each from the mixed model.

    The rewards of a child and of all below it are a group; a new child is a new group. Where the best is a child that
    is settled, the best one that is not is chosen; a new one, if all are.

    Parameters
    ----------
    children : sequence of sequence of float
        The score of each child, then those below it.
    """
    posterior, stream = fit(children), RandomStream(key)
    draws = [posterior.draw(child, stream) for child in range(len(children))]
    new = posterior.draw(None, stream)
    order = sorted(range(len(children)), key=lambda child: -draws[child])
    if not order or new > draws[order[0]]:
        return None
    return next((child for child in order if not settled(children[child])), None)


def choose_model(rewards: Sequence[Sequence[float]], key: int) -> int:
    """Choose who writes, by one draw for each from the mixed model; who has written nothing is a new group.

    Parameters
    ----------
    rewards : sequence of sequence of float
        The scores of what each has written.
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
    """Write n answers, each anew or refining an earlier one, by whom and of which a mixed model of rewards decides.

    Parameters
    ----------
    n : int
        Answers.
    models : str
        Who may write, by the driver's names, separated by commas; by default the model that writes.
    refine : str
        How a better answer is asked for, with {question}, {answer} and {score}.
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
