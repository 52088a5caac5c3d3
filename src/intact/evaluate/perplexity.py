"""Perplexity of a text: windows of a fixed length, log-probabilities summed as exact integers.

The text is tokenised as a whole and split into non-overlapping windows of ``context`` tokens; a remainder shorter than
a window is dropped. If the model expects a BOS token, it replaces the first token of each window. Every token in the
second half of a window is scored, given all tokens before it in the window: these are the positions used by llama.cpp's
perplexity tool, so the numbers are comparable. Sums are integers, and the last step is rounded as `intact._base.exact`
defines, so all figures are bit-identical everywhere.
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
    """Exact sums over all scored tokens, and the metrics derived from them.

    Attributes
    ----------
    windows, tokens
        Number of windows read and of tokens scored.
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
        """Mean of -log p, in nats per token."""
        return -self.total / self.tokens / LOGPROB_SCALE

    @property
    def perplexity(self) -> float:
        """Exponential of the mean of -log p."""
        from intact._base.exact import exp  # imports NumPy, which `intact --help` avoids

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
    """Yield non-overlapping windows of ``context`` tokens, with the first token replaced by ``bos`` if it is given."""
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
    """Measure a model's perplexity on a tokenised text.

    Parameters
    ----------
    model
        Any object with ``logprobs``.
    tokens
        The whole text.
    context
        Number of tokens in a window, at least 4.
    bos
        Token that replaces the first one of each window; None leaves it unchanged.
    all_positions
        If true, score every token after the first, instead of those in the second half (context - 1 - context // 2 per
        window).
    windows
        Maximum number of windows to read.
    progress
        Called after each window with the sums so far.

    Raises
    ------
    ParameterError
        If ``context`` or ``windows`` is invalid, or there are too few tokens for one window.
    """
    if context < 4:
        raise ParameterError(f"context must be at least 4 tokens, got {context}")
    if windows is not None and windows < 1:
        raise ParameterError(f"windows must be at least 1, got {windows}")
    if len(tokens) < 4:
        raise ParameterError(f"the text has {len(tokens)} tokens, but a window needs at least 4")
    if len(tokens) < context:
        raise ParameterError(f"the text has {len(tokens)} tokens, fewer than a window of {context}: lower context")
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
