"""Best-of-N: return the sample with the highest score, or vote with scores as weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from intact._base.errors import ParameterError
from intact.reason import Part, Problem, Score, State, Steps, method
from intact.reason.aggregate.best import Reduction, reduce
from intact.reason.limits import Delimiter, Samples, ScorerName, WeightScorer
from intact.reason.parts.composing import choose, composed, vote, write
from intact.reason.populations.transformers import sample, start, weigh

LONGEST: Final = 1 << 27
"""Maximum number of characters scored when each step is scored together with the steps before it."""


def _rewards(scorer: str, states: Sequence[State], reduction: str, delimiter: str) -> Part[list[float]]:
    """Return a reward for each sample: its score as a whole, or the scores of its steps reduced to one."""
    if reduction == "last":
        whole: list[float] = yield Score(scorer, states)
        return whole
    size = sum([state.text.count(delimiter) * len(state.text) for state in states]) // 2
    if size > LONGEST:
        raise ParameterError(
            f"the delimiter {delimiter!r:.20} makes so many steps that their prefixes have {size:,} characters "
            f"in total; at most {LONGEST:,} can be scored"
        )
    steps = [state.prefixes(delimiter) for state in states]
    scores = iter((yield Score(scorer, [prefix for prefixes in steps for prefix in prefixes])))
    return [reduce([next(scores) for _ in prefixes], reduction) for prefixes in steps]


@composed("start sample choose", "measure")
@method(
    "Cobbe et al. 2021, arXiv 2110.14168; Lightman et al. 2023, arXiv 2305.20050 (reductions)",
    group="samples, chosen by a scorer",
    independent=True,
    temperature=0.8,
)
def best_of_n(
    problem: Problem,
    *,
    n: Samples = 16,
    scorer: ScorerName = "likelihood",
    reduction: Reduction = "last",
    delimiter: Delimiter = "\n\n",
) -> Steps:
    """Sample n completions and return the answer of the one with the highest score.

    Completions without an answer are chosen only if no completion has one; ties go to the first.

    Parameters
    ----------
    reduction : str
        Reduction of step scores to one: last (the score of the whole completion), min, prod, mean.
    """
    texts = yield from sample(start(problem.start, n), write)
    rewards = yield from _rewards(scorer, texts.values, reduction, delimiter)
    return choose(problem, texts, rewards)


@composed("start sample weigh vote", "measure")
@method("Li et al. 2022, arXiv 2206.02336", group="samples, chosen by a scorer", independent=True, temperature=0.8)
def weighted_best_of_n(
    problem: Problem,
    *,
    n: Samples = 16,
    scorer: WeightScorer = "likelihood",
    reduction: Reduction = "last",
    delimiter: Delimiter = "\n\n",
) -> Steps:
    """Sample n completions and return the answer with the largest sum of scores.

    The answer is argmax_a of the sum of r_i over samples i with the answer a; scores must not be negative. Ties go to
    the answer seen first.

    Parameters
    ----------
    reduction : str
        Reduction of step scores to one: last (the score of the whole completion), min, prod, mean.
    """
    texts = yield from sample(start(problem.start, n), write)
    rewards = yield from _rewards(scorer, texts.values, reduction, delimiter)
    return vote(problem, weigh(texts, rewards), rewards=rewards)
