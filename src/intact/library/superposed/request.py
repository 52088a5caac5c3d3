"""A request for superposed drafts, and a draft: values that the decoder and receipts share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from intact._base.errors import ParameterError
from intact._base.strict_json import MOST_TOKEN
from intact.library.model import Model
from intact.numerics.sampling import millionths
from intact.receipts.source import PromptSource

MOST: Final = 64
"""Limit on the drafts."""
MOST_CANDIDATES: Final = 1024
"""Limit on the tokens that may go on: all drafts with all of them are sorted at each step."""


@dataclass(frozen=True)
class SuperposedRequest:
    """A request for drafts.

    Attributes
    ----------
    prompt : tuple of int
        The tokens that drafts go on from.
    n, max_tokens, temperature, candidates
        As of `SuperposedDecoder.write`.
    alpha : float
        The weight of n-grams; 0 where there are none.
    source : PromptSource or None
        What the tokens were made from, if it is known.

    Raises
    ------
    ParameterError
        If a parameter makes no sense for any model.
    """

    prompt: tuple[int, ...]
    n: int
    max_tokens: int
    temperature: float
    alpha: float
    candidates: int
    source: PromptSource | None = None

    def __post_init__(self) -> None:
        check_parameters(
            n=self.n,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            alpha=self.alpha,
            candidates=self.candidates,
        )
        if not self.prompt:
            raise ParameterError("the prompt is empty: drafts go on from a token at least")


class SuperposedDraft(NamedTuple):
    """A draft.

    Attributes
    ----------
    tokens : tuple of int
        What follows the prompt; an end token is the last one of a draft that has ended.
    text : str
        The same as text.
    score : int
        The sum of its tokens' scores, natural logarithms times 2^24: higher is better. They are of mixed inputs, and
        not the log-probability of the text.
    ended : bool
        If true, it came to an end token.
    """

    tokens: tuple[int, ...]
    text: str
    score: int
    ended: bool


def check_parameters(*, n: int, max_tokens: int, temperature: float, alpha: float, candidates: int) -> None:
    """Raise `ParameterError`, naming the parameter that makes no sense for any model."""
    for name, value, low, high in (
        ("n", n, 1, MOST),
        ("max_tokens", max_tokens, 1, MOST_TOKEN),
        ("candidates", candidates, 1, MOST_CANDIDATES),
        ("alpha", alpha, 0, 1),
    ):
        if not low <= value <= high:
            raise ParameterError(f"{name} must lie in [{low}, {high}], got {value!r:.40}")
    if not 0 < temperature <= 100:
        raise ParameterError(f"temperature must lie in (0, 100], got {temperature!r:.40}")
    for name, value in (("temperature", temperature), ("alpha", alpha)):
        try:
            millionths(value)
        except ValueError as error:
            raise ParameterError(f"{name}: {error}") from None


def check_fits(model: Model, request: SuperposedRequest) -> None:
    """Raise `ParameterError` if a request exceeds a model's vocabulary or context."""
    tokens, vocabulary = request.prompt, model.program.vocabulary
    if request.candidates > vocabulary:
        raise ParameterError(f"candidates must lie in [1, {vocabulary}], got {request.candidates}")
    if wrong := [token for token in tokens if not 0 <= token < vocabulary]:
        raise ParameterError(f"token {wrong[0]} of the prompt must lie in 0 to {vocabulary - 1}")
    if len(tokens) + request.max_tokens > model.context:
        raise ParameterError(f"{len(tokens)} and {request.max_tokens} tokens exceed the context of {model.context}")
