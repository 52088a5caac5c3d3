"""DeepConf: confidence-weighted votes (offline), and early stopping of unsure samples (online)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, TypeAlias

from intact._base.errors import SpentError
from intact.reason import Extend, Problem, State, Steps, method
from intact.reason.aggregate.confidence import (
    bottom_confidence,
    mean_confidence,
    tail_confidence,
    token_confidences,
)
from intact.reason.aggregate.deepconf import agreed, bar, confident_vote, stopping_place
from intact.reason.aggregate.votes import elected, vote
from intact.reason.limits import Count, Likeliest, Samples, Share, one_of, within
from intact.reason.parts.likeliest import rivals
from intact.reason.parts.stepwise import or_spent, until_spent

Percent: TypeAlias = Annotated[float, partial(within, 0, 100)]

MEASURES: dict[str, Callable[[Sequence[float], int], float]] = {
    "mean": lambda values, window: mean_confidence(values),
    "tail": tail_confidence,
    "bottom": bottom_confidence,
    "lowest": lambda values, window: bottom_confidence(values, window, 0.0),
}


def confidences(state: State) -> list[float]:
    """Return the confidence of each generated token."""
    return token_confidences(rivals(state))


@method("Fu et al. 2025, arXiv 2508.15260", group="samples and a vote", independent=True, temperature=0.6, top_p=0.95)
def deepconf(
    problem: Problem,
    *,
    n: Samples = 16,
    keep: Percent = 10,
    measure: Annotated[str, partial(one_of, MEASURES)] = "bottom",
    window: Count = 2048,
    top: Likeliest = 20,
) -> Steps:
    """Sample n completions, keep the most confident, and weight their votes by confidence (offline).

    Parameters
    ----------
    keep : float
        Percentage of samples that vote; the paper uses 10 or 90.
    measure : str
        Confidence measure: mean, tail (last window), bottom (lowest tenth of the windows), lowest (lowest window).
    window : int
        Number of tokens per window; a shorter completion is one window.
    top : int
        Number of log-probabilities per position that make up the confidence, at most 20.
    """
    samples = yield [Extend(problem.start, top_logprobs=top)] * n
    answers = problem.answers(samples)
    weights = [max(MEASURES[measure](confidences(state), window), 0.0) for state in samples]
    return elected(confident_vote(answers, weights, keep), answers, samples, weights, confidences=weights)


@method("Fu et al. 2025, arXiv 2508.15260", group="samples and a vote", temperature=0.6, top_p=0.95)
def deepconf_online(
    problem: Problem,
    *,
    n: Count = 64,
    warmup: Count = 16,
    keep: Percent = 10,
    window: Count = 2048,
    consensus: Share = 0.95,
    batch: Count = 16,
    stride: Count = 64,
    max_tokens: Count = 4096,
    top: Likeliest = 20,
) -> Steps:
    """Set a confidence threshold from some samples, and stop later ones that fall below it, until votes agree (online).

    Parameters
    ----------
    n : int
        Maximum number of samples, including the warm-up.
    warmup : int
        Number of samples that are completed to set the threshold.
    keep : float
        Percentage of the warm-up samples at or above the threshold.
    window : int
        Number of tokens per window; a sample is not judged until it fills one.
    consensus : float
        Share of the vote at or above which sampling stops.
    batch : int
        Number of samples drawn in parallel after the warm-up.
    stride : int
        Number of tokens generated between two checks of the confidence.
    max_tokens : int
        Maximum number of tokens per sample; the user's value takes precedence over the default.
    top : int
        Number of log-probabilities per position that make up the confidence, at most 20.
    """
    samples: list[State] = yield [Extend(problem.start, top_logprobs=top, max_tokens=max_tokens)] * min(warmup, n)
    drawn = len(samples)
    samples = [state for state in samples if state.length and state.why != "error"]  # only these set the threshold
    lowest = [bottom_confidence(confidences(state), window, 0.0) for state in samples]
    least = bar(lowest, keep) if lowest else 0.0
    spent: list[SpentError] = []
    while True:
        answers = problem.answers(samples)
        weights = [max(value, 0.0) if value >= least else 0.0 for value in lowest]
        tally = vote(answers, weights)
        if spent or drawn >= n or agreed(tally, consensus):
            break
        size = min(batch, n - drawn)
        drawn += size
        live: list[tuple[State, list[float]]] = [(problem.start, [])] * size
        with until_spent() as spent:  # finished samples vote
            while live:
                written = yield [
                    Extend(state, top_logprobs=top, max_tokens=min(stride, max_tokens - state.length))
                    for state, _ in live
                ]
                going = []
                for state, (before, known) in zip(written, live, strict=True):
                    values = known + confidences(replace(state, pieces=state.pieces[len(before.pieces) :]))
                    if stopping_place(values, window, least) is not None:
                        continue
                    if state.why == "length" and state.length < max_tokens:
                        going.append((state, values))
                    else:
                        samples.append(state)
                        lowest.append(bottom_confidence(values, window, 0.0))
                live = going
    answer = elected(tally, answers, samples, weights, bar=least, samples=drawn, kept=sum(map(bool, weights)))
    return or_spent(answer, spent)
