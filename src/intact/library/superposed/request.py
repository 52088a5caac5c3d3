"""Requests for superposed drafts, and drafts: values shared by the decoder and receipts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from intact._base.errors import ParameterError
from intact._base.strict_json import MOST_TOKEN
from intact.library.model import Model
from intact.numerics.sampling import millionths
from intact.receipts.source import PromptSource

MOST: Final = 64
"""Limit on the number of drafts."""
MOST_CANDIDATES: Final = 1024
"""Limit on the number of candidate tokens: each step sorts all drafts with all candidates."""


@dataclass(frozen=True)
class SuperposedRequest:
    """A request for drafts.

    Attributes
    ----------
    prompt : tuple of int
        Token ids that drafts continue.
    n, max_tokens, temperature, candidates
        As in `SuperposedDecoder.write`.
    alpha : float
        Weight of the n-grams; 0 without n-grams.
    source : PromptSource or None
        Source of the tokens, if known.

    Raises
    ------
    ParameterError
        If a parameter is invalid for every model.
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
            raise ParameterError("the prompt is empty: drafts need at least one token to continue from")


class SuperposedDraft(NamedTuple):
    """One of the drafts of a request.

    Attributes
    ----------
    tokens : tuple of int
        Tokens after the prompt; a draft that has ended includes its end token.
    text : str
        The tokens as text.
    score : int
        Sum of the tokens' scores, natural logarithms times 2^24; higher is better. The scores come from mixed inputs,
        so the sum is not the log-probability of the text.
    ended : bool
        If true, the draft reached an end token.
    """

    tokens: tuple[int, ...]
    text: str
    score: int
    ended: bool


def check_parameters(*, n: int, max_tokens: int, temperature: float, alpha: float, candidates: int) -> None:
    """Raise `ParameterError` for a parameter that is invalid for every model, naming it."""
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
        raise ParameterError(f"token {wrong[0]} of the prompt must lie in [0, {vocabulary - 1}]")
    if len(tokens) + request.max_tokens > model.context:
        raise ParameterError(
            f"a prompt of {len(tokens)} tokens and max_tokens of {request.max_tokens} exceed the context of "
            f"{model.context}"
        )
