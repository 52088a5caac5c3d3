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
    """Convert an entropy from nats to bits in Q16; 1 nat is 94,548."""
    return round(decimal(round(tau, 6)) * Fraction(LOG2E, 1 << 14))


def is_unsure(glimpse: State, tau: float) -> bool:
    """Return true if the likeliest tokens at the last position have an entropy of at least `tau` nats.

    Raises
    ------
    ParameterError
        If the back end does not report the likeliest tokens.
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
    """Let a small model predict each step's first token and, if it is unsure, have a larger model write the step.

    Parameters
    ----------
    large : str
        Name of the larger model.
    tau : float
        Minimum entropy, in nats, for the larger model to write the step.
    top : int
        Number of likeliest tokens, renormalised, from which the entropy is computed.
    tokens : int
        Maximum number of tokens per step.
    max_tokens : int
        Maximum number of thinking tokens; the user's value takes precedence over the default.
    end : str
        String that ends the thinking; the larger model then writes the answer.
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
