"""Phi-decoding: sample steps according to a simulation of the rest of the sequence for each candidate."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

from intact._base.exact import mean, total
from intact.reason import Extend, Problem, State, Steps, method
from intact.reason.aggregate.votes import take
from intact.reason.limits import Amount, Count, Delimiter, Positive, Share, together
from intact.reason.methods.mur import newest
from intact.reason.parts.stepwise import or_spent, until_spent
from intact.reason.populations.resampling import integer_weights, invert, uniforms
from intact.reason.weights import relative


def probable(values: Sequence[float], sigma: float) -> list[int]:
    """Return the indices of the values above their mean minus `sigma` standard deviations, or all if none are."""
    center = mean(values)
    bound = center - sigma * math.sqrt(mean([(value - center) ** 2 for value in values]))
    return [i for i, value in enumerate(values) if value > bound] or list(range(len(values)))


def softmax(values: Sequence[float], heat: float) -> list[float]:
    """Return `e^(value / heat)` for each value, divided by their sum."""
    weights = relative(values, heat)
    return [weight / total(weights) for weight in weights]


def joint(gains: Sequence[float], groups: Sequence[Hashable], heat: float) -> list[float]:
    """Return the mean of two distributions over sequences: one by gain, one by the size of each sequence's group."""
    shares = [groups.count(group) / len(groups) for group in groups]
    return [(a + b) / 2 for a, b in zip(softmax(gains, heat), softmax(shares, 1.0), strict=True)]


def draw(key: int, weights: Sequence[float], n: int) -> list[int]:
    """Draw n indices by weight, without replacement; return all of them if there are no more than n.

    If all remaining weights are 0, the remaining indices are equally likely.
    """
    left = list(range(len(weights)))
    drawn: list[int] = []
    for point in uniforms(key, min(n, len(weights))):
        kept = [weights[place] for place in left]
        masses = integer_weights(kept if any(kept) else [1] * len(kept))
        (chosen,) = invert([point * sum(masses)], masses, 1 << 64)
        drawn.append(left.pop(chosen))
    return drawn


def _check_number(*, k: int, width: int) -> None:
    together(k * width, "k and width")


@method("Xu et al. 2025, arXiv 2503.13288", group="search step by step", checks=(_check_number,), temperature=0.6)
def phi_decoding(
    problem: Problem,
    *,
    k: Count = 4,
    width: Count = 4,
    steps: Count = 8,
    least: Count = 4,
    threshold: Share = 0.7,
    heat: Positive = 0.1,
    sigma: Amount = 1.0,
    delimiter: Delimiter = "\n",
) -> Steps:
    """Sample next steps, simulate how each would continue to the end, and draw steps by gain and agreement.

    Parameters
    ----------
    k : int
        Number of next steps per sequence.
    width : int
        Number of sequences kept.
    steps : int
        Maximum number of foresight steps; after that the sequences are written to the end.
    least : int
        Minimum number of steps before foresight may end early.
    threshold : float
        Share of simulated completions with the same answer; above it, foresight ends early.
    heat : float
        Temperature of the distribution over gains.
    sigma : float
        Number of standard deviations below the mean at which a step's mean log-probability is too low for the step to
        be simulated.
    """
    texts, values, done = [problem.start] * width, [0.0] * width, 0
    foreseen: list[State] = []
    with until_spent() as spent:
        while done < steps and not all(text.ended for text in texts):
            parents = [
                (text, value) for text, value in zip(texts, values, strict=True) for _ in range(1 if text.ended else k)
            ]
            drawn_on = iter((yield [Extend(text, stop=(delimiter,)) for text, _ in parents if not text.ended]))
            written = [text if text.ended else next(drawn_on) for text, _ in parents]
            kept = probable([newest(step) for step in written], sigma)
            ahead = iter((yield [Extend(written[i]) for i in kept if not written[i].ended]))
            foreseen = [written[i] if written[i].ended else next(ahead) for i in kept]
            futures = [newest(text) for text in foreseen]
            gains = [future - parents[i][1] for i, future in zip(kept, futures, strict=True)]
            best = [j for j, gain in enumerate(gains) if gain > 0]
            answers = problem.answers(foreseen)
            groups: list[Hashable] = [j if answer is None else answer for j, answer in enumerate(answers)]
            if len(best) < width:
                best, weights = list(range(len(gains))), softmax(gains, heat)
            else:
                weights = joint([gains[j] for j in best], [groups[j] for j in best], heat)
            drawn = [best[place] for place in draw(problem.key("draw", done), weights, width)]
            texts, values = [written[kept[j]] for j in drawn], [futures[j] for j in drawn]
            done += 1
            agree = max([groups.count(group) for group in groups]) / len(groups)
            if done >= least and agree > threshold:
                break
        going_on = iter((yield [Extend(text) for text in texts if not text.ended]))
        foreseen = [text if text.ended else next(going_on) for text in texts]
        futures = [newest(text) for text in foreseen]
    if not foreseen:
        raise spent[0]
    answers = problem.answers(foreseen)
    groups = [j if answer is None else answer for j, answer in enumerate(answers)]
    weights = joint([newest(text) for text in foreseen], groups, heat)
    (chosen,) = draw(problem.key("last"), weights, 1)
    return or_spent(take(problem, foreseen[chosen], steps=done), spent)
