"""Beam search over steps, and diverse verifier tree search."""

from __future__ import annotations

from collections.abc import Sequence

from intact._base.errors import ParameterError
from intact.reason import Problem, Steps, method
from intact.reason.limits import Count, Delimiter, MostSteps, Natural, ScorerName
from intact.reason.parts.composing import composed, decide
from intact.reason.parts.particles import Trajectory, next_step
from intact.reason.parts.searching import search
from intact.reason.parts.stepwise import FinalRule, until_spent
from intact.reason.populations.beam import best_of_trees, keep_best
from intact.reason.populations.transformers import cut, expand, sample, start


def check_width(*, n: int, width: int) -> None:
    """Raise ParameterError unless n is a multiple of `width`."""
    if n % width:
        raise ParameterError(f"n must be a multiple of the width, got n = {n} and width = {width}")


@composed("start (expand sample cut)* cut (choose|vote)")
@method("Snell et al. 2024, arXiv 2408.03314", group="search step by step", checks=(check_width,), temperature=0.8)
def beam_search(
    problem: Problem,
    *,
    n: Count = 16,
    width: Count = 4,
    scorer: ScorerName = "likelihood",
    steps: MostSteps = 40,
    delimiter: Delimiter = "\n\n",
    lookahead: Natural = 0,
    unique: bool = False,
    final: FinalRule = "best",
) -> Steps:
    """Extend n sequences by one step, keep the best n / width by newest reward, and branch from each of these again.

    Parameters
    ----------
    n : int
        Number of sequences extended at a time, reduced by one for each that has ended.
    width : int
        Number of continuations of each kept sequence.
    lookahead : int
        Number of further steps, written greedily and then discarded, that are included when a sequence is scored.
    unique : bool
        If true, keep only one of several identical sequences.
    """

    def keep(going: Sequence[Trajectory], left: int) -> list[int]:
        texts = [text.state.text for text in going] if unique else None
        return keep_best([text.reward for text in going], -(-left // width), texts)

    step = next_step(scorer, delimiter, lookahead)
    texts, spent = yield from search(problem, n, steps, step, parents=dealt, keep=keep)
    return decide(problem, texts, final, spent)


@composed("start (expand sample cut)* (choose|vote)")
@method(
    "Beeching, Tunstall & Rush 2024, Scaling test-time compute with open models",
    group="search step by step",
    checks=(check_width,),
    temperature=0.8,
)
def dvts(
    problem: Problem,
    *,
    n: Count = 16,
    width: Count = 4,
    scorer: ScorerName = "likelihood",
    steps: MostSteps = 40,
    delimiter: Delimiter = "\n\n",
    lookahead: Natural = 0,
    final: FinalRule = "best",
) -> Steps:
    """Grow n / width separate trees; each tries width next steps and continues from the best.

    Parameters
    ----------
    n : int
        Number of sequences extended at a time, reduced by width for each tree that has ended.
    width : int
        Number of continuations that each tree tries.
    lookahead : int
        Number of further steps, written greedily and then discarded, that are included when a sequence is scored.
    final : str
        Rule that picks the answer from the trees' sequences: best, weighted or majority.
    """
    texts, step = start(Trajectory.begin(problem.start, 0.0), n // width), next_step(scorer, delimiter, lookahead)
    with until_spent() as spent:
        for _ in range(steps):
            if not any(text.unended for text in texts):
                break
            grown = yield from sample(expand(texts, width), step)  # ended texts are copied
            texts = cut(grown, best_of_trees([text.reward for text in grown], width))
    return decide(problem, texts, final, spent)


def dealt(going: Sequence[Trajectory], left: int) -> list[int]:
    """Assign parents to slots round-robin, starting with the first."""
    return [i % len(going) for i in range(left)]
