"""Selection by surface features: votes weighted by length, or restricted to completions with few hedging words."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import partial
from typing import Annotated, TypeAlias

from intact._base.errors import ParameterError
from intact._base.exact import power
from intact.reason import Extend, Problem, Steps, method
from intact.reason.aggregate.votes import elect
from intact.reason.limits import CommaList, Samples, Share, within
from intact.reason.parts.composing import composed, vote, write
from intact.reason.populations.transformers import sample, start, weigh

MARKERS = "perhaps, maybe, wait, hmm, let me check, not sure, alternatively"
"""Words that express hedging or second thoughts; this list is our own."""

Exponent: TypeAlias = Annotated[float, partial(within, 0, 50)]


def marker_rate(text: str, markers: re.Pattern[str]) -> Fraction:
    """Return the number of markers per 1,000 words of a completion; an empty one counts as one word."""
    return Fraction(1000 * len(markers.findall(text)), max(1, len(text.split())))


def marker_pattern(markers: str) -> re.Pattern[str]:
    """Return a case-insensitive pattern for comma-separated words and phrases.

    Raises
    ------
    ParameterError
        If there are no words.
    """
    words = [re.escape(word.strip()) for word in markers.split(",") if word.strip()]
    if not words:
        raise ParameterError(f"markers must name at least one word, got {markers!r:.60}")
    return re.compile(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)", re.IGNORECASE)


def are_words(**values: str) -> None:
    """Raise ParameterError if a string contains no words (`marker_pattern`)."""
    for text in values.values():
        marker_pattern(text)


Markers: TypeAlias = Annotated[str, are_words, CommaList()]


@composed("start sample weigh vote", "measure")
@method("Wang et al. 2025, arXiv 2504.14047", group="samples and a vote", independent=True, temperature=0.7)
def length_vote(problem: Problem, *, n: Samples = 16, exponent: Exponent = 1.0) -> Steps:
    """Sample n completions, and weight each vote by the inverse of the completion's length in tokens.

    Parameters
    ----------
    exponent : float
        Exponent of the inverse length, at most 50: 0 gives the majority vote; large values favour the shortest
        completion.
    """
    texts = yield from sample(start(problem.start, n), write)
    texts = weigh(texts, lambda text: 1 / power(max(1, text.length), exponent))
    return vote(problem, texts, lengths=[text.length for text in texts])


@method("Wang et al. 2025, arXiv 2504.14047", group="samples and a vote", independent=True, temperature=0.7)
def marker_vote(problem: Problem, *, n: Samples = 16, share: Share = 0.5, markers: Markers = MARKERS) -> Steps:
    """Sample n completions, and return the majority answer of those with the fewest hedging words.

    Parameters
    ----------
    share : float
        Share of completions that vote, at least one; completions that tie with the last one in markers per 1,000 words
        also vote.
    markers : str
        Words and phrases to count, separated by commas.
    """
    pattern = marker_pattern(markers)
    samples = yield [Extend(problem.start)] * n
    rates = [marker_rate(state.text, pattern) for state in samples]
    known = [rate for rate, answer in zip(rates, problem.answers(samples), strict=True) if answer is not None]
    bound = sorted(known)[max(1, int(len(known) * share)) - 1] if known else Fraction(0)
    voters = [state for state, rate in zip(samples, rates, strict=True) if rate <= bound]
    return elect(problem, voters, rates=[float(rate) for rate in rates])
