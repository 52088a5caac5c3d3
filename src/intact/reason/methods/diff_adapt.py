"""DiffAdapt: signals of a few tokens say how hard a question is, and that how its text is written."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from intact._base.errors import ParameterError
from intact.reason import Extend, Problem, Score, Steps, method
from intact.reason.aggregate.confidence import entropy
from intact.reason.aggregate.votes import elect
from intact.reason.limits import Amount, ChanceScorer, Count, Likeliest, Share
from intact.reason.parts.likeliest import rivals
from intact.reason.parts.stepwise import or_spent, until_spent


class Effort(NamedTuple):
    """A way to write texts: their temperature, and the percentage of the tokens that they may have."""

    temperature: float
    percent: int


EFFORTS: Final = {"easy": Effort(0.5, 40), "normal": Effort(0.8, 100), "hard": Effort(0.4, 50)}
"""The paper's three strategies."""


def difficulty(hope: float, uncertainty: float, *, alpha: float, beta: float, gamma: float) -> str:
    """Return normal, hard or easy: the paper's rule for labels, of the chance of success and the mean entropy."""
    if hope >= alpha and uncertainty <= beta:
        return "normal"
    return "hard" if hope < gamma else "easy"


def _check_scores(*, alpha: float, gamma: float) -> None:
    if gamma > alpha:
        raise ParameterError(f"gamma must be at most alpha, which is {alpha}, got {gamma}")


@method("Liu et al. 2025, arXiv 2510.19669", group="samples and a vote", checks=(_check_scores,), temperature=0.8)
def diff_adapt(
    problem: Problem,
    *,
    n: Count = 1,
    tokens: Count = 16,
    scorer: ChanceScorer = "likelihood",
    alpha: Share = 0.6,
    beta: Amount = 0.5,
    gamma: Share = 0.3,
    top: Likeliest = 20,
    max_tokens: Count = 512,
) -> Steps:
    """Begin a text, take its score and its entropy for the question's difficulty, and write texts accordingly.

    Parameters
    ----------
    n : int
        Texts, which vote.
    tokens : int
        Tokens of the text that is begun, greedily, for its signals alone.
    scorer : str
        The scorer, which gives the chance in [0, 1] that the question is answered right; value:FILE is a probe of the
        hidden state that was learnt from logs.
    alpha : float
        The least score of a question of normal difficulty.
    beta : float
        The largest mean entropy of its tokens, in nats; a question that is no normal one is easy, unless it is hard.
    gamma : float
        The score below which a question is hard.
    top : int
        The likeliest tokens at each place that entropy is computed of.
    max_tokens : int
        Tokens of a text at most: of those a normal question has all, an easy one 40 per cent, a hard one 50.
    """
    texts, details = [], dict[str, Any]()
    with until_spent() as spent:
        begun = yield Extend(problem.start, max_tokens=tokens, temperature=0.0, top_logprobs=top)
        uncertainty = entropy(rivals(begun))
        (hope,) = yield Score(scorer, [begun])
        kind = difficulty(hope, uncertainty, alpha=alpha, beta=beta, gamma=gamma)
        details = {"difficulty": kind, "hope": hope, "entropy": uncertainty}
        effort = EFFORTS[kind]
        most = max(1, max_tokens * effort.percent // 100)
        texts = yield [Extend(problem.start, temperature=effort.temperature, max_tokens=most)] * n
    return or_spent(elect(problem, texts, **details), spent)
