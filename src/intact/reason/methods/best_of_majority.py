"""Best-of-majority: the best-scored answer among the frequent ones."""

from __future__ import annotations

from intact._base.exact import ranking
from intact.reason import Answer, Extend, Problem, Score, Steps, method
from intact.reason.aggregate import best_of_majority as formula
from intact.reason.limits import Samples, ScorerName, Share


@method("Di et al. 2025, arXiv 2510.03199", group="samples, chosen by a scorer", independent=True, temperature=0.7)
def best_of_majority(
    problem: Problem, *, n: Samples = 16, scorer: ScorerName = "likelihood", alpha: Share = 0.1
) -> Steps:
    """Sample n completions; among answers with a share of at least alpha, return the one with the best reward.

    Parameters
    ----------
    alpha : float
        Minimum share; 0 gives best-of-N, and if no answer reaches it, the majority answer is returned.
    """
    samples = yield [Extend(problem.start)] * n
    rewards = yield Score(scorer, samples)
    answers = problem.answers(samples)
    best = formula.best_of_majority(answers, rewards, alpha, k=n)
    if not best:
        return Answer(None)
    chosen = next(i for i in ranking(rewards) if answers[i] == best[0])
    votes = {answer: max(r for a, r in zip(answers, rewards, strict=True) if a == answer) for answer in best}
    return Answer(best[0], votes, None, samples[chosen], details={"rewards": rewards})
