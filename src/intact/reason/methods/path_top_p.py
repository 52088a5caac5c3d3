"""Path-dependent top-p: several sequences at once, with next tokens drawn by the probability of the whole path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from intact._base.exact import total
from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason import Extend, Problem, State, Steps, method
from intact.reason.aggregate.votes import take
from intact.reason.limits import Count, Likeliest, Share, TextLength
from intact.reason.parts.next_tokens import branch, end_words, nucleus
from intact.reason.parts.stepwise import FinalRule, or_spent, settle, until_spent
from intact.reason.populations.resampling import resample
from intact.reason.weights import relative


class Path(NamedTuple):
    """A sequence and the log-probability of all its tokens, times 2^24."""

    state: State
    logprob: int


def masses(paths: Sequence[Path]) -> list[float]:
    """Return the probabilities of the paths relative to the likeliest."""
    highest = max([path.logprob for path in paths])
    return relative([(path.logprob - highest) / LOGPROB_SCALE for path in paths])


def path_nucleus(paths: Sequence[Path], top_p: float) -> list[Path]:
    """Return the fewest likeliest paths that cover `top_p` of the total probability; ties go to the earlier path."""
    order = sorted(paths, key=lambda path: -path.logprob)
    weights = masses(order)
    whole = total(weights)
    return order[: nucleus([weight / whole for weight in weights], top_p)]


@method(
    "Analysis on Riemann Hypothesis with Cross Entropy Optimization and Reasoning, arXiv 2409.19790",
    version=2,
    group="search step by step",
    temperature=1.0,
)
def path_top_p(
    problem: Problem,
    *,
    n: Count = 4,
    path_p: Share = 0.9,
    top_p: Share = 0.9,
    k: Likeliest = 20,
    tokens: TextLength = 512,
    final: FinalRule = "best",
) -> Steps:
    """Extend n sequences token by token, drawn without repetition from the likeliest paths.

    Parameters
    ----------
    n : int
        Number of sequences kept at a time, including finished ones.
    path_p : float
        Share of the total path probability covered by the paths from which sequences are drawn.
    top_p : float
        Share of the next-token probability covered by the tokens that become paths.
    k : int
        Maximum number of next tokens per sequence, at most 20.
    tokens : int
        Maximum number of tokens per sequence; the user's `max_tokens` takes precedence over the default.
    final : str
        Rule that picks the answer: best, the likeliest sequence; weighted, a vote weighted by probability; or majority.
    """
    paths, written = [Path(problem.start, 0)], 0
    greedy: State | None = None
    with until_spent() as spent:
        greedy = yield Extend(problem.start, temperature=0.0, max_tokens=tokens, top_logprobs=1)
        ends = end_words(greedy)
        while written < tokens and not all(path.state.ended for path in paths):
            going = [path for path in paths if not path.state.ended]
            families = yield from branch([path.state for path in going], ends, top_p=top_p, k=k)
            grown = [path for path in paths if path.state.ended]
            for path, family in zip(going, families, strict=True):
                grown += [Path(child.state, path.logprob + child.logprob) for child in family]
            if not grown:
                break
            left = path_nucleus(grown, path_p)
            paths = []
            while left and len(paths) < n:
                (chosen,) = resample("multinomial", problem.key("draw", written, len(paths)), masses(left), 1)
                paths.append(left.pop(chosen))
            written += 1
    if greedy is None:
        raise spent[0]
    if not written:
        return or_spent(take(problem, greedy), spent)
    answer = settle(problem, [path.state for path in paths], masses(paths), final, tokens=written)
    return or_spent(answer, spent)
