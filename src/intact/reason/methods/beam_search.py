"""Beam search over steps, and diverse verifier tree search."""

from __future__ import annotations

from intact.errors import ParameterError
from intact.reason import Problem, State, Steps, method
from intact.reason.limits import Count, Filled, Natural, ScorerName
from intact.reason.populations.beam import best_of_trees, keep_best
from intact.reason.stepwise import FinalRule, advance, settle, until_spent


@method("Snell et al. 2024, arXiv 2408.03314", group="search step by step", temperature=0.8)
def beam_search(
    problem: Problem,
    *,
    n: Count = 16,
    width: Count = 4,
    scorer: ScorerName = "likelihood",
    steps: Count = 40,
    delimiter: Filled = "\n\n",
    lookahead: Natural = 0,
    unique: bool = False,
    final: FinalRule = "best",
) -> Steps:
    """Write n texts a step further, keep the best n / width by their newest reward, and go on from each of these.

    Parameters
    ----------
    n : int
        Texts that are written at a time; one fewer for each that has ended.
    width : int
        Continuations of each text that is kept.
    scorer : str
        Who judges.
    steps : int
        The most steps.
    delimiter : str
        What ends a step.
    lookahead : int
        Further steps, written greedily and thrown away, that a text is judged by.
    unique : bool
        Whether of equal texts only one is kept.
    final : str
        How ended texts make the answer: best, weighted or majority.
    """
    check(n, width)
    ended: list[tuple[State, float]] = []
    beams, kept = [problem.start] * n, [(problem.start, 0.0)]
    with until_spent() as spent:
        for _ in range(steps):
            states, rewards = yield from advance(beams, scorer, delimiter, lookahead)
            ended += [(s, r) for s, r in zip(states, rewards, strict=True) if s.ended]
            going = [(s, r) for s, r in zip(states, rewards, strict=True) if not s.ended]
            left = n - len(ended)
            texts = [s.text for s, _ in going] if unique else None
            kept = [going[i] for i in keep_best([r for _, r in going], -(-left // width), texts)]
            if not kept:
                break
            beams = [kept[i % len(kept)][0] for i in range(left)]
    pairs = ended or kept
    return settle(problem, [s for s, _ in pairs], [r for _, r in pairs], final, spent)


@method(
    "Beeching, Tunstall & Rush 2024, Scaling test-time compute with open models",
    group="search step by step",
    temperature=0.8,
)
def dvts(
    problem: Problem,
    *,
    n: Count = 16,
    width: Count = 4,
    scorer: ScorerName = "likelihood",
    steps: Count = 40,
    delimiter: Filled = "\n\n",
    lookahead: Natural = 0,
    final: FinalRule = "best",
) -> Steps:
    """Grow n / width trees that never meet: each tries width next steps and goes on from the best.

    Parameters
    ----------
    n : int
        Texts that are written at a time; width fewer for each tree that has ended.
    width : int
        Continuations that each tree tries.
    scorer : str
        Who judges.
    steps : int
        The most steps.
    delimiter : str
        What ends a step.
    lookahead : int
        Further steps, written greedily and thrown away, that a text is judged by.
    final : str
        How the trees' texts make the answer: best, weighted or majority.
    """
    check(n, width)
    trees = [(problem.start, 0.0)] * (n // width)
    growing = list(range(len(trees)))
    with until_spent() as spent:
        for _ in range(steps):
            states, rewards = yield from advance(
                [trees[tree][0] for tree in growing for _ in range(width)], scorer, delimiter, lookahead
            )
            for tree, best in zip(growing, best_of_trees(rewards, width), strict=True):
                trees[tree] = states[best], rewards[best]
            growing = [tree for tree in growing if not trees[tree][0].ended]
            if not growing:
                break
    return settle(problem, [s for s, _ in trees], [r for _, r in trees], final, spent)


def check(n: int, width: int) -> None:
    """Raise ParameterError unless a whole number of texts has `width` continuations each."""
    if width < 1 or n < width or n % width:
        raise ParameterError(f"n must be a multiple of the width, got n = {n} and width = {width}")
