"""Particle filtering: a population of texts, resampled by a reward after every step."""

from __future__ import annotations

from intact.errors import SpentError
from intact.reason import Problem, State, Steps, method
from intact.reason.aggregate.votes import take
from intact.reason.limits import ChanceScorer, Count, Filled, Positive
from intact.reason.populations.resampling import SchemeName, resample
from intact.reason.populations.weights import logit, relative
from intact.reason.stepwise import advance, settle


@method("Puri et al. 2025, arXiv 2502.01618", group="particles", temperature=0.8)
def particle_filter(
    problem: Problem,
    *,
    n: Count = 8,
    scorer: ChanceScorer = "likelihood",
    steps: Count = 40,
    delimiter: Filled = "\n\n",
    softness: Positive = 1.0,
    scheme: SchemeName = "multinomial",
    inactive: bool = True,
) -> Steps:
    """Write n texts step by step; after each step resample them by their newest reward.

    A text's weight is exp(s / softness) with s = ln(r / (1 - r)), r the reward of the newest step clipped to
    [1e-7, 1 - 1e-7]; weights of earlier steps do not count. Resampling is multinomial at every step, as the authors'
    program has it. The answer is that of the text with the largest last reward, the first of equals.

    Deviation: a text that has ended keeps its reward and is not judged again, which gives the same numbers.

    Parameters
    ----------
    n : int
        Particles.
    scorer : str
        Who judges a step, by a reward in [0, 1].
    steps : int
        The most steps.
    delimiter : str
        What ends a step.
    softness : float
        Temperature of the weights.
    scheme : str
        multinomial, stratified, systematic or residual.
    inactive : bool
        Whether texts that have ended are resampled too; otherwise they stay.
    """
    states: list[State] = [problem.start] * n
    rewards = [0.5] * n
    try:
        for step in range(steps):
            active = [i for i, state in enumerate(states) if not state.ended]
            if not active:
                break
            extended, judged = yield from advance([states[i] for i in active], scorer, delimiter)
            for i, state, reward in zip(active, extended, judged, strict=True):
                states[i], rewards[i] = state, reward
            pool = list(range(n)) if inactive else active
            weights = relative([logit(rewards[i]) for i in pool], softness)
            ancestors = [pool[j] for j in resample(scheme, problem.key("resample", step), weights, len(pool))]
            chosen = [(states[i], rewards[i]) for i in ancestors]
            for i, (state, reward) in zip(pool, chosen, strict=True):
                states[i], rewards[i] = state, reward
    except SpentError as spent:
        return settle(problem, states, rewards, "best", [spent])
    best = max(range(n), key=lambda i: (rewards[i], -i))
    return take(problem, states[best], rewards=rewards)
