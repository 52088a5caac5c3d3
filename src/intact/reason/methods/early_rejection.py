"""Early rejection: beam search that scores steps by their first tokens."""

from __future__ import annotations

from intact._base.errors import SpentError
from intact.reason import Extend, Problem, Score, State, Steps, method
from intact.reason.aggregate.votes import pick
from intact.reason.limits import Count, Delimiter, MostSteps, ScorerName
from intact.reason.methods.beam_search import check_width
from intact.reason.parts.stepwise import or_spent, until_spent
from intact.reason.populations.beam import keep_best


@method("Cheshmi et al. 2025, arXiv 2508.01969", group="search step by step", checks=(check_width,), temperature=0.8)
def early_rejection(
    problem: Problem,
    *,
    n: Count = 16,
    width: Count = 4,
    tokens: Count = 32,
    scorer: ScorerName = "likelihood",
    steps: MostSteps = 40,
    delimiter: Delimiter = "\n\n",
) -> Steps:
    """Run a beam search in which only the steps with the best beginnings are written to the end.

    Parameters
    ----------
    n : int
        Number of steps begun in parallel.
    width : int
        Number of steps out of which one is kept; n must be a multiple of it.
    tokens : int
        Number of tokens generated before a step is scored.
    scorer : str
        Scorer of finished and unfinished steps.
    """
    beams: list[State] = [problem.start] * n
    ended: list[tuple[State, float]] = []
    alive: list[tuple[State, float]] = []
    spent: list[SpentError] = []
    try:
        for _ in range(steps):
            begun = yield [Extend(beam, stop=(delimiter,), max_tokens=tokens) for beam in beams]
            partial = yield Score(scorer, begun)
            places = keep_best(partial, n // width - len(ended))
            kept = [begun[i] for i in places]
            going = [state for state in kept if not state.complete and not state.ended]
            rest = iter((yield [Extend(state, stop=(delimiter,)) for state in going]) if going else ())
            kept = [next(rest) if state in going else state for state in kept]
            judged = [(state, partial[i]) for state, i in zip(kept, places, strict=True)]
            ended += [(state, reward) for state, reward in judged if state.ended]
            alive = [(state, reward) for state, reward in judged if not state.ended]
            beams = [state for state, _ in alive for _ in range(width)]
            if not beams:
                break
    except SpentError as error:
        if not ended:
            raise
        alive, spent = [], [error]
    texts, rewards = [state for state, _ in ended + alive], [reward for _, reward in ended + alive]
    with until_spent() as unpaid:  # then the scores of their beginnings decide
        rewards = yield Score(scorer, texts)
    return or_spent(pick(problem, texts, rewards), spent + unpaid)
