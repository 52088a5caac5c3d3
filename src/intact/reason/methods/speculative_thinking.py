"""Speculative thinking: a small model writes, and a larger one takes over where the reasoning turns."""

from __future__ import annotations

from intact.reason import Extend, Part, Problem, State, Steps, method
from intact.reason.aggregate.votes import take
from intact.reason.limits import Count, Filled, ModelName

WORDS = {
    "verify": ("verify", "think again", "recap", "check"),
    "negative": ("wait", "alternatively", "hold on", "another"),
    "positive": ("yeah", "yes", "final answer", "confident"),
}
"""Words that announce a check, a doubt or an affirmation."""

HINT = "Let me check whether there are some wrong steps:"


def turns(sentence: str) -> set[str]:
    """Return the kinds of turning point that a sentence announces."""
    lower = sentence.lower()
    return {kind for kind, words in WORDS.items() if any(word in lower for word in words)}


def _write(text: State, tokens: int, limit: int, model: str = "", stop: tuple[str, ...] = ()) -> Part[State]:
    """Extend a sequence by at most `tokens` tokens, within the total `limit`."""
    tokens = min(tokens, limit - text.length)
    if text.ended or tokens < 1:
        return text
    further: State = yield Extend(text, stop=stop, max_tokens=tokens, model=model)
    return further


@method(
    "Yang et al. 2025, arXiv 2504.12329",
    group="races, and how long a text thinks",
    temperature=0.6,
    top_p=0.95,
    top_k=50,
)
def speculative_thinking(
    problem: Problem,
    *,
    large: ModelName = "large",
    max_tokens: Count = 4096,
    draft: Count = 20,
    takeover: Count = 20,
    verification: Count = 125,
    patience: Count = 15,
    hint: str = HINT,
    delimiter: Filled = "\n\n",
) -> Steps:
    """Think with a small model, and let a larger one write where a new thought doubts, affirms or checks.

    Parameters
    ----------
    large : str
        Name of the larger model.
    max_tokens : int
        Maximum number of tokens; the user's value takes precedence over the default.
    draft : int
        Number of tokens at the start of a new thought that are examined.
    takeover : int
        Number of tokens that the larger model writes in place of a draft.
    verification : int
        Number of tokens that the larger model adds if the draft announced a check.
    patience : int
        Number of doubts after which the larger model is given the hint.
    hint : str
        Text appended to the sequence as the hint.
    delimiter : str
        String between thoughts.
    """
    text = problem.start
    doubts, limit, guided = 0, patience, 125
    takeovers = 0
    while not text.ended and text.length < max_tokens:
        if text.why != "stop" and not text.text.endswith(delimiter):  # its last token may reach beyond a delimiter
            text = yield from _write(text, max_tokens, max_tokens, stop=(delimiter,))
            continue
        drafted = yield from _write(text, draft, max_tokens, stop=(delimiter,))
        found = turns(drafted.last)
        if not found:
            text = drafted
            continue
        takeovers += 1
        text = yield from _write(text, takeover, max_tokens, large)
        if "verify" in found:
            text = yield from _write(text, verification, max_tokens, large)
        doubts += "negative" in found
        if doubts >= limit and not text.ended:
            text = yield from _write(text.append(hint), guided, max_tokens, large)
            doubts, limit, guided = 0, min(limit + 5, 30), min(guided + 25, 200)
    return take(problem, text, takeovers=takeovers)
