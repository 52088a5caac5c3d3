"""Particle Gibbs with ancestor sampling: the beginning of the retained sequence may change at every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Final

from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason import Part, Problem, Score, State, Steps, method
from intact.reason.limits import ChanceScorer, Count, Delimiter, MostSteps, at_least
from intact.reason.methods.particle_gibbs import gibbs
from intact.reason.parts.composing import composed
from intact.reason.parts.forcing import force
from intact.reason.parts.particles import Potential, Trajectory, newest, next_step
from intact.reason.populations.transformers import resample, weigh
from intact.reason.weighted import Log, Weighted

PLAIN: Final[dict[str, Any]] = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0}
"""Sampling parameters that draw from the model itself and override the user's: only then are probabilities known."""


def graft(text: Trajectory, step: State, forced: State | None) -> State | None:
    """Return a step appended to another prefix, if forcing it there gives the same tokens; otherwise None."""
    if forced is None or forced.pieces[-1].tokens != step.pieces[-1].tokens:
        return None
    return replace(forced, why=step.why)


def onto_all(texts: Sequence[Trajectory], steps: Sequence[State], scorer: str) -> Part[list[Trajectory | None]]:
    """Return each sequence with the steps appended and rescored; None where forcing a step gives different tokens."""
    grown: list[Trajectory | None] = list(texts)
    for step in steps:
        live = [(i, text) for i, text in enumerate(grown) if text is not None]
        if not live:
            break
        forced = yield from force([text.state for _, text in live], step.last, len(step.pieces[-1].tokens))
        grafted = [(i, text, graft(text, step, state)) for (i, text), state in zip(live, forced, strict=True)]
        grown = [None] * len(texts)
        whole = [(i, text, state) for i, text, state in grafted if state is not None]
        if whole:
            rewards = yield Score(scorer, [state for _, _, state in whole])
            for (i, text, state), reward in zip(whole, rewards, strict=True):
                grown[i] = text.follow(state, reward)
    return grown


def worth(text: Trajectory, begun: Trajectory, potential: str) -> Log:
    """Return the weight of a sequence relative to its prefix: the probability of the added tokens times a factor.

    The factor is the last reward divided by the prefix's last reward (ratio), or the product of all added rewards
    (product).
    """
    further = text.state.logprobs[len(begun.state.logprobs) :]
    chance = Log(sum(further) / LOGPROB_SCALE)
    if potential == "ratio":
        return chance * newest(text) / newest(begun)
    for reward in text.rewards[len(begun.rewards) :]:
        chance = chance * Log.of(reward)
    return chance


def choose_ancestor(
    problem: Problem,
    texts: Weighted[Trajectory],
    reference: Trajectory,
    place: tuple[int, int],
    *,
    scorer: str,
    potential: str,
) -> Part[tuple[int, Trajectory]]:
    """Draw the sequence to which the rest of the reference is attached, and return its index and the new reference.

    Sequence i is drawn in proportion to its weight times `worth` of the whole, among the sequences that the rest can
    continue with the same tokens. The reference is kept if it has no further steps, or if forcing them onto its own
    prefix gives different tokens.
    """
    begun = len(texts.values[0].states)
    rest = reference.states[begun:]
    if not rest or not all(step.pieces[-1].tokens for step in rest):
        return 0, reference
    active = texts.where(lambda text: text.unended)
    grown = yield from onto_all([texts.values[i] for i in active], rest, scorer)
    found = dict(zip(active, grown, strict=True))
    if found.get(0) is None:
        return 0, reference
    found[0] = reference
    factors = [
        Log.of(0) if (whole := found.get(i)) is None or not weight else worth(whole, text, potential)
        for i, (text, weight) in enumerate(zip(texts.values, texts.weights, strict=True))
    ]
    weighted = weigh(texts, factors)
    if not any(weighted.weights):
        return 0, reference
    places = Weighted(tuple(range(len(texts))), weighted.weights, weighted.whole)
    (chosen,) = resample(places, problem.key("ancestor", *place), 1).values
    whole = found[chosen]
    assert whole is not None
    return chosen, whole


@composed("(start (sample weigh|resample normalise)* normalise join?)* vote")
@method("Lindsten, Jordan & Schön 2014, arXiv 1401.0604", group="particles", temperature=1.0)
def ancestor_gibbs(
    problem: Problem,
    *,
    n: Annotated[int, partial(at_least, 2)] = 4,
    sweeps: Count = 4,
    scorer: ChanceScorer = "likelihood",
    steps: MostSteps = 40,
    delimiter: Delimiter = "\n\n",
    potential: Potential = "ratio",
) -> Steps:
    """Repeat sequential Monte Carlo around a sequence whose beginning may change at every step; vote with all weights.

    Parameters
    ----------
    n : int
        Number of particles, including the retained one.
    sweeps : int
        Number of sweeps; the first one has no retained particle.
    potential : str
        Target: ratio is p(text) r(text), with r the last reward; product is p(text) times the rewards of all its steps.
    """
    kernel = next_step(scorer, delimiter, **PLAIN)
    reselect = partial(choose_ancestor, problem, scorer=scorer, potential=potential)
    return (yield from gibbs(problem, n, sweeps, kernel, steps=steps, potential=potential, reselect=reselect))
