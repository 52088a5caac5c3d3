"""GlimpRouter: the entropy of a step's first token decides which of two models writes the step."""

from __future__ import annotations

from fractions import Fraction

from intact.numerics.functions import LOG2E
from intact.numerics.sampling import decimal, entropy
from intact.reason import Extend, Problem, State, Steps, method
from intact.reason.aggregate.votes import take
from intact.reason.limits import Amount, Count, Delimiter, Filled, Likeliest, ModelName
from intact.reason.parts.likeliest import rivals
from intact.reason.parts.stepwise import or_spent, until_spent
from intact.text.thinking import THINK_TAGS


def bound(tau: float) -> int:
    """Return an entropy in nats as bits, Q16; 1 is 94,548."""
    return round(decimal(round(tau, 6)) * Fraction(LOG2E, 1 << 14))


def is_unsure(glimpse: State, tau: float) -> bool:
    """Return true if the likeliest tokens at the last place have an entropy of at least so many nats.

    Raises
    ------
    ParameterError
        If the back end does not report them.
    """
    newest = State(glimpse.prompt, glimpse.branch, glimpse.pieces[-1:], glimpse.why)
    rivals(newest)  # raises if they are missing
    return newest.why != "error" and entropy([value for _, value in newest.top[-1]]) >= bound(tau)


@method("Zeng et al. 2026, arXiv 2601.05110", group="races, and how long a text thinks", temperature=0.6, top_p=0.95)
def glimp_router(
    problem: Problem,
    *,
    large: ModelName = "large",
    tau: Amount = 1.0,
    top: Likeliest = 20,
    tokens: Count = 512,
    max_tokens: Count = 8192,
    delimiter: Delimiter = "\n\n",
    end: Filled = THINK_TAGS.closes,
) -> Steps:
    """Look at a small model's first token of each step, and have a larger one write the step where it was unsure.

    Parameters
    ----------
    large : str
        The larger model, by the driver's name.
    tau : float
        The entropy, in nats, from which on the larger model writes.
    top : int
        The likeliest tokens that entropy is computed of, renormalised.
    tokens : int
        Tokens of a step, at most.
    max_tokens : int
        The most tokens of thought; the user's wish goes before the default.
    end : str
        What ends the thought; the larger model then writes the answer.
    """
    text, steps, routed, last = problem.start, 0, 0, None
    with until_spent() as spent:
        while text.length < max_tokens:
            glimpse = yield Extend(text, max_tokens=1, temperature=0.0, top_logprobs=top)
            if glimpse.length == text.length:
                text = glimpse
                break  # nothing more can be written
            unsure = is_unsure(glimpse, tau)
            most = min(tokens, max_tokens - text.length)
            text = yield Extend(text, max_tokens=most, stop=(delimiter, end), model=large if unsure else "")
            steps, routed = steps + 1, routed + unsure
            if text.ended or end in text.last or text.last == last:
                break
            last = text.last
        if not text.ended:
            text = yield Extend(text if end in text.last else text.append(end), model=large)
    return or_spent(take(problem, text, steps=steps, routed=routed), spent)
