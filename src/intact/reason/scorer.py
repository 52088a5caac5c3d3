"""The protocol of scorers, which give each text a number."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from intact.reason.problem import Problem, State

if TYPE_CHECKING:
    from intact.reason.requests import Request

Scores: TypeAlias = Sequence[float]
Scoring: TypeAlias = "Generator[Request | Sequence[Request], Any, Scores]"


class Scorer(Protocol):
    """Gives each state a finite number, more for better ones; methods that need it in [0, 1] say so.

    A scorer that asks a model writes `score` as a generator that yields requests, as methods do: these are charged,
    journalled and merged into the same batches. Any other returns the numbers at once.

    Attributes
    ----------
    name : str
        What the trace calls it.
    digest : str
        What its numbers depend on besides problem and texts (weights, parameters), to keep them in the journal; empty:
        they are quick to compute again.

    A scorer may also state `least` and `most`, the range of its numbers, and `reads`, "tokens" if it judges by the
    tokens' log-probabilities, else "texts": then what it is of no use for is refused before anything is written. With
    `rivals`, methods that name it in a parameter have so many of the likeliest tokens reported with each token.
    """

    name: str
    digest: str

    def score(self, problem: Problem, states: Sequence[State]) -> Scores | Scoring:
        """Judge texts, finished or not; in order."""
        ...
