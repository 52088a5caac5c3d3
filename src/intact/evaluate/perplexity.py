"""Perplexity of a text: windows of a fixed length, log-probabilities summed as exact integers.

The text is tokenised whole and cut into windows of ``context`` tokens that do not overlap; a rest that fills no window
is left out. If the model expects a first token (BOS), it replaces the first token of each window. Every token of the
second half of a window is scored, given all tokens before it in the window: these are the positions of llama.cpp's
perplexity tool, so that numbers can be compared. Sums are integers, and the last step is rounded as
`intact._base.exact` defines: all figures are the same bits everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from intact._base.errors import ParameterError
from intact.numerics.sampling import LOGPROB_SCALE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class TokenScorer(Protocol):
    """A model that scores each token after the first, in Q24 nats."""

    def logprobs(self, tokens: Sequence[int]) -> NDArray[np.int64]:
        """Return int64 of shape (len(tokens) - 1,): element i is log p(tokens[i + 1] | tokens[: i + 1])."""


@dataclass(frozen=True)
class TextPerplexity:
    """Exact sums over all scored tokens, and the figures that follow from them.

    Attributes
    ----------
    windows, tokens
        Numbers of windows read and of tokens scored.
    total
        Sum of the log-probabilities (at most 0), Q24 nats.
    squares
        Sum of their squares, Q48.
    """

    windows: int
    tokens: int
    total: int
    squares: int

    @property
    def nats(self) -> float:
        """Mean of -log p, nats a token."""
        return -self.total / self.tokens / LOGPROB_SCALE

    @property
    def perplexity(self) -> float:
        """Exponential of the mean of -log p."""
        from intact._base.exact import exp  # imports NumPy, which `intact --help` does without

        return exp(self.nats)

    @property
    def error(self) -> float:
        """Standard error of the perplexity, to first order."""
        if self.tokens < 2:
            return math.inf
        # exact until the division: n * sum(x^2) - (sum x)^2 >= 0
        spread = self.tokens * self.squares - self.total**2
        deviation = math.sqrt(spread / (self.tokens * self.tokens * (self.tokens - 1))) / LOGPROB_SCALE
        return self.perplexity * deviation


NOTHING = TextPerplexity(0, 0, 0, 0)


def cut(tokens: Sequence[int], context: int, bos: int | None = None) -> Iterator[list[int]]:
    """Yield the windows: ``context`` tokens each, without overlap, the first replaced by ``bos`` if it is given."""
    for start in range(0, len(tokens) - context + 1, context):
        window = list(tokens[start : start + context])
        if bos is not None:
            window[0] = bos
        yield window


def perplexity(
    model: TokenScorer,
    tokens: Sequence[int],
    context: int = 512,
    *,
    bos: int | None = None,
    all_positions: bool = False,
    windows: int | None = None,
    progress: Callable[[TextPerplexity], None] = lambda so_far: None,
) -> TextPerplexity:
    """Measure a model on a tokenised text.

    Parameters
    ----------
    model
        Anything with ``logprobs``.
    tokens
        The whole text.
    context
        Tokens in a window, at least 4.
    bos
        Token that replaces the first of each window; None leaves it as it is.
    all_positions
        Score every token after the first, instead of those of the second half (context - 1 - context // 2 a window).
    windows
        Read only so many.
    progress
        Called after each window with the sums so far.

    Raises
    ------
    ParameterError
        ``context`` or ``windows`` impossible, or fewer tokens than one window.
    """
    if context < 4:
        raise ParameterError(f"context must be at least 4 tokens, got {context}")
    if windows is not None and windows < 1:
        raise ParameterError(f"windows must be at least 1, got {windows}")
    if len(tokens) < 4:
        raise ParameterError(f"the text has {len(tokens)} tokens; a window needs at least 4")
    if len(tokens) < context:
        raise ParameterError(f"the text has {len(tokens)} tokens, fewer than one window of {context}: lower context")
    first = 0 if all_positions else context // 2
    result = NOTHING
    for index, window in enumerate(cut(tokens, context, bos)):
        if index == windows:
            break
        scored = [int(value) for value in model.logprobs(window)[first:]]
        result = TextPerplexity(
            windows=result.windows + 1,
            tokens=result.tokens + len(scored),
            total=result.total + sum(scored),
            squares=result.squares + sum(value * value for value in scored),
        )
        progress(result)
    return result
