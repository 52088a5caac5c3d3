"""Entropy-adaptive decoding: a larger model writes wherever the preceding tokens were uncertain."""

from __future__ import annotations

from collections.abc import Sequence

from intact._base.exact import ln, mean
from intact.reason import Extend, Problem, State, Steps, method
from intact.reason.aggregate.confidence import entropy
from intact.reason.aggregate.votes import take
from intact.reason.limits import Amount, Count, Likeliest, ModelName
from intact.reason.parts.likeliest import rivals
from intact.reason.parts.stepwise import or_spent, until_spent


def bits(state: State) -> list[float]:
    """Return the entropy, in bits, at each of the most recently generated tokens."""
    newest = State(state.prompt, state.branch, state.pieces[-1:], state.why)
    return [entropy([place]) / ln(2.0) for place in rivals(newest)]


def uncertain(entropies: Sequence[float], window: int, threshold: float) -> bool:
    """Return true if the mean of the last `window` entropies (or of all, if there are fewer) exceeds a threshold."""
    return bool(entropies) and mean(entropies[-window:]) > threshold


@method("Simonds 2025, arXiv 2502.06833", group="races, and how long a text thinks", temperature=0.0)
def entropy_decoding(
    problem: Problem,
    *,
    large: ModelName = "large",
    window: Count = 5,
    threshold: Amount = 1.0,
    least: Count = 10,
    stride: Count = 1,
    top: Likeliest = 20,
    max_tokens: Count = 512,
) -> Steps:
    """Write with a small model, switching to a large one while the entropy of the last tokens is above a threshold.

    Parameters
    ----------
    large : str
        Name of the larger model.
    window : int
        Number of tokens whose entropies are averaged.
    threshold : float
        Mean entropy, in bits, above which the larger model writes.
    least : int
        Minimum number of tokens that a model writes before the other one takes over.
    stride : int
        Number of tokens between decisions.
    top : int
        Number of likeliest tokens per position from which the entropy is computed.
    max_tokens : int
        Maximum number of tokens; the user's value takes precedence over the default.
    """
    text, model = problem.start, ""
    entropies: list[float] = []
    since = by_large = switches = 0
    with until_spent() as spent:
        while not text.ended and text.length < max_tokens:
            before = text.length
            most = min(stride, max_tokens - before)
            text = yield Extend(text, max_tokens=most, top_logprobs=top, model=model)
            if text.length == before:
                break  # nothing more can be written
            entropies += bits(text)
            since += text.length - before
            by_large += (text.length - before) * bool(model)
            wanted = large if uncertain(entropies, window, threshold) else ""
            if wanted != model and since >= least:
                model, since, switches = wanted, 0, switches + 1
    return or_spent(take(problem, text, switches=switches, large=by_large), spent)
