"""DiffAdapt: signals from a few tokens estimate a question's difficulty, which sets temperature and length."""

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
    """Sampling settings: the temperature, and the percentage of the token limit that a sample may use."""

    temperature: float
    percent: int


EFFORTS: Final = {"easy": Effort(0.5, 40), "normal": Effort(0.8, 100), "hard": Effort(0.4, 50)}
"""The three strategies in the paper."""


def difficulty(hope: float, uncertainty: float, *, alpha: float, beta: float, gamma: float) -> str:
    """Return normal, hard or easy by the paper's labelling rule, given the success probability and mean entropy."""
    if hope >= alpha and uncertainty <= beta:
        return "normal"
    return "hard" if hope < gamma else "easy"


def _check_scores(*, alpha: float, gamma: float) -> None:
    if gamma > alpha:
        raise ParameterError(f"gamma must be at most alpha ({alpha}), got {gamma}")


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
    """Estimate a question's difficulty from the score and entropy of a short probe, and sample accordingly.

    Parameters
    ----------
    n : int
        Number of samples that vote.
    tokens : int
        Number of tokens of the probe, which is written greedily and used only for its signals.
    scorer : str
        Scorer that gives the probability of a right answer, in [0, 1]; value:FILE is a probe of the hidden state,
        learnt from logs.
    alpha : float
        Minimum score for a question to count as normal.
    beta : float
        Maximum mean token entropy, in nats, for a question to count as normal; a question that is neither normal nor
        hard is easy.
    gamma : float
        Score below which a question counts as hard.
    top : int
        Number of likeliest tokens per position from which the entropy is computed.
    max_tokens : int
        Maximum number of tokens per sample for a normal question; an easy question gets 40 per cent of it, a hard one
        50.
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
