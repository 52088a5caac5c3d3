"""Selection by looks: votes by the length of texts, and among those with the fewest words of doubt."""

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
"""Words of hedging and of second thoughts; the list is this package's own."""

Exponent: TypeAlias = Annotated[float, partial(within, 0, 50)]


def marker_rate(text: str, markers: re.Pattern[str]) -> Fraction:
    """Return the markers for each 1,000 words of a text; an empty text counts as one word."""
    return Fraction(1000 * len(markers.findall(text)), max(1, len(text.split())))


def marker_pattern(markers: str) -> re.Pattern[str]:
    """Return a pattern for words and phrases that a comma separates, upper and lower case alike.

    Raises
    ------
    ParameterError
        If there are none.
    """
    words = [re.escape(word.strip()) for word in markers.split(",") if word.strip()]
    if not words:
        raise ParameterError(f"markers must name at least one word, got {markers!r:.60}")
    return re.compile(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)", re.IGNORECASE)


def are_words(**values: str) -> None:
    """Raise ParameterError where a text names no words (`marker_pattern`)."""
    for text in values.values():
        marker_pattern(text)


Markers: TypeAlias = Annotated[str, are_words, CommaList()]


@composed("start sample weigh vote", "measure")
@method("Wang et al. 2025, arXiv 2504.14047", group="samples and a vote", independent=True, temperature=0.7)
def length_vote(problem: Problem, *, n: Samples = 16, exponent: Exponent = 1.0) -> Steps:
    """Sample n texts, and let each vote with the weight of 1 over its length in tokens.

    Parameters
    ----------
    exponent : float
        Of 1 over the length, to 50: 0 is the majority vote, a large one trusts the shortest text.
    """
    texts = yield from sample(start(problem.start, n), write)
    texts = weigh(texts, lambda text: 1 / power(max(1, text.length), exponent))
    return vote(problem, texts, lengths=[text.length for text in texts])


@method("Wang et al. 2025, arXiv 2504.14047", group="samples and a vote", independent=True, temperature=0.7)
def marker_vote(problem: Problem, *, n: Samples = 16, share: Share = 0.5, markers: Markers = MARKERS) -> Steps:
    """Sample n texts, and take the majority among those with the fewest words of doubt.

    Parameters
    ----------
    share : float
        The share that votes, at least one text; who has as many markers for each 1,000 words as the last one votes too.
    markers : str
        Words and phrases that are counted, separated by commas.
    """
    pattern = marker_pattern(markers)
    samples = yield [Extend(problem.start)] * n
    rates = [marker_rate(state.text, pattern) for state in samples]
    known = [rate for rate, answer in zip(rates, problem.answers(samples), strict=True) if answer is not None]
    bound = sorted(known)[max(1, int(len(known) * share)) - 1] if known else Fraction(0)
    voters = [state for state, rate in zip(samples, rates, strict=True) if rate <= bound]
    return elect(problem, voters, rates=[float(rate) for rate in rates])
