"""Entropic particle filtering."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from intact.reason import Problem, State, Steps, method
from intact.reason.limits import ChanceScorer, Count, Filled, Natural, Share, one_of
from intact.reason.populations.annealing import RULES, entropic_temperature
from intact.reason.populations.resampling import SchemeName, resample
from intact.reason.populations.weights import logit, relative
from intact.reason.stepwise import FinalRule, advance, settle, until_spent


@method("Giannone et al. 2025, arXiv 2510.05825", group="particles", temperature=0.8)
def entropic_particle_filter(
    problem: Problem,
    *,
    n: Count = 8,
    scorer: ChanceScorer = "likelihood",
    steps: Count = 40,
    delimiter: Filled = "\n\n",
    lookahead: Natural = 0,
    rule: Annotated[str, partial(one_of, RULES)] = "ess",
    collapse: Share = 0.5,
    early: Share = 0.5,
    scheme: SchemeName = "systematic",
    final: FinalRule = "best",
) -> Steps:
    """Particle filtering whose weights are flattened where they collapse early, so that texts stay diverse.

    Parameters
    ----------
    n : int
        Particles.
    scorer : str
        Who judges a step, by a reward in [0, 1].
    steps : int
        The most steps; progress is counted against it.
    delimiter : str
        What ends a step.
    lookahead : int
        Further steps, written greedily and thrown away, that a text is judged by.
    rule : str
        How the temperature is found: ess, entropy or base.
    collapse : float
        The share of particles below which the effective number has collapsed.
    early : float
        The share of steps that is early.
    scheme : str
        multinomial, stratified, systematic or residual.
    final : str
        How texts make the answer: best, weighted or majority.
    """
    states: list[State] = [problem.start] * n
    rewards = [0.5] * n
    heats: list[float] = []
    with until_spent() as spent:
        for step in range(steps):
            active = [i for i, state in enumerate(states) if not state.ended]
            if not active:
                break
            extended, judged = yield from advance([states[i] for i in active], scorer, delimiter, lookahead)
            for i, state, reward in zip(active, extended, judged, strict=True):
                states[i], rewards[i] = state, reward
            logs = [logit(reward) for reward in rewards]
            heats.append(entropic_temperature(logs, (step + 1) / steps, rule, collapse=collapse, early=early))
            ancestors = resample(scheme, problem.key("resample", step), relative(logs, heats[-1]), n)
            states, rewards = [states[i] for i in ancestors], [rewards[i] for i in ancestors]
    return settle(problem, states, rewards, final, spent, temperatures=heats)
